"""The blob that is served, and the one reference that a newer blob replaces."""

import errno
import hashlib
import logging
import os
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ipgeo.blob.view import BlobView
from ipgeo.errors import BlobError
from ipgeo.files.reading import NotRegularError
from ipgeo_fallback.checked_copy import checked_copy, open_copy
from ipgeo_fallback.resolved_path import MovedError, ResolvedPath
from ipgeo_fallback.shared_copy import Copy, SharedCopy

_log = logging.getLogger(__name__)

_HEAD = 4096
_NUMBER = re.compile(r"[0-9]+")
_FIRST_LOAD_SECONDS = 10
"""How long a process without a blob waits for another one that is checking it."""

_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    """What distinguishes this state of a file from every other."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    head: bytes

    @property
    def label(self) -> bytes:
        """What other processes know this state by."""
        return hashlib.sha256(repr(self).encode()).digest()


@dataclass(frozen=True, slots=True)
class _RefusedFile:
    """A file with bad bytes. A write that keeps the mtime changes the ctime."""

    fingerprint: _Fingerprint
    ctime_ns: int
    reason: str

    def is_same(self, fingerprint: _Fingerprint, ctime_ns: int) -> bool:
        """Whether a file with these values is still the refused one."""
        return (fingerprint, ctime_ns) == (self.fingerprint, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class LoadedBlob:
    """A checked blob with what is known of its file; never changed, only replaced as a whole.

    ``generation`` counts the loads of this process from 1; ``mtime`` is the file's, in seconds.
    """

    blob: BlobView
    generation: int
    mtime: float

    @property
    def data_age(self) -> int:
        """The file's age in whole seconds."""
        return max(0, int(time.time() - self.mtime))


@dataclass(frozen=True, slots=True)
class RefreshFailure:
    """Why the last check of the file could load nothing.

    ``kind`` is unreadable, refused, moved or unlinked; ``reason`` names no path.
    """

    kind: str
    reason: str


class BlobStore:
    """Loads the blob, follows its file and hands out the current one.

    A request takes the current blob once and works with that: replacing it is one assignment.
    """

    def __init__(
        self, path: Path | None, interval: float = 1.0, shared: SharedCopy | None = None
    ) -> None:
        """Follow the blob at ``path``, checked for a change every ``interval`` seconds.

        ``shared`` is the place of the copy that this process shares with others, if there are any.
        Nothing is read before the first load. Folder and symbolic links of the path are held open
        from now on: a worker that drops its privileges later may not open them again.
        """
        self._path = path
        self._resolved_path = ResolvedPath(path) if path else None
        self._interval = interval
        self._shared = shared
        self._current: LoadedBlob | None = None
        self._next_check = float("-inf")
        self._loaded: _Fingerprint | None = None
        self._refused: _RefusedFile | None = None
        self.refresh_error: RefreshFailure | None = None

    def current(self) -> LoadedBlob | None:
        """Return the current blob; None while none could be loaded.

        Unless ``follow`` does so, the file is checked here, and a changed one loaded. One that is
        missing or damaged changes nothing but ``refresh_error``.
        """
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + self._interval
            self._reload_if_changed()
        return self._current

    def load_first(self) -> None:
        """Load the blob, or wait while another process checks it."""
        deadline = time.monotonic() + _FIRST_LOAD_SECONDS
        while not self._reload_if_changed() and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def follow(self) -> None:
        """Check the file every interval from now on, at a moment in it that is left to chance.

        Never returns. So servers that start together do not all load at the same time.
        """
        self._next_check = float("inf")
        time.sleep(random.uniform(0, self._interval))  # noqa: S311 - no secret
        while True:
            self._reload_if_changed()
            time.sleep(self._interval)

    def warn_unless_readable(self) -> None:
        """Log a warning if the file that was loaded could not be read again by this user."""
        if self._current is not None:
            try:
                self._open().close()
            except OSError as error:
                _log.warning("no newer blob can be loaded by this user: %s", error)
                self.refresh_error = _failure_of(error)

    def _reload_if_changed(self) -> bool:
        """Load the file if it is not the one that was loaded or refused last; log a failure.

        Return False, and change nothing, if another process is checking a file right now.
        """
        try:
            complete = self._load_if_other()
        except (BlobError, OSError, MemoryError) as error:
            self._warn_once(_failure_of(error))
            return True
        if complete:
            self.refresh_error = None
        return complete

    def _load_if_other(self) -> bool:
        with self._open() as file:
            seen, ctime_ns = _fingerprint(file)
            if self._refused and self._refused.is_same(seen, ctime_ns):
                raise BlobError(self._refused.reason)
            if seen != self._loaded and not self._load(file, seen, ctime_ns):
                return False
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the file was deleted while it is served")
        return True

    def _load(self, file: BinaryIO, fingerprint: _Fingerprint, ctime_ns: int) -> bool:
        """Load the file. Only bad bytes are remembered: a failed read may succeed the next time."""
        try:
            descriptor = self._copy_of(file, fingerprint.label)
            if descriptor is None:
                return False
            try:
                blob = BlobView(open_copy(descriptor))
            finally:
                os.close(descriptor)
        except BlobError as error:
            self._refused = _RefusedFile(fingerprint, ctime_ns, str(error))
            raise
        self._loaded, self._refused = fingerprint, None
        generation = self._current.generation + 1 if self._current else 1
        self._current = LoadedBlob(blob, generation, fingerprint.mtime_ns / 1e9)
        _log.info("loaded blob %s, %d runs", blob.build_id, blob.runs)
        return True

    def _copy_of(self, file: BinaryIO, label: bytes) -> int | None:
        """Return a descriptor of the file's checked copy; None if another process is checking."""
        if self._shared is None:
            return checked_copy(file)
        found = self._shared.get(label)
        if found is not None:
            return found
        with self._shared.locked() as locked:
            if not locked:
                return None
            found = self._shared.get(label)  # it was put there before the lock was ours
            return found if found is not None else _new_copy(file, label, self._shared)

    def _warn_once(self, failure: RefreshFailure) -> None:
        """Log why the file is not loaded: once for each reason, not at every check."""
        last = self.refresh_error
        if last is None or _without_numbers(failure) != _without_numbers(last):
            state = "the loaded blob stays" if self._current else "no blob is loaded"
            prefix = f"{self._path}: " if self._path else ""
            _log.warning("%s: %s%s", state, prefix, failure.reason)
        self.refresh_error = failure

    def _open(self) -> BinaryIO:
        """Open the blob's file; try again if it is being replaced at this moment."""
        if self._resolved_path is None:
            raise FileNotFoundError(errno.ENOENT, "IPGEO_BLOB is not set")
        file = self._resolved_path.open()
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()
        return self._resolved_path.open()


def _new_copy(file: BinaryIO, label: bytes, shared: SharedCopy) -> int:
    """Check the file and share the copy; return its descriptor."""
    descriptor = checked_copy(file)
    try:
        shared.put(Copy(label, descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _without_numbers(failure: RefreshFailure) -> RefreshFailure:
    """Return the part to compare: for an unreadable file the numbers may differ."""
    if failure.kind == "unreadable":
        return RefreshFailure(failure.kind, _NUMBER.sub("", failure.reason))
    return failure


def _failure_of(error: Exception) -> RefreshFailure:
    match error:
        case BlobError():
            return RefreshFailure("refused", str(error))
        case MemoryError():
            return RefreshFailure("unreadable", "there is not enough memory to load it")
        case NotRegularError():
            kind = "refused"
        case MovedError():
            kind = "moved"
        case FileNotFoundError():
            kind = "unlinked"
        case _:
            kind = "unreadable"
    return RefreshFailure(kind, getattr(error, "strerror", None) or type(error).__name__)


def _fingerprint(file: BinaryIO) -> tuple[_Fingerprint, int]:
    """Return the fingerprint of the file and its ctime in nanoseconds, of one moment."""
    status = os.fstat(file.fileno())
    head = os.pread(file.fileno(), _HEAD, 0)
    fingerprint = _Fingerprint(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, head
    )
    return fingerprint, status.st_ctime_ns
