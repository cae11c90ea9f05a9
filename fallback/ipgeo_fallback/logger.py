"""gunicorn's logger: the access log's form, and log files that are reopened without root's rights.

The worker's user may have been changed since the files were opened; see gunicorn.conf.py.
"""

import contextlib
import logging
import os
import pwd
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger  # type: ignore[import-untyped]


class Logger(GunicornLogger):  # type: ignore[misc]
    """Writes the access log as nginx writes its own, and reopens files as nginx does."""

    user: pwd.struct_passwd | None = None
    """Whom root gives the files that it reopens: the workers reopen them next, as this user."""

    def setup(self, cfg: object) -> None:
        """Open the files."""
        with _made_private():
            super().setup(cfg)

    def now(self) -> str:
        """Return the time as nginx's $time_iso8601 has it."""
        return f"[{datetime.now().astimezone().isoformat(timespec='seconds')}]"

    def atoms(
        self, resp: object, req: object, environ: dict[str, Any], request_time: timedelta
    ) -> dict[str, Any]:
        """Return what the access log may tell, and no more.

        All of it comes out when the line cannot be written: logging prints its arguments then.
        """
        from ipgeo_fallback.private import shown  # noqa: PLC0415 - not by the master

        atoms: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        told = {name: atoms[name] for name in "htHsbL"}
        return told | {"h": atoms["h"] or "-", "m": shown(atoms["m"]), "U": shown(atoms["U"])}

    def reopen_files(self) -> None:
        """Reopen the log files by their names, the master's first."""
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            if isinstance(handler, logging.FileHandler):
                self._reopen(handler)

    def _reopen(self, handler: logging.FileHandler) -> None:
        """Go on with the old file where the new one cannot be had: no line is lost."""
        try:
            with _made_private():
                stream = Path(handler.baseFilename).open("a")  # noqa: SIM115 - the handler's
            if self.user and os.geteuid() == 0:
                os.fchown(stream.fileno(), self.user.pw_uid, -1)
        except OSError as error:
            self.warning("the log file is not reopened: %s", error)
            return
        old = handler.setStream(stream)
        if old is not None:
            old.close()


@contextlib.contextmanager
def _made_private() -> Iterator[None]:
    """Make new files 0640: they hold the clients' addresses."""
    before = os.umask(0o027)
    try:
        yield
    finally:
        os.umask(before)
