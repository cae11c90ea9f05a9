"""Files that an operator names, opened for reading: regular ones only, and never waited for."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ipgeo.errors import IpgeoError

MAX_TEXT = 64 << 20
"""The largest text file in bytes that is read: a hundred times what any of them needs."""


class NotRegularError(IpgeoError, OSError):
    """The path leads to a folder, a FIFO, a device or a socket."""


class TruncatedError(IpgeoError, OSError):
    """The file ended before its reported size: it is being written, or was truncated."""


class TooLargeError(IpgeoError, OSError):
    """The file is larger than its kind can be."""


def open_regular(path: Path | str, dir_fd: int | None = None) -> BinaryIO:
    """Open ``path``, relative to the folder ``dir_fd`` if one is given, without waiting.

    Raises NotRegularError for anything but a regular file, OSError if it cannot be opened.
    """

    def open_without_waiting(path: str, _flags: int) -> int:
        # O_NONBLOCK: a FIFO without a writer would stop the process.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            problem = os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "not a regular file"
            raise NotRegularError(errno.EINVAL, problem, str(path))
        return descriptor

    return open(path, "rb", opener=open_without_waiting)


def size_of(file: BinaryIO) -> int:
    """Return the size of an opened file in bytes."""
    return os.fstat(file.fileno()).st_size


def refuse_larger(file: BinaryIO, limit: int) -> int:
    """Return the size of an opened file; raise TooLargeError for more than ``limit`` bytes."""
    size = size_of(file)
    if size > limit:
        raise TooLargeError(errno.EFBIG, f"{size} bytes (limit {limit})", str(file.name))
    return size


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes from the beginning; raise TruncatedError if there are fewer."""
    try:
        file.seek(0)
        data = file.read(size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file.name)) from None
    if len(data) < size:
        problem = f"ended after {len(data)} of {size} bytes while it was read"
        raise TruncatedError(errno.EIO, problem, str(file.name))
    return data


def read_regular(path: Path, limit: int = MAX_TEXT) -> bytes:
    """Read a whole regular file of at most ``limit`` bytes.

    Raises NotRegularError, TooLargeError, or OSError if it cannot be read.
    """
    with open_regular(path) as file:
        return read_exactly(file, refuse_larger(file, limit))
