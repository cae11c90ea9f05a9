"""Which users may read a file: a publisher must not change that unnoticed.

Judged by mode bits, owners and groups, for any user, not only the caller. Other rules (access
lists, a security module, the rights on a file server) are reported as unknown.
"""

import contextlib
import errno
import grp
import os
import pwd
import stat
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ipgeo.contract import SETTING_BY_NAME

DEFAULT_USER = SETTING_BY_NAME["IPGEO_USER"].default
"""The user that the servers' workers run as, unless IPGEO_USER names another."""

ACL = "system.posix_acl_access"
"""The extended attribute that is a file's access list."""
_READ, _ENTER = stat.S_IROTH, stat.S_IXOTH
_MAX_LINKS = 40  # as many as Linux follows


class State(StrEnum):
    """Whether the servers can read the file."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Readability:
    """Whether ``user`` can read a file, with the reason if not; ``user`` may be empty."""

    user: str
    state: State
    detail: str

    def as_dict(self) -> dict[str, str]:
        """Return it as it is printed with ``--json``."""
        return {"user": self.user, "state": self.state, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class _Account:
    uid: int
    groups: frozenset[int]


def lost_readers(old: os.stat_result, new: os.stat_result) -> str:
    """Return which readers of status ``old`` are lost with status ``new``; empty for none.

    Both have the same mode.
    """
    mode = stat.S_IMODE(old.st_mode)
    if mode & stat.S_IROTH:
        return ""
    if mode & stat.S_IRGRP and new.st_gid != old.st_gid:
        problem = f"its group {_group_name(old.st_gid)} could not read the new file"
        return f"{problem} (mode {mode:04o}): build as root or as a member of that group"
    if mode & stat.S_IRUSR and old.st_uid not in (0, new.st_uid):
        account = _account(old.st_uid)
        by_group = mode & stat.S_IRGRP and account and new.st_gid in account.groups
        if not by_group:
            user = _user_name(old.st_uid)
            problem = f"its owner {user} could not read the new file (mode {mode:04o})"
            return f"{problem}: build as root or as {user}"
    return ""


def readability(path: Path) -> Readability:
    """Judge whether the servers can read the file that ``path`` leads to.

    A server started as root holds the file's folder open for its workers. So the folders above it
    do not matter to them, unless a link leads through them. If one of these folders stops other
    servers, the detail names it.
    """
    name = os.environ.get("IPGEO_USER") or (DEFAULT_USER if os.geteuid() == 0 else "")
    try:
        return _judge(path, name)
    except OSError as error:
        return Readability(name, State.UNKNOWN, f"{error.filename}: {error.strerror}")


def _judge(path: Path, name: str) -> Readability:
    folders, target = _lookups(path)
    account = _named_account(name) if name else None
    for entry in (*folders, target):
        bit = _READ if entry == target else _ENTER
        if not _may(entry, account, bit):
            what = "read it" if entry == target else "enter its folder"
            return _refused(name, account, entry, what, "r" if entry == target else "x")
    for entry in (*folders, target):
        if _has_acl(entry):
            return Readability(name, State.UNKNOWN, f"{entry} has an access list")
    return _above(Readability(name, State.YES, ""), folders, account)


def _lookups(path: Path) -> tuple[dict[Path, None], Path]:
    """Return each folder that the kernel searches while it resolves ``path``, and the final file.

    It begins in the folder of ``path``, and follows one link after the other as the kernel does.
    """
    here = path.absolute().parent.resolve()
    names, links = [path.name], 0
    folders: dict[Path, None] = {}
    while names:
        folders[here] = None
        name = names.pop(0)
        entry = here.parent if name == ".." else here / name
        if not entry.is_symlink():
            here = entry
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        text = entry.readlink()
        here = Path("/") if text.is_absolute() else here
        names = [part for part in text.parts if part != "/"] + names
    return folders, here


def _refused(name: str, account: _Account | None, path: Path, what: str, bit: str) -> Readability:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not name:
        subject = "its mode" if bit == "r" else f"the mode of {path}"
        detail = f"{subject} is {mode:04o}: servers that run as another user may not {what}"
        return Readability("", State.UNKNOWN, detail)
    if account is None:
        return Readability(name, State.UNKNOWN, f"there is no user {name}")
    if _has_acl(path):
        return Readability(name, State.UNKNOWN, f"{path} has an access list")
    change = f"{_class(path, account)}+{bit}"
    detail = f"{name} may not {what} (mode {mode:04o}): chmod {change} {path}"
    return Readability(name, State.NO, detail)


def _above(found: Readability, folders: dict[Path, None], account: _Account | None) -> Readability:
    """Return ``found``, with the folder further up, if any, that stops a server from the start."""
    above = {parent for folder in folders for parent in folder.parents}
    for folder in sorted(above):
        if not _may(folder, account, _ENTER):
            detail = f"{folder} is closed to others: only a server that is started as root reads it"
            return replace(found, detail=detail)
    return found


def _may(path: Path, account: _Account | None, bit: int) -> bool:
    """Whether an account has a right, given as the bit that the others have.

    For an unknown account: whether everyone has the right, as its class is unknown too.
    """
    mode = path.stat().st_mode
    if account is None:
        every = bit | bit << 3 | bit << 6
        return mode & every == every
    shift = {"u": 6, "g": 3, "o": 0}[_class(path, account)]
    return account.uid == 0 or bool(mode & bit << shift)


def _class(path: Path, account: _Account) -> str:
    """Return which bits decide for an account: those of the user, the group or the others."""
    status = path.stat()
    if account.uid == status.st_uid:
        return "u"
    return "g" if status.st_gid in account.groups else "o"


def _has_acl(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.getxattr(path, ACL))
    return False


def _named_account(name: str) -> _Account | None:
    try:
        return _account(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return None


def _account(uid: int) -> _Account | None:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    return _Account(uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def _user_name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group_name(gid: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)
