"""The edge: the real nginx with the project's own configuration."""

import os
import signal
from pathlib import Path

from harness import ROOT, wait
from harness.client import get
from harness.logs import NGINX, Log
from harness.places import free_port
from harness.process import Server, children, environment, run


class Edge(Server):
    """nginx on a free port of 127.0.0.1, its run-time files in ``folder``."""

    name = "nginx"

    def __init__(
        self, folder: Path, blob: Path, conf: str | None = None, **settings: object
    ) -> None:
        """Serve ``blob``; ``settings`` are further environment variables (IPGEO_...).

        ``conf`` takes the place of the project's nginx.conf.
        """
        super().__init__(folder, "nginx.out", NGINX)
        self._conf = conf
        self.port = free_port()
        self.error_log = Log(folder / "log" / "error.log", NGINX)
        self.request_log = Log(folder / "log" / "request-errors.log", NGINX)
        self.access_log = folder / "log" / "access.log"
        self._settings: dict[str, object] = {
            "IPGEO_VAR": folder,
            "IPGEO_BLOB": blob,
            "IPGEO_PORT": self.port,
            "IPGEO_WORKERS": 2,
            "IPGEO_DICT_SIZE": "16m",
            **settings,
        }

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.port

    def start(self) -> None:
        """Configure and start it; return when it answers."""
        variables = environment(self._settings)
        if self._conf is None:
            self._spawn([ROOT / "nginx" / "start"], variables)
        else:
            run([ROOT / "nginx" / "configure"], variables)
            # An ordinary user may not use the folders that nginx was compiled with.
            conf = self._conf.replace("http {", "http {\n    include temp-paths.conf;", 1)
            (self.folder / "nginx" / "nginx.conf").write_text(conf)
            self._spawn([self.folder / "nginx" / "run", "-g", "daemon off;"], variables)
        self._wait_until_alive()
        wait.until(self._has_all_workers, "every worker runs")

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers; nginx/follow-names is another child."""
        return [pid for pid in children(self.pid) if _program(pid) == _program(self.pid)]

    def wait_until_ready(self, seconds: float = wait.SECONDS) -> None:
        """Return when a generation is loaded."""
        wait.until(self._ready, "/readyz says 200", seconds)

    def hup(self, seconds: float = wait.SECONDS) -> None:
        """Reload the configuration; return when only new workers are left."""
        old = set(self.worker_pids())
        os.kill(self.pid, signal.SIGHUP)

        def replaced() -> bool:
            return self._has_all_workers() and not old & set(self.worker_pids())

        wait.until(replaced, "new workers after HUP", seconds)

    def _has_all_workers(self) -> bool:
        """Whether nginx has forked all of them: the first one answers before the last one is there.

        With "auto", or with a configuration of a test's own, any number counts as all.
        """
        workers, expected = len(self.worker_pids()), self._settings["IPGEO_WORKERS"]
        if self._conf is None and isinstance(expected, int):
            return workers == expected
        return workers > 0

    def _ready(self) -> bool:
        return get(self.address, "/readyz").status == 200

    def _close_logs(self) -> None:
        super()._close_logs()
        self.error_log.close()
        self.request_log.close()


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:  # ended meanwhile
        return ""
