"""The one checked copy of the blob that all workers of a gunicorn map.

gunicorn.conf.py executes this file: it may import nothing but the standard library.

The copy is a file without a name (a memfd), so its memory is freed as soon as no process uses it,
however they end. Its descriptor lies in the queue of a pair of sockets, which every worker
inherits: a worker that peeks at the queue's only message gets a descriptor of its own.
"""

import contextlib
import fcntl
import os
import socket
import struct
import weakref
from collections.abc import Iterator
from typing import NamedTuple

_MAX_LABEL = 64
_DESCRIPTOR = struct.Struct("i")


class Copy(NamedTuple):
    """A copy: which state of which file it is, and its descriptor, which is the caller's."""

    label: bytes
    descriptor: int


class SharedCopy:
    """Holds at most one copy; ``put`` and ``get`` are for all workers alike."""

    def __init__(self, descriptors: tuple[int, int, int] | None = None) -> None:
        """Make a place for a copy, or use the one with these ``descriptors``."""
        if descriptors is None:
            self._reader, self._writer = socket.socketpair(type=socket.SOCK_DGRAM)
            self._lock = os.memfd_create("ipgeo-lock")
        else:
            reader, writer, self._lock = map(os.dup, descriptors)
            self._reader, self._writer = socket.socket(fileno=reader), socket.socket(fileno=writer)
        self._reader.setblocking(False)  # noqa: FBT003 - has no other form
        self._writer.setblocking(False)  # noqa: FBT003
        self.close = weakref.finalize(self, _close, self._reader, self._writer, self._lock)

    @property
    def descriptors(self) -> tuple[int, int, int]:
        """What a worker needs to use the same place."""
        return self._reader.fileno(), self._writer.fileno(), self._lock

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock if no other process does; yield whether it is held. The kernel frees it."""
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def get(self, label: bytes) -> int | None:
        """Return a descriptor of the copy, or None if there is none with this label."""
        found = self._receive(socket.MSG_PEEK)
        if found and found.label == label:
            return found.descriptor
        if found:
            os.close(found.descriptor)
        return None

    def put(self, copy: Copy) -> None:
        """Replace the copy. Needs the lock; the descriptor stays the caller's."""
        old = self._receive(0)
        if old:
            os.close(old.descriptor)
        socket.send_fds(self._writer, [copy.label], [copy.descriptor])

    def _receive(self, flags: int) -> Copy | None:
        # Not socket.recv_fds, which ignores its flags.
        room = socket.CMSG_SPACE(_DESCRIPTOR.size)
        try:
            label, ancillary, _, _ = self._reader.recvmsg(_MAX_LABEL, room, flags)
        except BlockingIOError:
            return None
        # A process that may open no more files gets the label alone.
        descriptors = [data for _, kind, data in ancillary if kind == socket.SCM_RIGHTS]
        return Copy(label, *_DESCRIPTOR.unpack(descriptors[0])) if descriptors else None


def _close(reader: socket.socket, writer: socket.socket, lock: int) -> None:
    """Give the place up; the copy in it is freed with the last process that has it."""
    reader.close()
    writer.close()
    os.close(lock)
