"""Putting finished files in the place of those that are served.

A file is written beside its place, synced and renamed over it, so a reader finds the old one or
the new one, whole. Several files that belong together are all written and synced before the first
is renamed; then each is renamed and the folder synced, one after the other:

- a build: **previous, blob, manifest** (and last, after ``--force``, the memory of rollbacks);
- a rollback: memory of rollbacks, **blob, previous, manifest**. There the previous file is what the
  blob is made from: replaced first, it would be lost to whoever is killed before the blob is.

Killed between any two of them, the blob is the old or the new one. A manifest that is not the
blob's names another build id and is ignored; building the same again writes the right one.

If one of the renames fails, those before it are undone, the last one first. For that the old files
keep a second name until all renames are done.
"""

import contextlib
import errno
import fcntl
import glob
import os
import re
import signal
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ipgeo.files.readers import lost_readers
from ipgeo.files.reading import open_regular, read_exactly, size_of

_DEFAULT_MODE = 0o644  # readable to workers that are not root; mkstemp's own is 0600
_TEMP_SUFFIX = ".ipgeo-new"  # these two are swept: no operator's own file is called so
_OLD_SUFFIX = ".ipgeo-old"  # of the second name of a file that is being replaced
_KEPT_SUFFIX = ".kept"  # of one that could not be put back: not swept, and shorter than the others
_TEMP_RANDOM = 8  # characters that mkstemp puts between the two
_PAGE = 4096
_ACL = "system.posix_acl_access"
_STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")  # how a space is written there
_PATIENCE = 60.0
_PAUSE = 0.05


class File(NamedTuple):
    """A file to publish.

    Mode and owner are those of the first file in ``models`` that there is; without one the mode is
    0644 under the umask. ``mtime_ns`` (Unix time) is given to it, if any.
    """

    path: Path
    data: bytes
    models: tuple[Path, ...]
    mtime_ns: int | None = None


def publish(path: Path, data: bytes) -> list[str]:
    """Write ``data`` to ``path`` so that a reader finds the old file or the new one, both whole.

    Temp file in the same folder, fsync, rename, fsync of the folder. The previous file's mode,
    owner and access list are kept; without one the mode is 0644 under the umask. A symbolic link
    stays one: the file it leads to is replaced. Returns warnings. Raises OSError and leaves
    ``path`` untouched if it fails.
    """
    return publish_alone([File(path, data, (path,))])


def publish_alone(files: Sequence[File]) -> list[str]:
    """Publish ``files`` with their folders locked, and cleared of what the killed left.

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
            with _naming(file.path):
                target = plain_target(file.path)
                new = _stage(target, file.data, file.models, file.mtime_ns)
                temps.callback(_remove, new)
                swaps.append(_Swap(target, new, existed=target.exists()))
        for swap in swaps[:-1]:  # nothing comes after the last one that could fail
            temps.callback(swap.forget)
            with _naming(swap.target):
                swap.keep()
        return _finish(swaps, temps)


@dataclass
class _Swap:
    """A file that is about to be replaced.

    ``new`` is the temp file that takes its place. ``old`` is the second name of what ``target`` was
    before: None if there was nothing, or nothing that could be kept.
    """

    target: Path
    new: str
    existed: bool
    old: str | None = None

    def keep(self) -> None:
        """Give the old file a second name, or where it may have none, copy it."""
        if not self.existed:
            return
        self.old = self.new.removesuffix(_TEMP_SUFFIX) + _OLD_SUFFIX
        try:
            os.link(self.target, self.old)
        except OSError:  # not on every file system, and not for the file of another user
            self.old = None
            with contextlib.suppress(PermissionError):
                self.old = _copy(self.target)

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
        kept = old.removesuffix(_TEMP_SUFFIX).removesuffix(_OLD_SUFFIX) + _KEPT_SUFFIX
        try:
            os.rename(old, kept)  # noqa: PTH104 - both names are at hand as needed
        except OSError:
            return f"the old {self.target.name} is {old} until the next build publishes"
        return f"the old {self.target.name} is {kept}"

    def forget(self) -> None:
        """Remove the second name."""
        if self.old:
            _remove(self.old)


def _finish(swaps: Sequence[_Swap], temps: contextlib.ExitStack) -> list[str]:
    """Rename all, and remove what was kept for undoing it; a signal waits for the end of that.

    What ends the process then has a note: that it came too late.
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


def _replace(swaps: Sequence[_Swap]) -> list[str]:
    """Rename each file to its place and sync its folder; undo all of it if one fails."""
    done: list[_Swap] = []
    warnings: list[str] = []
    try:
        for swap in swaps:
            with _naming(swap.target):
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


def _undo(done: list[_Swap]) -> list[str]:
    """Put everything back, the last one first. Returns nothing, or what is wrong.

    The first failure ends it: so the new files are always the first ones of the order.
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


@contextlib.contextmanager
def _unstopped() -> Iterator[None]:
    """Have signals that end the process wait: the renames are done in an instant."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def rehearse(target: Path) -> None:
    """Do what publishing ``target`` begins with, and undo it: a page is written beside it.

    So a folder that is missing, full or not writable is known before the work. Raises OSError.
    """
    with _naming(target):
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)  # as locking it will
        os.close(descriptor)
        _remove(_stage(target, bytes(_PAGE), (target,)))


def rehearse_access(target: Path, models: Iterable[Path]) -> None:
    """Give a temp file beside ``target`` the readers that ``target`` will get. Raises OSError."""
    with (
        _naming(target),
        tempfile.NamedTemporaryFile(
            prefix=_temp_prefix(target), suffix=_TEMP_SUFFIX, dir=target.parent
        ) as temp,
    ):
        _keep_access(temp.fileno(), models)


def refuse_mount_point(target: Path) -> None:
    """Raise OSError if a file is mounted at ``target`` itself: no rename can replace it."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return  # then the rename will show it
    points = {_OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split()[4]) for line in lines}
    if os.fsencode(target) in points:
        problem = "is a mount point and cannot be replaced; mount its folder instead"
        raise OSError(errno.EBUSY, problem, str(target))


def plain_target(path: Path) -> Path:
    """Return the file that ``path`` leads to, which need not exist.

    Raises OSError for anything but a regular file: a rename would put a plain file in the place
    of a folder or of /dev/null.
    """
    try:
        target = path.resolve()
    except RuntimeError:  # pathlib's way to report a loop
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "exists and is not a regular file", str(path))
    return target


def room_for_temp(target: Path, given: Path) -> None:
    """Raise OSError naming ``given`` if the temp file of ``target`` has too long a name.

    Raises it too, naming the folder, if there is none to ask.
    """
    longest = os.pathconf(target.parent, "PC_NAME_MAX")  # bytes; not the same everywhere
    excess = len(os.fsencode(_temp_prefix(target) + _TEMP_SUFFIX)) + _TEMP_RANDOM - longest
    if excess > 0 <= longest:
        problem = f"the name is {excess} bytes too long for the files that are written beside it"
        raise OSError(errno.ENAMETOOLONG, problem, str(given))


@contextlib.contextmanager
def locked(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold ``folder`` for one publisher; wait up to ``patience`` seconds for another one.

    The lock is on the folder itself: it leaves no file behind, and ends with its process.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder, time.monotonic() + patience)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                problem = "another build or rollback is publishing here and does not end"
                raise OSError(errno.EAGAIN, problem, str(folder)) from None
        except OSError as error:
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(folder)) from None
        else:
            return
        time.sleep(_PAUSE)


def sweep(paths: Iterable[Path]) -> None:
    """Remove the temp files that publishers of ``paths`` left when they were killed.

    Only for whoever has the folder locked.
    """
    for path in paths:
        for suffix in (_TEMP_SUFFIX, _OLD_SUFFIX):
            pattern = f"{glob.escape(_temp_prefix(path))}{'?' * _TEMP_RANDOM}{suffix}"
            for leftover in path.parent.glob(pattern):
                with contextlib.suppress(OSError):  # a folder, or another user's in a sticky folder
                    leftover.unlink()


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file itself where an error names its temp file or nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _temp_prefix(target: Path) -> str:
    return f".{target.name}."


def _remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)  # noqa: PTH108


def _stage(target: Path, data: bytes, models: Iterable[Path], mtime_ns: int | None = None) -> str:
    """Write a temp file beside ``target`` and sync it; return its name. It is gone at a failure."""
    descriptor, name = tempfile.mkstemp(
        prefix=_temp_prefix(target), suffix=_TEMP_SUFFIX, dir=target.parent
    )
    try:
        with os.fdopen(descriptor, "wb") as temp:
            temp.write(data)
            temp.flush()
            _keep_access(temp.fileno(), models)
            if mtime_ns is not None:
                os.utime(temp.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(temp.fileno())
    except BaseException:  # an interrupt too must not leave the temp file behind
        _remove(name)
        raise
    return name


def _copy(path: Path) -> str:
    """Copy a file to a temp file beside it; return its name."""
    with open_regular(path) as file:
        data = read_exactly(file, size_of(file))
        return _stage(path, data, (path,), os.fstat(file.fileno()).st_mtime_ns)


def _keep_access(descriptor: int, models: Iterable[Path]) -> None:
    """Let those read the new file who may read the first model that there is.

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
        acl = os.getxattr(model, _ACL)
    except OSError:  # it has none, or the file system knows none
        return
    os.setxattr(descriptor, _ACL, acl)


def _give(descriptor: int, user: int, group: int) -> None:
    """Give the file to both, or to the group at least: its members may be the ones who read it.

    Only root may give a file away; anybody else's new file is simply their own, and of one of
    their groups.
    """
    for owner in (user, -1):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, owner, group)
            return


def _sync_folder(folder: Path) -> list[str]:
    """Sync a folder. Returns a warning if that fails: what is in it keeps its place."""
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
