"""The edge: the real nginx with the project's own configuration."""

import os
import signal
from pathlib import Path

from harness import ROOT, wait
from harness.client import get
from harness.logs import NGINX, Log
from harness.ports import free_port
from harness.process import Server, children, environment

START = ROOT / "nginx" / "start"

_APPLICATION = """\
% for _, module in ipairs(lua.modules) do
load_module "{{ module }}";
% end
% if user then
user {{ user.name }} {{ user.group }};
% end
worker_processes {{ settings.IPGEO_WORKERS }};
error_log log/error.log notice;
pid nginx.pid;
events { multi_accept on; }
http {
    access_log off;
    # An ordinary user may not use the folders that nginx was compiled with.
    client_body_temp_path tmp/client_body;
    proxy_temp_path tmp/proxy;
    fastcgi_temp_path tmp/fastcgi;
    uwsgi_temp_path tmp/uwsgi;
    scgi_temp_path tmp/scgi;
    lua_package_path "{{ settings.IPGEO_LUA }}/?.lua;{{ settings.IPGEO_LUA }}/?/init.lua;;";
    HTTP
    server {
% for _, socket in ipairs(sockets) do
        listen {{ socket.address }};
% end
        SERVER
    }
}
"""


def application(http: str, server: str) -> str:
    """Return the template of another application's nginx: with what is in its two blocks."""
    return _APPLICATION.replace("    HTTP\n", http).replace("        SERVER\n", server)


class Edge(Server):
    """nginx on a free port of IPGEO_BIND or 127.0.0.1, its run-time files in ``folder``."""

    name = "nginx"

    def __init__(
        self, folder: Path, blob: Path, conf: str | None = None, **settings: object
    ) -> None:
        """Serve ``blob``; ``settings`` are further environment variables (IPGEO_...).

        ``conf`` takes the place of the project's nginx.conf.template.
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
        return str(self._settings.get("IPGEO_BIND", "127.0.0.1")), self.port

    def start(self) -> None:
        """Configure and start it; return when it answers."""
        self._spawn([START, *self._options()], environment(self._settings))
        self._wait_until_alive()
        wait.until(self._has_all_workers, "every worker runs")

    def _options(self) -> list[str | Path]:
        """Return the options of nginx/start."""
        if self._conf is None:
            return []
        template = self.folder / "test.template"
        template.write_text(self._conf)
        return ["--template", template]

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers, without the follower of names."""
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
        """Whether all of them have begun: the first one answers before the last one is there.

        With "auto", or with a configuration of a test's own, any number counts as all.
        """
        pids, expected = self.worker_pids(), self._settings["IPGEO_WORKERS"]
        if self._conf is not None or not isinstance(expected, int):
            expected = max(len(pids), 1)
        return len(pids) == expected and all(map(_has_begun, pids))

    def _ready(self) -> bool:
        return get(self.address, "/readyz").status == 200

    def _close_logs(self) -> None:
        super()._close_logs()
        self.error_log.close()
        self.request_log.close()


def _has_begun(pid: int) -> bool:
    """Whether a worker has finished init_worker_by_lua: nginx then sets its process title."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"nginx: worker process")
    except OSError:
        return False


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:  # it has ended
        return ""
