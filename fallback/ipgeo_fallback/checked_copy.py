"""Copies and checks a blob in a process of its own.

The check is Python and holds the interpreter's lock for seconds. In this process, even in a thread,
no request would be answered meanwhile.
"""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
from typing import BinaryIO, NoReturn

from ipgeo.blob.check import check_header
from ipgeo.blob.layout import HEADER
from ipgeo.blob.reader import Blob
from ipgeo.errors import BlobError
from ipgeo.files.reading import TruncatedError, read_exactly, size_of

_SLICE = 1 << 20
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_NICE = 10
"""Requests come first where there are more busy processes than processors."""

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT)


def checked_copy(file: BinaryIO) -> int:
    """Return the descriptor of a copy of an opened blob that is sound and that nobody can change.

    Other greenlets of this process go on. Raises BlobError if it is not sound, OSError if it cannot
    be read, MemoryError if there is no room for it.
    """
    size = size_of(file)
    check_header(read_exactly(file, min(size, HEADER.size)), size)
    copy = os.memfd_create("ipgeo-blob", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _wait_for(_start(file, copy))
    except BaseException:
        os.close(copy)
        raise
    return copy


def open_copy(descriptor: int) -> mmap.mmap:
    """Map a sealed copy; raise MemoryError if this process has no room for it."""
    return _map(descriptor, os.fstat(descriptor).st_size)


def _map(descriptor: int, size: int) -> mmap.mmap:
    """Map a file. A private mapping: a shared one of a file that is open to be written stops seals.

    It is one copy all the same, as nothing is written to it.
    """
    try:
        return mmap.mmap(descriptor, size, mmap.MAP_PRIVATE, mmap.PROT_READ)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from None
        raise


def _start(file: BinaryIO, copy: int) -> tuple[int, socket.socket]:
    """Start the process; return its id, and the socket to which it writes its report."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        _run(file, copy, theirs.fileno())
    theirs.close()
    return pid, ours


def _run(file: BinaryIO, copy: int, report: int) -> NoReturn:
    """Be the process: copy and check, report an error, end. Nothing here waits for an event."""
    try:
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        # A client waits until the last process has closed its connection.
        _close_all_but({0, 1, 2, file.fileno(), copy, report})
        with contextlib.suppress(OSError):
            os.nice(_NICE)
        os.write(report, json.dumps(_failure(file, copy)).encode())
    finally:
        os._exit(0)


def _close_all_but(kept: set[int]) -> None:
    least = 0
    for descriptor in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        if least < descriptor:  # an empty range from 0 would close all
            os.closerange(least, descriptor)
        least = descriptor + 1


def _failure(file: BinaryIO, copy: int) -> tuple[str, int, str] | None:
    """Copy and check; return the error's name, number and text, None if there is none."""
    try:
        size = size_of(file)
        os.ftruncate(copy, size)
        content = _map(copy, size)  # before the bytes: a limit on this process stops it here
        _copy(file, copy, size)
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
        Blob(content)
    except MemoryError:
        return "MemoryError", 0, ""
    except BlobError as error:
        return "BlobError", 0, str(error)
    except OSError as error:
        return "OSError", error.errno or 0, error.strerror or str(error)
    except Exception as error:  # noqa: BLE001 - the parent has no other way to see it
        return "OSError", 0, f"{type(error).__name__} in the process that checks it"
    return None


def _copy(file: BinaryIO, copy: int, size: int) -> None:
    at = 0
    while at < size:
        piece = os.pread(file.fileno(), min(_SLICE, size - at), at)
        if not piece:
            problem = f"ended after {at} of {size} bytes while it was read"
            raise TruncatedError(errno.EIO, problem)
        at += os.write(copy, piece)


def _wait_for(started: tuple[int, socket.socket]) -> None:
    """Wait until the process has ended; raise its error."""
    pid, report = started
    with report:
        text = b"".join(iter(lambda: report.recv(4096), b""))
    os.waitpid(pid, 0)
    if not text:
        raise ChildProcessError(errno.ECHILD, "the process that checks it was killed")
    match json.loads(text):
        case ["MemoryError", *_]:
            raise MemoryError
        case ["BlobError", _, problem]:
            raise BlobError(problem)
        case ["OSError", number, problem]:
            raise OSError(number, problem)
