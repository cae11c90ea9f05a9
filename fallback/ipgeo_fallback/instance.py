"""At most one gunicorn runs in an IPGEO_VAR, and on its sockets.

gunicorn.conf.py executes this file: it may import only the standard library, and those modules of
ipgeo that gunicorn.conf.py drops again.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from ipgeo.errors import IpgeoError

_LOCK = "fallback.lock"
# How long a killed master's workers may live on: until they notice, plus `graceful_timeout`.
_ORPHAN_SECONDS = 7


class InstanceError(IpgeoError):
    """Why gunicorn must not run here."""


def claim(var: Path, sockets: Iterable[str], *, second: bool) -> None:
    """Hold the lock of ``var`` from now on; remove what a dead gunicorn has left.

    ``sockets`` are the paths of new sockets: they replace only sockets that do not answer.
    ``second``: this is the master that a USR2 has started beside the first one; it has inherited
    lock and sockets. Raises InstanceError.
    """
    _lock(var / _LOCK)
    if not second:
        _wait_until_free(sockets)
    # The lock's owner is alone: an old pid file may by now name an unrelated process.
    stale = ["fallback.pid.2"] if second else ["fallback.pid", "fallback.pid.2"]
    for name in stale:
        (var / name).unlink(missing_ok=True)


def release(var: Path) -> None:
    """Leave the lock to the masters: called in a worker, which has inherited it."""
    lock = _inherited(var / _LOCK)
    if lock is not None:
        os.close(lock)


def _lock(path: Path) -> None:
    try:
        lock = _inherited(path)
        if lock is None:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InstanceError(f"another gunicorn runs with this IPGEO_VAR: {path.parent}") from None
    except OSError as error:
        raise InstanceError(f"IPGEO_VAR: {path}: {error.strerror}") from None
    os.set_inheritable(lock, True)  # noqa: FBT003 - has no other form


def _inherited(path: Path) -> int | None:
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.path.samestat(entry.stat(), path.lstat()):
                return int(entry.name)
    return None


def _wait_until_free(sockets: Iterable[str]) -> None:
    deadline = time.monotonic() + _ORPHAN_SECONDS
    for path in sockets:
        while _is_served(path):
            if time.monotonic() > deadline:
                raise InstanceError(f"IPGEO_FALLBACK_BIND: another program serves at {path}")
            time.sleep(0.1)


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # noqa: FBT003 - has no other form
        try:
            probe.connect(path)
        except BlockingIOError:  # its queue is full
            return True
        except OSError:
            return False
    return True
