"""gunicorn's configuration for the fallback: gevent workers on unix and TCP sockets.

If gunicorn starts as root, the workers serve as IPGEO_USER. They drop root only when everything is
loaded: program, virtual environment and blob may lie in a folder that only root may enter.

The application is not imported here, and the settings' modules are dropped at the end: the workers
inherit what the master has imported, and a HUP would load no new code. The parts of the application
that are needed here are executed from their files.
"""

import os
import sys

_start_folder = os.getcwd()  # noqa: PTH109 - nothing is imported yet that is not loaded anyway
# gunicorn puts it first in the import path, but any user may control it.
if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(_start_folder):
    del sys.path[0]

import logging  # noqa: E402
import pwd  # noqa: E402
import resource  # noqa: E402
import runpy  # noqa: E402
from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol  # noqa: E402

from ipgeo.errors import SettingError  # noqa: E402
from ipgeo.settings.environment import Environment  # noqa: E402

if TYPE_CHECKING:
    from flask import Flask


def _log_file(name: str) -> str | None:
    path = _settings.string(name)
    if path in ("", "-"):
        return path or None
    if Path(path).is_dir() or not Path(path).parent.is_dir():
        raise SettingError(f"{name}: not a file in an existing folder: {path!r}")
    return path


def _user() -> pwd.struct_passwd | None:
    """Return the user that the workers become; None if this is not root."""
    name = _settings.string("IPGEO_USER")
    try:
        return pwd.getpwnam(name) if os.geteuid() == 0 else None
    except KeyError:
        raise SettingError(f"IPGEO_USER: there is no user {name!r}") from None


def _files() -> int:
    """Let a process open as many files as it may, at most as many as nginx; return their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files


def _executed(module: str) -> dict[str, Any]:
    """Return what a module of the application defines, without importing it."""
    package = find_spec("ipgeo_fallback")
    if package is None or package.origin is None:
        sys.exit("gunicorn.conf.py: there is no ipgeo_fallback in Python's path")
    return runpy.run_path(str(Path(package.origin).with_name(module)))


_settings = Environment(Path(__file__).resolve().parents[1])
_shared_memory = "/dev/shm"  # noqa: S108 - gunicorn makes its own safe temp file in it

try:
    _var = Path(_settings.string("IPGEO_VAR"))
    os.environ["IPGEO_BLOB"] = _settings.string("IPGEO_BLOB")
    _executed("settings.py")["Settings"].from_environment()
    bind = list(_settings.entries("IPGEO_FALLBACK_BIND"))
    workers = _settings.integer("IPGEO_FALLBACK_WORKERS")
    accesslog = _log_file("IPGEO_FALLBACK_ACCESS_LOG")
    errorlog = _log_file("IPGEO_FALLBACK_ERROR_LOG")
    _worker_user = _user()
except SettingError as error:
    sys.exit(f"gunicorn.conf.py: {error}")

# The place that gunicorn imports from: relative settings have been read by now.
chdir = str(Path(__file__).resolve().parent)
wsgi_app = "ipgeo_fallback:create_app()"
# Made here, so that all workers inherit it; anew at a HUP.
_shared_copy = _executed("shared_copy.py")["SharedCopy"]()
# Only owner and group may use the socket; `when_ready` gives it to the workers' group, as which
# nginx's workers run too. A process that can connect could fill it, or forge X-Forwarded-For.
umask = 0o117
pidfile = str(_var / "fallback.pid")
worker_class = _executed("worker.py")["Worker"]
# The heartbeat is a file's time stamp; on a slow disk it would stop the event loop.
worker_tmp_dir = _shared_memory if os.access(_shared_memory, os.W_OK) else None
# An edge may have thousands of connections here, each of them a file; so may clients.
worker_connections = min(8192, _files() - 100)
backlog = 65535  # the kernel takes net.core.somaxconn where that is less
preload_app = False  # a HUP is to load new code
control_socket_disable = True

timeout = 30
graceful_timeout = 5  # for answers on their way; idle connections are closed at once
keepalive = 75  # longer than nginx keeps its own end: nginx closes first, no request is lost
max_requests = 100_000
max_requests_jitter = 20_000
# Clients' headers about TLS would contradict nginx's and be refused; the application asks for none.
secure_scheme_headers: dict[str, str] = {}
limit_request_line = 8190  # as long as nginx's
# For headers gunicorn's own limits hold: at most 0.8 MB a request. It parses them all again with
# each packet. nginx sends only those that are needed here.
forwarder_headers = ""  # no header may set the application's path

_instance = _executed("instance.py")
_safe_paths = _executed("safe_paths.py")

for _module in [name for name in sys.modules if name.partition(".")[0] == "ipgeo"]:
    del sys.modules[_module]


class _Logger(_executed("logger.py")["Logger"]):  # type: ignore[misc]
    """Claims IPGEO_VAR: a master makes its logger before its pid file.

    With --check-config it makes none.
    """

    user = _worker_user
    problem_of = staticmethod(_safe_paths["problem_of_log"])

    def __init__(self, cfg: "_Config") -> None:
        _check_places()
        # Sockets from a service manager are served already, by this gunicorn itself.
        own = [] if "LISTEN_FDS" in os.environ else cfg.address
        sockets = [address for address in own if isinstance(address, str)]
        try:
            _instance["claim"](_var, sockets, second="GUNICORN_PID" in os.environ)
        except _instance["InstanceError"] as error:
            sys.exit(f"gunicorn.conf.py: {error}")
        os.umask(0o027)  # the logs hold clients' addresses
        super().__init__(cfg)


def _check_places() -> None:
    """Refuse folders and links that another, less privileged user may have prepared."""
    _check_place("IPGEO_VAR", "problem_of_var", _var)
    logs = {"IPGEO_FALLBACK_ACCESS_LOG": accesslog, "IPGEO_FALLBACK_ERROR_LOG": errorlog}
    for name, path in logs.items():
        if path not in (None, "-"):
            _check_place(name, "problem_of_log", Path(path))


def _check_place(name: str, rule: str, path: Path) -> None:
    try:
        problem = _safe_paths[rule](path)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}"
    if problem:
        sys.exit(f"gunicorn.conf.py: {name}: {problem}")


logger_class = _Logger
# Without the query string: addresses are personal data.
access_log_format = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s %(L)s'


class _Config(Protocol):
    address: list[object]


class _Server(Protocol):
    START_CTX: dict[str, Any]
    shared_copy: Any


def on_starting(server: _Server) -> None:
    """Remember the place of the copy for `on_reload`, which runs in another configuration."""
    server.shared_copy = _shared_copy


def on_reload(server: _Server) -> None:
    """Give up the earlier configuration's place, so that its copy ends with the old workers."""
    server.shared_copy.close()
    server.shared_copy = _shared_copy


def pre_exec(server: _Server) -> None:
    """Start a USR2's new master in this one's start folder: its arguments may be relative."""
    server.START_CTX["cwd"] = _start_folder


class _Log(Protocol):
    error_log: logging.Logger


class _App(Protocol):
    app_uri: str


class _Worker(Protocol):
    """The parts of gunicorn's worker that are used here; gunicorn has no types."""

    app: _App
    log: _Log
    tmp: BinaryIO
    wsgi: "Flask"


class _Listener(Protocol):
    cfg_addr: object


class _Master(Protocol):
    LISTENERS: list[_Listener]


def when_ready(server: _Master) -> None:
    """Open the unix sockets to the workers' group."""
    if _worker_user:
        for listener in server.LISTENERS:
            if isinstance(listener.cfg_addr, str):
                # Another user of the folder could have put a link in the socket's place.
                os.chown(listener.cfg_addr, -1, _worker_user.pw_gid, follow_symlinks=False)


def post_fork(_server: object, worker: _Worker) -> None:
    """Send the application's log to gunicorn's, from its first line on.

    The lock stays with the masters, which own pid file and socket.
    """
    _instance["release"](_var)
    # Not as `wsgi_app`: at a HUP gunicorn keeps the one that it has, and the command line's wins.
    worker.app.app_uri = f"ipgeo_fallback:create_app(shared={_shared_copy.descriptors})"
    log = logging.getLogger("ipgeo_fallback")
    log.handlers = worker.log.error_log.handlers
    log.setLevel(worker.log.error_log.level)
    log.propagate = False


def post_worker_init(worker: _Worker) -> None:
    """Drop root's privileges, check that the blob can still be read, and follow its file."""
    from gevent import spawn  # noqa: PLC0415 - not by the master

    from ipgeo_fallback import store_of, warm_up  # noqa: PLC0415

    if _worker_user:
        warm_up(worker.wsgi)
        _become(_worker_user, worker)
    store = store_of(worker.wsgi)
    store.warn_unless_readable()
    spawn(store.follow)


def _become(user: pwd.struct_passwd, worker: _Worker) -> None:
    # The heartbeat sets the file's times, which only its owner may.
    os.fchown(worker.tmp.fileno(), user.pw_uid, user.pw_gid)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
