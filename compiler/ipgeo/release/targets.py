"""Whether an output may replace what its path leads to: checked before any work is done.

Inputs and foreign files are never replaced unnoticed.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from ipgeo.blob.layout import MAGIC
from ipgeo.errors import InputError
from ipgeo.files.reading import open_regular
from ipgeo.files.staging import rehearse, rehearse_access, room_for_temp
from ipgeo.files.targets import plain_target, refuse_mount_point
from ipgeo.release import manifest
from ipgeo.release.rollbacks import BlobFiles


def resolve_target(path: Path) -> BlobFiles:
    """Return the blob that ``path`` leads to and the files beside it, none of which need exist.

    Raises OSError for one that is not a regular file or has too long a name.
    """
    files = BlobFiles.of(plain_target(path))
    for file in sorted(files, key=lambda file: len(file.name)):
        room_for_temp(file, path)
    for file in files:
        refuse_mount_point(plain_target(file))
    return files


def output_target(path: Path) -> Path:
    """Return the file that ``path`` leads to; raise OSError if it cannot be written."""
    target = plain_target(path)
    room_for_temp(target, path)
    refuse_mount_point(target)
    rehearse(target)
    return target


def rehearse_build(files: BlobFiles, *, force: bool) -> None:
    """Rehearse the first steps of publishing a build. Raises OSError.

    The list of rollbacks is written by force alone.
    """
    rehearse(files.blob)
    for path in (files.manifest, files.rolled_back) if force else (files.manifest,):
        rehearse_access(plain_target(path), files.models(path))


def same_file(outputs: Iterable[Path], inputs: Iterable[Path]) -> tuple[Path, Path] | None:
    """Return the first output that is also an input, and that input; None without one."""
    known = [(path, status) for path in inputs if (status := _status(path))]
    for output in outputs:
        status = _status(output)
        for path, other in known:
            if status and os.path.samestat(status, other):
                return output, path
    return None


def refuse_foreign(files: BlobFiles) -> None:
    """Refuse to replace a file that is not a blob (or manifest): it may be another program's.

    A damaged blob and an empty file may be replaced. Raises InputError, OSError.
    """
    if not _begins_as_blob(files.blob):
        raise InputError(files.blob, "", "exists and is not an ipgeo blob; --force replaces it")
    if not manifest.is_ours(files.manifest):
        problem = "exists and is not a blob's manifest; --force replaces it"
        raise InputError(files.manifest, "", problem)


def refuse_blob(path: Path) -> None:
    """Refuse to replace a blob with another kind of file. Raises InputError."""
    with contextlib.suppress(OSError), open_regular(path) as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise InputError(path, "", "exists and is an ipgeo blob; --force replaces it")


def _begins_as_blob(path: Path) -> bool:
    """Whether a file begins like a blob, even a truncated one; true for a missing file."""
    try:
        with open_regular(path) as file:
            return MAGIC.startswith(file.read(len(MAGIC)))
    except OSError:  # a file that cannot be read is not judged
        return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
