"""The blob in memory, and the one reference that a newer one replaces."""

import contextlib
import logging
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ipgeo.blob import Blob
from ipgeo.errors import BlobError

_log = logging.getLogger(__name__)

_HEAD = 4096


class _Identity(NamedTuple):
    """What tells this state of a file from every other."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    head: bytes


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


class Holder:
    """Loads the blob, follows its file and hands out the current view.

    A request takes the view once and works with that: replacing it is one assignment.
    """

    def __init__(self, path: Path | None, interval: float = 1.0) -> None:
        """Hold the blob at ``path``, looking for a change at most every ``interval`` seconds.

        Nothing is read before the first ``view()``.
        """
        self._path = path
        self._interval = interval
        self._view: View | None = None
        self._next_look = float("-inf")
        self._loaded: _Identity | None = None
        self._refused: _Identity | None = None
        self._complaint = ""
        self._folder: int | None = None
        if path:
            # Opened now: a worker that drops its privileges later may not come this way again,
            # when a folder above this one is closed to it.
            with contextlib.suppress(OSError):
                self._folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)

    def view(self) -> View | None:
        """Return the current view; None while no blob could be loaded.

        A changed file is taken up here, at a request. One that is missing or damaged changes
        nothing.
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

    def _look(self) -> None:
        """Load the file if it is not the one that was loaded or refused last."""
        try:
            with self._open() as file:
                seen = _identity(file)
                if seen == self._loaded:
                    self._complaint = ""
                elif seen != self._refused:
                    self._refused = seen
                    self._load(file.read(), seen)
        except BlobError as error:
            self._complain(f"{self._path}: {error}")
        except OSError as error:
            self._complain(str(error))

    def _load(self, data: bytes, identity: _Identity) -> None:
        blob = Blob(data)
        self._loaded, self._refused = identity, None
        self._complaint = ""
        generation = self._view.generation + 1 if self._view else 1
        self._view = View(blob, generation, identity.mtime_ns / 1e9)
        _log.info("loaded blob %s, %d runs", blob.build_id, blob.runs)

    def _complain(self, complaint: str) -> None:
        """Log why the file is not loaded: once for each reason, not at every look."""
        if complaint != self._complaint:
            state = "the loaded blob stays" if self._view else "no blob is loaded"
            _log.warning("%s: %s", state, complaint)
            self._complaint = complaint

    def _open(self) -> BinaryIO:
        """Open the blob's file: by its path, else through its folder."""
        descriptor = self._descriptor()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BlobError("not a regular file")
        return os.fdopen(descriptor, "rb")

    def _descriptor(self) -> int:
        if self._path is None:
            raise FileNotFoundError("IPGEO_BLOB is not set")
        # A FIFO in the file's place must not stop the process.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            return os.open(self._path, flags)
        except PermissionError:
            if self._folder is None:
                raise
            return os.open(self._path.name, flags, dir_fd=self._folder)


def _identity(file: BinaryIO) -> _Identity:
    status = os.fstat(file.fileno())
    head = os.pread(file.fileno(), _HEAD, 0)
    return _Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, head)
