"""The fallback under the real gunicorn."""

import sys
from pathlib import Path

from harness import ROOT
from harness.client import Address
from harness.logs import GUNICORN
from harness.process import Server, environment

PROGRAM = Path(sys.executable).with_name("gunicorn")
SOURCE = ROOT / "fallback"
"""The project's folder of the application; a server may be given a copy of it as its source."""


class Gunicorn(Server):
    """gunicorn with the project's configuration, listening on a unix socket in ``folder``."""

    name = "gunicorn"

    def __init__(self, folder: Path, blob: Path, **settings: object) -> None:
        """Serve ``blob``; ``settings`` are further environment variables (IPGEO_...)."""
        super().__init__(folder, "gunicorn.log", GUNICORN)
        self.source = SOURCE
        self._settings: dict[str, object] = {
            "IPGEO_VAR": folder,
            "IPGEO_BLOB": blob,
            "IPGEO_FALLBACK_WORKERS": 1,
            **settings,
        }
        binds = settings.get("IPGEO_FALLBACK_BIND") or f"unix:{folder}/fallback.sock"
        self.addresses = [_address(bind.strip()) for bind in str(binds).split(",")]

    @property
    def address(self) -> Address:
        """Its first unix socket, by default the edge's upstream; without one, host and port."""
        sockets = [address for address in self.addresses if isinstance(address, Path)]
        return (sockets or self.addresses)[0]

    @property
    def pid_file(self) -> Path:
        """Where it writes its process id."""
        return self.folder / "fallback.pid"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._spawn(self.command, self.environment)
        self._wait_until_alive()

    @property
    def command(self) -> list[str | Path]:
        """What starts it."""
        return [PROGRAM, "-c", self.source / "gunicorn.conf.py"]

    @property
    def environment(self) -> dict[str, str]:
        """The environment that it starts in."""
        return environment({"PYTHONPATH": self.source, **self._settings})


def _address(bind: str) -> Address:
    if bind.startswith("unix:"):
        return Path(bind.removeprefix("unix:"))
    host, _, port = bind.rpartition(":")
    return host.strip("[]"), int(port)
