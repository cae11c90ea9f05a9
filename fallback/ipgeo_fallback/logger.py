"""gunicorn's logger: the access log's format, and log files reopened without root's rights.

The worker's user may have been changed since the files were opened; see gunicorn.conf.py.
"""

import contextlib
import errno
import logging
import os
import pwd
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from gunicorn.glogging import Logger as GunicornLogger  # type: ignore[import-untyped]

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class Logger(GunicornLogger):  # type: ignore[misc]
    """Writes the access log as nginx writes its own, and reopens files as nginx does."""

    user: pwd.struct_passwd | None = None
    """The workers' user: root makes this user the owner of reopened files."""

    problem_of: Callable[[Path], str | None]
    """Returns why another user may have chosen where a path leads; None if none may."""

    def __init__(self, cfg: object) -> None:
        """Open the files."""
        self._files: dict[tuple[str, str], logging.FileHandler] = {}
        super().__init__(cfg)

    def _set_handler(
        self,
        log: logging.Logger,
        output: str | None,
        fmt: logging.Formatter,
        stream: TextIO | None = None,
    ) -> None:
        """Open a file as gunicorn does, but for links; one that is open stays so at a HUP."""
        if output in (None, "-"):
            super()._set_handler(log, output, fmt, stream)
            return
        handler = self._files.get((log.name, output))
        if not handler:
            handler = logging.FileHandler(output, delay=True)
            try:
                handler.setStream(self._open(output))
            except OSError as error:
                raise RuntimeError(f"{output!r} isn't writable: {error.strerror}") from None
            self._files[log.name, output] = handler
        handler.setFormatter(fmt)
        handler._gunicorn = True  # type: ignore[attr-defined] # noqa: SLF001 - it removes by this
        log.addHandler(handler)

    def now(self) -> str:
        """Return the time as nginx's $time_iso8601 has it."""
        return f"[{datetime.now().astimezone().isoformat(timespec='seconds')}]"

    def atoms(
        self, resp: object, req: object, environ: dict[str, Any], request_time: timedelta
    ) -> dict[str, Any]:
        """Return only the values that the access log may contain.

        If the line cannot be written, logging prints all its arguments.
        """
        from ipgeo_fallback.redaction import redacted  # noqa: PLC0415 - not by the master

        atoms: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        kept = {name: atoms[name] for name in "htHsbL"}
        method, path = redacted(atoms["m"]), redacted(atoms["U"])
        return kept | {"h": atoms["h"] or "-", "m": method, "U": path}

    def reopen_files(self) -> None:
        """Reopen the log files by their names, the master's first."""
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            if isinstance(handler, logging.FileHandler):
                self._reopen(handler)

    def _reopen(self, handler: logging.FileHandler) -> None:
        """Keep the old file if the new one cannot be opened: no line is lost."""
        try:
            stream = self._open(handler.baseFilename)
            if self.user and os.geteuid() == 0 and _is_one_file(os.fstat(stream.fileno())):
                os.fchown(stream.fileno(), self.user.pw_uid, -1)
        except OSError as error:
            self.warning("the log file is not reopened: %s", error)
            return
        old = handler.setStream(stream)
        if old is not None:
            old.close()

    def _open(self, name: str) -> TextIOWrapper:
        """Open a log file, 0640: it holds the clients' addresses.

        Root follows no link that another user may have made. Raises OSError.
        """
        path = Path(name)
        problem = self.problem_of(path)
        if problem:
            raise PermissionError(errno.EPERM, problem, name)
        stream = os.fdopen(_descriptor(path), "a")
        found = os.fstat(stream.fileno())
        if _is_one_file(found) and found.st_mode & stat.S_IRWXO:
            with contextlib.suppress(PermissionError):  # the workers are not always its owner
                os.fchmod(stream.fileno(), stat.S_IMODE(found.st_mode) & ~stat.S_IRWXO)
        return stream


def _descriptor(path: Path) -> int:
    end = path.resolve()
    if not end.exists() and path.exists():
        return os.open(path, _FLAGS)  # /dev/stdout leads to a pipe, which has no path
    return os.open(end, _FLAGS | os.O_NOFOLLOW, 0o640)


def _is_one_file(found: os.stat_result) -> bool:
    """Whether it is a regular file with one name: another name may be in another one's folder."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
