"""Renaming new files over old ones, all of them or none.

If a rename fails, the earlier ones are undone in reverse order. For that the old files keep a
second name until all renames are done.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipgeo.files.staging import OLD_SUFFIX, TEMP_SUFFIX, copy, naming, remove

_KEPT_SUFFIX = ".kept"  # an old file that was not restored: never swept; shorter than the others
_STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass
class Swap:
    """A file that is about to be replaced.

    ``new`` is the temp file that replaces it. ``old`` is the second name of the old ``target``;
    None if there was none, or it could not be kept.
    """

    target: Path
    new: str
    existed: bool
    old: str | None = None

    def keep(self) -> None:
        """Give the old file a second name, or where it may have none, copy it."""
        if not self.existed:
            return
        self.old = self.new.removesuffix(TEMP_SUFFIX) + OLD_SUFFIX
        try:
            os.link(self.target, self.old)
        except OSError:  # not on every file system, and not for the file of another user
            self.old = None
            with contextlib.suppress(PermissionError):
                self.old = copy(self.target)

    def undo(self) -> None:
        """Put the old file back. Raises OSError."""
        if self.old:
            os.replace(self.old, self.target)  # noqa: PTH105 - both names are at hand as needed
        elif self.existed:
            raise FileNotFoundError(errno.ENOENT, f"the old {self.target.name} was not kept")
        else:
            self.target.unlink()

    def leave(self) -> str:
        """Leave the new file where it is; return where the old one stays."""
        old, self.old = self.old, None
        if not old:
            return ""
        kept = old.removesuffix(TEMP_SUFFIX).removesuffix(OLD_SUFFIX) + _KEPT_SUFFIX
        try:
            os.rename(old, kept)  # noqa: PTH104 - both names are at hand as needed
        except OSError:
            return f"the old {self.target.name} is kept as {old} until the next build publishes"
        return f"the old {self.target.name} is kept as {kept}"

    def forget(self) -> None:
        """Remove the second name."""
        if self.old:
            remove(self.old)


def finish(swaps: Sequence[Swap], temps: contextlib.ExitStack) -> list[str]:
    """Rename all, then remove the second names; signals are held back until that is done.

    An exception from a signal that came too late carries a note with the published files.
    """
    done = False
    try:
        with _unstopped():
            warnings = _replace(swaps)
            temps.close()
            done = True
    except (KeyboardInterrupt, SystemExit) as stop:
        if done:
            stop.add_note(f"{', '.join(str(swap.target) for swap in swaps)}: published")
        raise
    return warnings


@contextlib.contextmanager
def _unstopped() -> Iterator[None]:
    """Hold back signals that end the process: the renames take only an instant."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _replace(swaps: Sequence[Swap]) -> list[str]:
    """Rename each file over its target and sync the folder; undo all of it if one fails."""
    done: list[Swap] = []
    warnings: list[str] = []
    try:
        for swap in swaps:
            with naming(swap.target):
                os.replace(swap.new, swap.target)  # noqa: PTH105 - both names are at hand as needed
            done.append(swap)
            warnings += _sync_folder(swap.target.parent)
    except OSError as error:
        problems = _undo(done)
        text = "; ".join([str(error.strerror), *(problems or ["nothing is changed"])])
        raise OSError(error.errno, text, error.filename) from None
    except BaseException:
        _undo(done)
        raise
    return list(dict.fromkeys(warnings))


def _undo(done: list[Swap]) -> list[str]:
    """Restore the old files in reverse order. Returns the problems, if any.

    The first failure ends it, so the files that stay new are always the first in order.
    """
    while done:
        try:
            done[-1].undo()
        except OSError as error:
            left = [swap.leave() for swap in done]
            names = ", ".join(swap.target.name for swap in done)
            return [f"{names} cannot be put back ({error.strerror})", *filter(None, left)]
        _sync_folder(done.pop().target.parent)
    return []


def _sync_folder(folder: Path) -> list[str]:
    """Sync a folder. Returns a warning if that fails: the renames stay."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = f"{folder} cannot be synced ({error.strerror})"
        return [f"{problem}: after a power loss the old file may be back"]
    return []
