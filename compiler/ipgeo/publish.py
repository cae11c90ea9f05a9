"""Putting a finished file in the place of the one that is served."""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

_DEFAULT_MODE = 0o644  # readable to workers that are not root; mkstemp's own is 0600


def publish(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader finds the old file or the new one, both whole.

    Temp file in the same folder, fsync, rename, fsync of the folder. The previous file's mode and
    owner are kept; without one the mode is 0644 under the umask. A symbolic link stays one: the
    file it leads to is replaced. Raises OSError and leaves ``path`` untouched if any of it fails.
    """
    target = path.resolve()
    _refuse_special(path, target)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as temp:
            temp.write(data)
            temp.flush()
            _keep_mode_and_owner(temp.fileno(), target)
            os.fsync(temp.fileno())
        os.replace(name, target)  # noqa: PTH105 - both names are at hand as they are needed
    except BaseException:  # an interrupt too must not leave the temp file behind
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108
        raise
    _sync_folder(target.parent)


def _refuse_special(path: Path, target: Path) -> None:
    """A rename would put a plain file in the place of a folder or of /dev/null."""
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "exists and is not a regular file", str(path))


def _keep_mode_and_owner(descriptor: int, target: Path) -> None:
    try:
        previous = target.stat()
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(descriptor, _DEFAULT_MODE & ~umask)
        return
    # Only root may give a file away; anybody else's new file is simply their own.
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, previous.st_uid, previous.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(previous.st_mode))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
