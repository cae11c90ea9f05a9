"""A folder's lock for one publisher at a time, and the removal of killed publishers' files."""

import contextlib
import errno
import fcntl
import glob
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ipgeo.files.staging import OLD_SUFFIX, TEMP_RANDOM, TEMP_SUFFIX, temp_prefix

_TIMEOUT = 60.0
_PAUSE = 0.05


@contextlib.contextmanager
def locked(folder: Path, timeout: float = _TIMEOUT) -> Iterator[None]:
    """Hold ``folder`` for one publisher; wait up to ``timeout`` seconds for another one.

    The lock is on the folder itself: it leaves no file, and ends with its process.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder, time.monotonic() + timeout)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                problem = "another build or rollback is still publishing here"
                raise OSError(errno.EAGAIN, problem, str(folder)) from None
        except OSError as error:
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(folder)) from None
        else:
            return
        time.sleep(_PAUSE)


def sweep(paths: Iterable[Path]) -> None:
    """Remove the temp files that publishers of ``paths`` left when they were killed.

    Only for the process that has the folder locked.
    """
    for path in paths:
        for suffix in (TEMP_SUFFIX, OLD_SUFFIX):
            pattern = f"{glob.escape(temp_prefix(path))}{'?' * TEMP_RANDOM}{suffix}"
            for leftover in path.parent.glob(pattern):
                with contextlib.suppress(OSError):  # a folder, or another user's in a sticky folder
                    leftover.unlink()
