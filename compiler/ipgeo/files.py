"""Files that an operator names, opened for reading: regular ones only, and never waited for."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegularError(OSError):
    """What the path leads to is a folder, a FIFO, a device or a socket."""


class TruncatedError(OSError):
    """The file ended earlier than its size had promised: it is being written, or was cut."""


def open_regular(path: Path | str, dir_fd: int | None = None) -> BinaryIO:
    """Open ``path``, relative to the folder ``dir_fd`` if one is given, without waiting.

    Raises NotRegularError for anything but a regular file, OSError if it cannot be opened.
    """
    # O_NONBLOCK: a FIFO without a writer would stop the process.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        problem = os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "not a regular file"
        raise NotRegularError(errno.EINVAL, problem, str(path))
    return os.fdopen(descriptor, "rb")


def size_of(file: BinaryIO) -> int:
    """Return the size of an opened file in bytes."""
    return os.fstat(file.fileno()).st_size


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes from the beginning; raise TruncatedError if there are fewer."""
    file.seek(0)
    data = file.read(size)
    if len(data) < size:
        problem = f"ended after {len(data)} of {size} bytes while it was read"
        raise TruncatedError(errno.EIO, problem, str(file.name))
    return data
