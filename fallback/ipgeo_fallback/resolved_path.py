"""The path of the blob's file, for a process that may no longer open the folders above it.

A worker drops root's rights after the first load. It then opens the file through the folder that it
holds open. The descriptors of folder and links show whether the path still leads there.
"""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from ipgeo.errors import IpgeoError
from ipgeo.files.reading import open_regular
from ipgeo_fallback.safe_paths import steps


class MovedError(IpgeoError, OSError):
    """The path now leads elsewhere, and this process may not follow it."""


class ResolvedPath:
    """A file's path as it was resolved: its folder and symbolic links are held open."""

    def __init__(self, path: Path) -> None:
        """Hold the folder of ``path`` and the symbolic links above it, if they exist."""
        self._path = path.absolute()
        self._held: list[tuple[int, Path | None]] = []
        with contextlib.suppress(OSError):
            self._hold()

    def open(self) -> BinaryIO:
        """Open the file by its path; if that is not permitted, through its folder.

        Raises MovedError, NotRegularError if it is not a regular file, OSError if it cannot be
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
        """Hold folder and links again if one of them was replaced."""
        if self._held and all(_path_now(descriptor) == path for descriptor, path in self._held):
            return
        try:
            self._hold()
        except PermissionError as error:
            if self._held:
                raise MovedError(error.errno, "the path leads elsewhere by now") from None
        except OSError:
            pass  # opening the file will fail, too

    def _hold(self) -> None:
        """Open the symbolic links above the file, and last its folder."""
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
    held.append((descriptor, _path_now(descriptor)))


def _close(held: list[tuple[int, Path | None]]) -> None:
    for descriptor, _ in held:
        os.close(descriptor)


def _path_now(descriptor: int) -> Path | None:
    """Return the kernel's current path of an open file; a process needs no rights for it.

    A renamed file has its new name; the name of a deleted or replaced file ends in "(deleted)".
    """
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return None  # no /proc
