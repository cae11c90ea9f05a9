"""The fallback under the real gunicorn."""

import sys
from pathlib import Path

from support import ROOT
from support.logs import GUNICORN
from support.process import Server, environment


class Gunicorn(Server):
    """gunicorn with the project's configuration, listening on a unix socket in ``folder``."""

    name = "gunicorn"

    def __init__(self, folder: Path, blob: Path, **settings: object) -> None:
        """Serve ``blob``; ``settings`` are further environment variables (IPGEO_...)."""
        super().__init__(folder, "gunicorn.log", GUNICORN)
        self._settings: dict[str, object] = {
            "IPGEO_VAR": folder,
            "IPGEO_BLOB": blob,
            "IPGEO_FALLBACK_WORKERS": 1,
            **settings,
        }

    @property
    def address(self) -> Path:
        """Its socket, the one that the edge asks by default."""
        return self.folder / "fallback.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        configuration = ROOT / "fallback" / "gunicorn.conf.py"
        command: list[str | Path] = [sys.executable, "-m", "gunicorn", "-c", configuration]
        self._spawn(command, environment(self._settings))
        self._wait_until_alive()
