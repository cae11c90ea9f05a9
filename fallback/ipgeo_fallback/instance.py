"""IPGEO_VAR as gunicorn uses it: whose it is, and that one gunicorn at a time runs in it.

gunicorn.conf.py executes this file: it may import nothing but the standard library.
"""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]


class InstanceError(Exception):
    """Why gunicorn must not run in this IPGEO_VAR."""


_LOCK = "fallback.lock"


def claim(var: Path, *, second: bool) -> None:
    """Hold the lock of ``var`` from now on; remove what a dead gunicorn has left.

    ``second`` is the master that a USR2 has started beside the first one: it has inherited the
    lock. Raises InstanceError.
    """
    _check(var)
    _lock(var / _LOCK)
    # Whoever holds the lock is alone: by now the number in an old pid file may be anybody's.
    stale = ["fallback.pid.2"] if second else ["fallback.pid", "fallback.pid.2"]
    for name in stale:
        (var / name).unlink(missing_ok=True)


def release(var: Path) -> None:
    """Leave the lock to the masters: called in a worker, which has inherited it."""
    lock = _inherited(var / _LOCK)
    if lock is not None:
        os.close(lock)


def _check(var: Path) -> None:
    """Refuse a folder in which another, less privileged user may have prepared our files.

    The same rule as in nginx/place.sh.
    """
    way = [var, *var.parents, *var.resolve().parents, var.resolve()]
    files = [var / f"fallback.{name}" for name in ("pid", "pid.2", "lock")]
    for path in [path for path in way if path not in {_CHECKOUT, *_CHECKOUT.parents}] + files:
        with contextlib.suppress(FileNotFoundError):
            problem = _suspicious(path.lstat())
            if problem:
                raise InstanceError(f"IPGEO_VAR: {path} {problem}")


def _suspicious(found: os.stat_result) -> str | None:
    if found.st_uid not in {0, os.geteuid(), _CHECKOUT.stat().st_uid}:
        return f"belongs to another user ({found.st_uid})"
    # In a folder with the sticky bit others may add, but replace nothing.
    if stat.S_ISDIR(found.st_mode) and not found.st_mode & stat.S_ISVTX:
        if found.st_mode & stat.S_IWOTH:
            return "is writable by everybody"
        if found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid():
            return f"is writable by a foreign group ({found.st_gid})"
    return None


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
