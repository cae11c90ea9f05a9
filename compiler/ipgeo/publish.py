"""Putting finished files in the place of those that are served.

A file is written beside its place, synced and renamed over it, so a reader finds the old one or
the new one, whole. Several files that belong together are all written and synced before the first
is renamed; then each is renamed and the folder synced, one after the other:

- a build: **previous, blob, manifest** (and last, after ``--force``, the memory of rollbacks);
- a rollback: memory of rollbacks, **blob, previous, manifest**. There the previous file is what the
  blob is made from: replaced first, it would be lost to whoever is killed before the blob is.

Killed between any two of them, the blob is the old or the new one. A manifest that is not the
blob's names another build id and is ignored; building the same again writes the right one.
"""

import contextlib
import errno
import fcntl
import glob
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_DEFAULT_MODE = 0o644  # readable to workers that are not root; mkstemp's own is 0600
_TEMP_SUFFIX = ".new"
_TEMP_RANDOM = 8  # characters that mkstemp puts between the two
_LONGEST_NAME = 255  # bytes; NAME_MAX of every usual file system
_PATIENCE = 60.0
_PAUSE = 0.05


class File(NamedTuple):
    """A file to publish.

    Mode and owner are those of the first file in ``models`` that there is; without one the mode is
    0644 under the umask. ``mtime_ns`` (Unix time) is given to it, if any.
    """

    path: Path
    data: bytes
    models: tuple[Path, ...]
    mtime_ns: int | None = None


def publish(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader finds the old file or the new one, both whole.

    Temp file in the same folder, fsync, rename, fsync of the folder. The previous file's mode and
    owner are kept; without one the mode is 0644 under the umask. A symbolic link stays one: the
    file it leads to is replaced. Raises OSError and leaves ``path`` untouched if any of it fails.
    """
    publish_all([File(path, data, (path,))])


def publish_all(files: Sequence[File]) -> None:
    """Publish ``files`` in their order; none is touched before all of them are on the disk.

    Raises OSError naming the file that failed and those that are in place already.
    """
    with contextlib.ExitStack() as temps:
        staged = []
        for file in files:
            with _naming(file.path):
                target = plain_target(file.path)
                staged.append((temps.enter_context(_staged(target, file)), target))
        done: list[str] = []
        for name, target in staged:
            with _naming(target, done):
                os.replace(name, target)  # noqa: PTH105 - both names are at hand as needed
                done.append(target.name)
                _sync_folder(target.parent)


def plain_target(path: Path) -> Path:
    """Return the file that ``path`` leads to, which need not exist.

    Raises OSError for anything but a regular file: a rename would put a plain file in the place
    of a folder or of /dev/null.
    """
    try:
        target = path.resolve()
    except RuntimeError:  # pathlib's way to report a loop
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "exists and is not a regular file", str(path))
    return target


def room_for_temp(target: Path, given: Path) -> None:
    """Raise OSError naming ``given`` if the temp file of ``target`` has too long a name."""
    excess = len(os.fsencode(_temp_prefix(target) + _TEMP_SUFFIX)) + _TEMP_RANDOM - _LONGEST_NAME
    if excess > 0:
        problem = f"the name is {excess} bytes too long for the files that are written beside it"
        raise OSError(errno.ENAMETOOLONG, problem, str(given))


@contextlib.contextmanager
def locked(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold ``folder`` for one publisher; wait up to ``patience`` seconds for another one.

    The lock is on the folder itself: it leaves no file behind, and ends with its process.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder, time.monotonic() + patience)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                problem = "another build or rollback is publishing here and does not end"
                raise OSError(errno.EAGAIN, problem, str(folder)) from None
        except OSError as error:
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(folder)) from None
        else:
            return
        time.sleep(_PAUSE)


def sweep(paths: Iterable[Path]) -> None:
    """Remove the temp files that publishers of ``paths`` left when they were killed.

    Only for whoever has the folder locked.
    """
    for path in paths:
        pattern = f"{glob.escape(_temp_prefix(path))}{'?' * _TEMP_RANDOM}{_TEMP_SUFFIX}"
        for leftover in path.parent.glob(pattern):
            with contextlib.suppress(OSError):  # a folder, or another user's in a sticky folder
                leftover.unlink()


@contextlib.contextmanager
def _naming(path: Path, done: Sequence[str] = ()) -> Iterator[None]:
    """Name the file itself where an error names its temp file or nothing."""
    try:
        yield
    except OSError as error:
        problem = error.strerror or str(error)
        if done:
            problem += f" (published already: {', '.join(done)})"
        raise OSError(error.errno, problem, str(path)) from None


def _temp_prefix(target: Path) -> str:
    return f".{target.name}."


@contextlib.contextmanager
def _staged(target: Path, file: File) -> Iterator[str]:
    """Write ``file`` beside ``target`` and sync it; yield its name, which is gone at a failure."""
    descriptor, name = tempfile.mkstemp(
        prefix=_temp_prefix(target), suffix=_TEMP_SUFFIX, dir=target.parent
    )
    try:
        with os.fdopen(descriptor, "wb") as temp:
            temp.write(file.data)
            temp.flush()
            _keep_mode_and_owner(temp.fileno(), file.models)
            if file.mtime_ns is not None:
                os.utime(temp.fileno(), ns=(file.mtime_ns, file.mtime_ns))
            os.fsync(temp.fileno())
        yield name
    except BaseException:  # an interrupt too must not leave the temp file behind
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108
        raise


def _keep_mode_and_owner(descriptor: int, models: Iterable[Path]) -> None:
    for model in models:
        with contextlib.suppress(FileNotFoundError):
            status = model.stat()
            _give(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            return
    umask = os.umask(0)
    os.umask(umask)
    os.fchmod(descriptor, _DEFAULT_MODE & ~umask)


def _give(descriptor: int, user: int, group: int) -> None:
    """Give the file to both, or to the group at least: its members may be the ones who read it.

    Only root may give a file away; anybody else's new file is simply their own, and of one of
    their groups.
    """
    for owner in (user, -1):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, owner, group)
            return


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
