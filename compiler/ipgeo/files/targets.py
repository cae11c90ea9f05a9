"""The files that output paths lead to, and whether they can be replaced."""

import errno
import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")  # how a space is written there


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


def refuse_mount_point(target: Path) -> None:
    """Raise OSError if a file is mounted at ``target`` itself: no rename can replace it."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return  # then the rename will show it
    points = {_OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split()[4]) for line in lines}
    if os.fsencode(target) in points:
        problem = "is a mount point and cannot be replaced; mount its folder instead"
        raise OSError(errno.EBUSY, problem, str(target))
