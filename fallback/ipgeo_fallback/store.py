"""The blob in memory, and the one reference that a newer one replaces."""

import errno
import logging
import os
import re
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ipgeo.blob.reader import Blob, read_content
from ipgeo.errors import BlobError
from ipgeo.files.reading import NotRegularError
from ipgeo_fallback.way import MovedError, Way

_log = logging.getLogger(__name__)

_HEAD = 4096
_NUMBER = re.compile(r"[0-9]+")


class _Identity(NamedTuple):
    """What tells this state of a file from every other."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    head: bytes


class _Refusal(NamedTuple):
    """A file that is no good. A write that keeps the mtime changes the ctime."""

    identity: _Identity
    ctime_ns: int
    reason: str


class View(NamedTuple):
    """A checked blob with what is known of its file; never changed, only replaced as a whole.

    ``generation`` counts the loads of this process from 1; ``mtime`` is the file's, in seconds.
    """

    blob: Blob
    generation: int
    mtime: float

    @property
    def data_age(self) -> int:
        """The file's age in whole seconds."""
        return max(0, int(time.time() - self.mtime))


class Trouble(NamedTuple):
    """Why the last look at the file has found nothing to load.

    ``kind`` is unreadable, refused, moved or unlinked; ``reason`` names no path.
    """

    kind: str
    reason: str


class Holder:
    """Loads the blob, follows its file and hands out the current view.

    A request takes the view once and works with that: replacing it is one assignment.
    """

    def __init__(self, path: Path | None, interval: float = 1.0) -> None:
        """Hold the blob at ``path``, looking for a change at most every ``interval`` seconds.

        Nothing is read before the first ``view()``. The way to it is held from now on: a worker
        that drops its privileges later may not walk it again.
        """
        self._path = path
        self._way = Way(path) if path else None
        self._interval = interval
        self._view: View | None = None
        self._next_look = float("-inf")
        self._loaded: _Identity | None = None
        self._refused: _Refusal | None = None
        self.trouble: Trouble | None = None

    def view(self) -> View | None:
        """Return the current view; None while no blob could be loaded.

        A changed file is taken up here, at a request. One that is missing or damaged changes
        nothing but ``trouble``.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + self._interval
            self._look()
        return self._view

    def warn_unless_readable(self) -> None:
        """Log a warning if the file that was loaded could not be read again by this user."""
        if self._view is not None:
            try:
                self._open().close()
            except OSError as error:
                _log.warning("no newer blob can be loaded by this user: %s", error)
                self.trouble = _trouble_of(error)

    def _look(self) -> None:
        """Load the file if it is not the one that was loaded or refused last."""
        try:
            self._load_if_new()
        except (BlobError, OSError, MemoryError) as error:
            self._complain(_trouble_of(error))
        else:
            self.trouble = None

    def _load_if_new(self) -> None:
        with self._open() as file:
            seen, ctime_ns = _identity(file)
            if self._refused and (seen, ctime_ns) == self._refused[:2]:
                raise BlobError(self._refused.reason)
            if seen != self._loaded:
                self._load(file, seen, ctime_ns)
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the file was deleted while it is served")

    def _load(self, file: BinaryIO, identity: _Identity, ctime_ns: int) -> None:
        """Take up the file. Only bad bytes are remembered: what cannot be read may be a whim."""
        try:
            blob = Blob(read_content(file))
        except BlobError as error:
            self._refused = _Refusal(identity, ctime_ns, str(error))
            raise
        self._loaded, self._refused = identity, None
        generation = self._view.generation + 1 if self._view else 1
        self._view = View(blob, generation, identity.mtime_ns / 1e9)
        _log.info("loaded blob %s, %d runs", blob.build_id, blob.runs)

    def _complain(self, trouble: Trouble) -> None:
        """Log why the file is not loaded: once for each reason, not at every look."""
        if self.trouble is None or _gist(trouble) != _gist(self.trouble):
            state = "the loaded blob stays" if self._view else "no blob is loaded"
            place = f"{self._path}: " if self._path else ""
            _log.warning("%s: %s%s", state, place, trouble.reason)
        self.trouble = trouble

    def _open(self) -> BinaryIO:
        """Open the blob's file; one that is being replaced just now, once more."""
        if self._way is None:
            raise FileNotFoundError(errno.ENOENT, "IPGEO_BLOB is not set")
        file = self._way.open()
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()
        return self._way.open()


def _gist(trouble: Trouble) -> Trouble:
    """Return what is compared: of a file that cannot be read the numbers may differ."""
    if trouble.kind == "unreadable":
        return Trouble(trouble.kind, _NUMBER.sub("", trouble.reason))
    return trouble


def _trouble_of(error: Exception) -> Trouble:
    match error:
        case BlobError():
            return Trouble("refused", str(error))
        case MemoryError():
            return Trouble("unreadable", "there is not enough memory to load it")
        case NotRegularError():
            kind = "refused"
        case MovedError():
            kind = "moved"
        case FileNotFoundError():
            kind = "unlinked"
        case _:
            kind = "unreadable"
    return Trouble(kind, getattr(error, "strerror", None) or type(error).__name__)


def _identity(file: BinaryIO) -> tuple[_Identity, int]:
    """Return what tells the file's state, and its ctime in nanoseconds, of one moment."""
    status = os.fstat(file.fileno())
    head = os.pread(file.fileno(), _HEAD, 0)
    identity = _Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, head)
    return identity, status.st_ctime_ns
