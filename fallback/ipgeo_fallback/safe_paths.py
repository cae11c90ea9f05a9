"""Whether another user could have prepared the folders and links that root works in.

gunicorn.conf.py executes this file: it may import nothing but the standard library.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
# Evaluated now: a worker may not be able to enter the checkout's parent folder.
_OWNER = _CHECKOUT.stat().st_uid
_MAX_LINKS = 40  # as the kernel


def steps(path: Path) -> Iterator[Path]:
    """Yield the folders and symbolic links that ``path`` passes, and its end.

    Raises OSError for a folder that may not be entered.
    """
    here, ahead = Path("/"), [*reversed(path.parts[1:])]
    left = _MAX_LINKS
    while ahead and left:
        name = ahead.pop()
        step = here.parent if name == ".." else here / name
        yield step
        if step.is_symlink():
            left -= 1
            target = step.readlink()
            here = Path("/") if target.is_absolute() else here
            ahead += reversed(target.parts[target.is_absolute() :])
        else:
            here = step


def problem_of_var(var: Path) -> str | None:
    """Return why another, less privileged user may have prepared our files in ``var``.

    The same rule as in nginx/place.sh, for folders down to ``log`` and gunicorn's own files.
    """
    files = [var / f"fallback.{name}" for name in ("pid", "pid.2", "lock")]
    log = var / "log"
    return _first_problem([*steps(log), *files]) or _first_problem([log.resolve()], sticky=False)


def problem_of_log(path: Path) -> str | None:
    """Return why another user may have chosen where ``path`` leads.

    A log file itself may be the workers': there only links matter.
    """
    passed = [*steps(path)]
    return _first_problem(step for step in passed if step.is_symlink() or step.is_dir())


def _first_problem(paths: Iterator[Path] | list[Path], *, sticky: bool = True) -> str | None:
    for path in paths:
        if path in {_CHECKOUT, *_CHECKOUT.parents}:
            continue
        try:
            problem = _problem_of(path.lstat(), sticky=sticky)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if problem:
            return f"{path} {problem}"
    return None


def _problem_of(found: os.stat_result, *, sticky: bool) -> str | None:
    if found.st_uid not in {0, os.geteuid(), _OWNER}:
        return f"belongs to another user ({found.st_uid})"
    # In a folder with the sticky bit others may add, but replace nothing.
    if stat.S_ISDIR(found.st_mode) and not (sticky and found.st_mode & stat.S_ISVTX):
        if found.st_mode & stat.S_IWOTH:
            return "is writable by all users"
        if found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid():
            return f"is writable by a foreign group ({found.st_gid})"
    return None
