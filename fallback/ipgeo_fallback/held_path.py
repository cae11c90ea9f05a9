"""The way to the blob's file, also for a process that may not walk it any more.

A worker gives up root's rights after the first load. It goes on through the folder that it holds
open, and knows by the descriptors of what lay on the way whether the path still leads there.
"""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from ipgeo.errors import IpgeoError
from ipgeo.files.reading import open_regular
from ipgeo_fallback.place import steps


class MovedError(IpgeoError, OSError):
    """The path leads elsewhere by now, and this process may not follow it."""


class Way:
    """The path of a file: opened anew at each look, its folder and symbolic links held."""

    def __init__(self, path: Path) -> None:
        """Hold what lies on the way to ``path``, as far as that is there."""
        self._path = path.absolute()
        self._held: list[tuple[int, Path | None]] = []
        with contextlib.suppress(OSError):
            self._hold()

    def open(self) -> BinaryIO:
        """Open the file: by its path, else through its folder.

        Raises MovedError, NotRegularError for what is no regular file, OSError if it cannot be
        opened.
        """
        self._follow()
        try:
            return open_regular(self._path)
        except PermissionError:
            if not self._held:
                raise
            folder, _ = self._held[-1]
            return open_regular(self._path.name, dir_fd=folder)

    def _follow(self) -> None:
        """Hold the way anew if something on it was replaced."""
        if self._held and all(_place(descriptor) == place for descriptor, place in self._held):
            return
        try:
            self._hold()
        except PermissionError as error:
            if self._held:
                raise MovedError(error.errno, "the path leads elsewhere by now") from None
        except OSError:
            pass  # opening the file will tell

    def _hold(self) -> None:
        """Open the symbolic links on the way, and last the file's folder."""
        links = [step for step in steps(self._path.parent) if step.is_symlink()]
        held: list[tuple[int, Path | None]] = []
        try:
            for link in links:
                _append(held, link, os.O_NOFOLLOW)
            _append(held, self._path.parent, os.O_DIRECTORY)
        except OSError:
            _close(held)
            raise
        _close(self._held)
        self._held = held


def _append(held: list[tuple[int, Path | None]], path: Path, flag: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | flag)
    held.append((descriptor, _place(descriptor)))


def _close(held: list[tuple[int, Path | None]]) -> None:
    for descriptor, _ in held:
        os.close(descriptor)


def _place(descriptor: int) -> Path | None:
    """Return where the kernel finds an open file by now; to ask this a process needs no rights.

    What was renamed has another name, what was deleted or replaced ends in "(deleted)".
    """
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return None  # no /proc: nothing is known
