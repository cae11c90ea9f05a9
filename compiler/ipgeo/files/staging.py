"""New files before they are published: written and synced beside the old ones, with their readers.

A rehearsal does the same with a scratch file, so that problems show before the work.
"""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from ipgeo.files.readers import ACL, lost_readers
from ipgeo.files.reading import open_regular, read_exactly, size_of

TEMP_SUFFIX = ".ipgeo-new"  # files with these two suffixes are swept: operators do not use them
OLD_SUFFIX = ".ipgeo-old"  # of the second name of a file that is being replaced
TEMP_RANDOM = 8  # characters that mkstemp puts between the two

_DEFAULT_MODE = 0o644  # readable to workers that are not root; mkstemp's own is 0600
_PAGE = 4096


def stage(target: Path, data: bytes, models: Iterable[Path], mtime_ns: int | None = None) -> str:
    """Write a temp file beside ``target`` and sync it; return its name. A failure removes it."""
    descriptor, name = tempfile.mkstemp(
        prefix=temp_prefix(target), suffix=TEMP_SUFFIX, dir=target.parent
    )
    try:
        with os.fdopen(descriptor, "wb") as temp:
            temp.write(data)
            temp.flush()
            _keep_access(temp.fileno(), models)
            if mtime_ns is not None:
                os.utime(temp.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(temp.fileno())
    except BaseException:  # an interrupt, too, must remove the temp file
        remove(name)
        raise
    return name


def copy(path: Path) -> str:
    """Copy a file to a temp file beside it; return its name."""
    with open_regular(path) as file:
        data = read_exactly(file, size_of(file))
        return stage(path, data, (path,), os.fstat(file.fileno()).st_mtime_ns)


def remove(name: str) -> None:
    """Remove a temp file, which may have been renamed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)  # noqa: PTH108


def temp_prefix(target: Path) -> str:
    """Return what the names of all temp files beside ``target`` begin with."""
    return f".{target.name}."


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make an error name the file itself instead of its temp file or nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def rehearse(target: Path) -> None:
    """Rehearse the first steps of publishing ``target``: write a page beside it, and remove it.

    So a missing, full or read-only folder is noticed before the work. Raises OSError.
    """
    with naming(target):
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)  # as locking it will
        os.close(descriptor)
        remove(stage(target, bytes(_PAGE), (target,)))


def rehearse_access(target: Path, models: Iterable[Path]) -> None:
    """Give a temp file beside ``target`` the readers that ``target`` will get. Raises OSError."""
    with (
        naming(target),
        tempfile.NamedTemporaryFile(
            prefix=temp_prefix(target), suffix=TEMP_SUFFIX, dir=target.parent
        ) as temp,
    ):
        _keep_access(temp.fileno(), models)


def room_for_temp(target: Path, given: Path) -> None:
    """Raise OSError naming ``given`` if the temp file of ``target`` has too long a name.

    Raises it too, naming the folder, if the folder does not exist.
    """
    longest = os.pathconf(target.parent, "PC_NAME_MAX")  # bytes; not the same everywhere
    excess = len(os.fsencode(temp_prefix(target) + TEMP_SUFFIX)) + TEMP_RANDOM - longest
    if excess > 0 <= longest:
        problem = f"the name is {excess} bytes too long for the files that are written beside it"
        raise OSError(errno.ENAMETOOLONG, problem, str(given))


def _keep_access(descriptor: int, models: Iterable[Path]) -> None:
    """Give the new file the readers of the first existing model.

    Raises PermissionError if one of them could not.
    """
    for model in models:
        with contextlib.suppress(FileNotFoundError):
            status = model.stat()
            _give(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            _keep_acl(descriptor, model)
            lost = lost_readers(status, os.fstat(descriptor))
            if lost:
                raise PermissionError(errno.EPERM, lost)
            return
    umask = os.umask(0)
    os.umask(umask)
    os.fchmod(descriptor, _DEFAULT_MODE & ~umask)


def _keep_acl(descriptor: int, model: Path) -> None:
    try:
        acl = os.getxattr(model, ACL)
    except OSError:  # it has none, or the file system knows none
        return
    os.setxattr(descriptor, ACL, acl)


def _give(descriptor: int, user: int, group: int) -> None:
    """Give the file to both, or at least to the group: the readers may be its members.

    Only root may give a file away; another user's new file is their own, and of one of their
    groups.
    """
    for owner in (user, -1):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, owner, group)
            return
