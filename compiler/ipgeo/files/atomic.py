"""Replaces served files by complete new ones.

A new file is written in the same folder, synced and renamed over the old one, so a reader finds
either of them, whole. Files that belong together are all written and synced before the first is
renamed. Then they are renamed one by one, and the folder is synced after each:

- a build: **previous, blob, manifest** (and last, after ``--force``, the list of rollbacks);
- a rollback: list of rollbacks, **blob, previous, manifest**. A rollback makes the blob from the
  previous file: replaced first, that file would be lost if the process were then killed.

After a kill between any two renames, the blob is still the old or the new one. The manifest may
then name another build id: it is ignored, and building the same input again writes the right one.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ipgeo.files.locks import locked, sweep
from ipgeo.files.staging import naming, remove, stage
from ipgeo.files.swap import Swap, finish
from ipgeo.files.targets import plain_target


@dataclass(frozen=True, slots=True)
class File:
    """A file to publish.

    Mode and owner are those of the first existing file in ``models``; without one the mode is 0644
    under the umask. ``mtime_ns`` (Unix time), if given, becomes the file's mtime.
    """

    path: Path
    data: bytes
    models: tuple[Path, ...]
    mtime_ns: int | None = None


def write_atomically(path: Path, data: bytes) -> list[str]:
    """Write ``data`` to ``path`` so that a reader finds the old file or the new one, both whole.

    Temp file in the same folder, fsync, rename, fsync of the folder. The previous file's mode,
    owner and access list are kept; without one the mode is 0644 under the umask. A symbolic link
    stays one: the file it leads to is replaced. Returns warnings. Raises OSError and leaves
    ``path`` untouched if it fails.
    """
    return publish_alone([File(path, data, (path,))])


def publish_alone(files: Sequence[File]) -> list[str]:
    """Publish ``files`` with their folders locked and cleared of killed publishers' leftovers.

    Where a folder cannot be locked (not every file system can) nothing is cleared. Returns
    warnings. Raises OSError, as publish_all does.
    """
    targets = [plain_target(file.path) for file in files]
    with contextlib.ExitStack() as locks:
        try:
            for folder in sorted({target.parent for target in targets}):
                locks.enter_context(locked(folder))
        except BlockingIOError:
            raise
        except OSError:
            return publish_all(files)
        sweep(targets)
        return publish_all(files)


def publish_all(files: Sequence[File]) -> list[str]:
    """Publish ``files`` in their order; none is touched before all of them are on the disk.

    Returns warnings: the folders that could not be synced. Raises OSError naming the file that
    failed, with every file as it was before; if one could not be put back, the error says where its
    old content is.
    """
    with contextlib.ExitStack() as temps:
        swaps = []
        for file in files:
            with naming(file.path):
                target = plain_target(file.path)
                new = stage(target, file.data, file.models, file.mtime_ns)
                temps.callback(remove, new)
                swaps.append(Swap(target, new, existed=target.exists()))
        for swap in swaps[:-1]:  # nothing comes after the last one that could fail
            temps.callback(swap.forget)
            with naming(swap.target):
                swap.keep()
        return finish(swaps, temps)
