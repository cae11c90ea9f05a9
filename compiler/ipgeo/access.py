"""Who may read a file: what a publisher must not change unseen.

Judged by mode bits, owners and groups, for a user who need not be the one that asks. What decides
besides them (access lists, a security module, the rights of a file server) is reported as unknown.
"""

import contextlib
import grp
import os
import pwd
import stat
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

DEFAULT_USER = "www-data"
"""Whom the servers' workers run as, unless IPGEO_USER names another."""

_ACL = "system.posix_acl_access"
_READ, _ENTER = stat.S_IROTH, stat.S_IXOTH


class State(StrEnum):
    """Whether the servers can read the file."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Reading(NamedTuple):
    """Whether ``user`` can read a file, and if that is not plain, why; ``user`` may be empty."""

    user: str
    state: State
    detail: str

    def as_dict(self) -> dict[str, str]:
        """Return it as it is printed with ``--json``."""
        return {"user": self.user, "state": self.state, "detail": self.detail}


class _Account(NamedTuple):
    uid: int
    groups: frozenset[int]


def lost_readers(old: os.stat_result, new: os.stat_result) -> str:
    """Return who could read a file by its status ``old`` and cannot by ``new``; empty for no one.

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


def reading(path: Path) -> Reading:
    """Judge whether the servers can read the file that ``path`` leads to.

    The workers reach it by its folder, which a server that is started as root holds open: so the
    folders above decide nothing for those. Where one stops others, the detail has it.
    """
    name = os.environ.get("IPGEO_USER") or (DEFAULT_USER if os.geteuid() == 0 else "")
    try:
        return _judge(path, name)
    except OSError as error:
        return Reading(name, State.UNKNOWN, f"{error.filename}: {error.strerror}")


def _judge(path: Path, name: str) -> Reading:
    target = path.resolve()
    folders = dict.fromkeys((path.absolute().parent, target.parent))
    if _for_all(target, _READ) and all(_for_all(folder, _ENTER) for folder in folders):
        return _above(Reading(name, State.YES, ""), folders, None)
    if not name:
        mode = stat.S_IMODE(target.stat().st_mode)
        detail = f"its mode is {mode:04o}: servers that run as another user may not read it"
        return Reading("", State.UNKNOWN, detail)
    account = _named_account(name)
    if account is None:
        return Reading(name, State.UNKNOWN, f"there is no user {name} to ask for")
    for folder in folders:
        if not _may(folder, account, _ENTER):
            return _refused(name, folder, "enter its folder", f"{_class(folder, account)}+x")
    if not _may(target, account, _READ):
        return _refused(name, target, "read it", f"{_class(target, account)}+r")
    return _above(Reading(name, State.YES, ""), folders, account)


def _refused(name: str, path: Path, what: str, change: str) -> Reading:
    mode = stat.S_IMODE(path.stat().st_mode)
    if _has_acl(path):
        return Reading(name, State.UNKNOWN, f"{path} has an access list")
    detail = f"{name} may not {what} (mode {mode:04o}): chmod {change} {path}"
    return Reading(name, State.NO, detail)


def _above(found: Reading, folders: dict[Path, None], account: _Account | None) -> Reading:
    """Return ``found``, with the folder further up, if any, that stops a server from the start."""
    above = {parent for folder in folders for parent in folder.parents}
    for folder in sorted(above):
        passes = _may(folder, account, _ENTER) if account else _for_all(folder, _ENTER)
        if not passes:
            detail = f"{folder} is closed to others: only a server that is started as root reads it"
            return found._replace(detail=detail)
    return found


def _for_all(path: Path, bit: int) -> bool:
    return bool(path.stat().st_mode & bit)


def _may(path: Path, account: _Account, bit: int) -> bool:
    """Whether an account has a right, given as the bit that the others have."""
    shift = {"u": 6, "g": 3, "o": 0}[_class(path, account)]
    return account.uid == 0 or bool(path.stat().st_mode & bit << shift)


def _class(path: Path, account: _Account) -> str:
    """Return whose bits decide for an account: those of the user, the group or the others."""
    status = path.stat()
    if account.uid == status.st_uid:
        return "u"
    return "g" if status.st_gid in account.groups else "o"


def _has_acl(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.getxattr(path, _ACL))
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
