"""The blob in memory, and the one reference that a newer one replaces."""

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

from ipgeo.blob import Blob
from ipgeo.errors import BlobError

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


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
    """Loads the blob and hands out the current view.

    A request takes the view once and works with that: replacing it is one assignment.
    """

    def __init__(self, path: Path | None) -> None:
        """Hold the blob at ``path``; nothing is read before the first ``view()``."""
        self._path = path
        self._view: View | None = None
        self._next_look = float("-inf")
        self._complaint = ""
        self._folder: int | None = None
        if path:
            # Opened now: a worker that drops its privileges later may not come this way again,
            # when a folder above this one is closed to it.
            with contextlib.suppress(OSError):
                self._folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)

    def view(self) -> View | None:
        """Return the current view; None while no blob could be loaded.

        While there is none it is looked for again, at most once a second.
        """
        if self._view is None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _RETRY_SECONDS
            self._load()
        return self._view

    def warn_unless_readable(self) -> None:
        """Log a warning if the file that was loaded could not be read again by this user."""
        if self._view is not None:
            try:
                os.close(self._open())
            except OSError as error:
                _log.warning("no newer blob can be loaded by this user: %s", error)

    def _load(self) -> None:
        try:
            view = self._read()
        except (OSError, BlobError) as error:
            self._complain(str(error))
            return
        self._view = view
        self._complaint = ""
        _log.info("loaded blob %s, %d runs", view.blob.build_id, view.blob.runs)

    def _complain(self, complaint: str) -> None:
        """Log why there is no blob: once, not every second."""
        if complaint != self._complaint:
            _log.warning("no blob is loaded: %s", complaint)
            self._complaint = complaint

    def _read(self) -> View:
        if self._path is None:
            raise BlobError("IPGEO_BLOB is not set")
        with os.fdopen(self._open(), "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read()
        try:
            blob = Blob(data)
        except BlobError as error:
            raise BlobError(f"{self._path}: {error}") from None
        generation = self._view.generation + 1 if self._view else 1
        return View(blob, generation, status.st_mtime)

    def _open(self) -> int:
        """Return a descriptor of the blob's file: by its path, else through its folder."""
        if self._path is None:
            raise FileNotFoundError("no blob is named")
        flags = os.O_RDONLY | os.O_CLOEXEC
        try:
            return os.open(self._path, flags)
        except PermissionError:
            if self._folder is None:
                raise
            return os.open(self._path.name, flags, dir_fd=self._folder)
