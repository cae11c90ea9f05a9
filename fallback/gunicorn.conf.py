"""gunicorn's configuration for the fallback: gevent workers behind a unix socket.

Started as root, the workers serve as IPGEO_USER. They change late, when everything is loaded:
program, virtual environment and blob may lie in a folder that only root may enter.
"""

import logging
import os
import pwd
from pathlib import Path
from typing import BinaryIO, Protocol

from flask import Flask

from ipgeo_fallback import holder_of, warm_up

_var = Path(os.environ.get("IPGEO_VAR") or Path(__file__).resolve().parents[1] / "var").absolute()
os.environ["IPGEO_BLOB"] = os.environ.get("IPGEO_BLOB") or str(_var / "ipgeo.blob")
_shared_memory = "/dev/shm"  # noqa: S108 - gunicorn makes its own safe temp file in it

wsgi_app = "ipgeo_fallback:create_app()"
bind = os.environ.get("IPGEO_FALLBACK_BIND") or f"unix:{_var}/fallback.sock"
# nginx's workers, whoever they run as, connect to the socket: the folder decides who gets there.
umask = 0
pidfile = str(_var / "fallback.pid")
workers = int(os.environ.get("IPGEO_FALLBACK_WORKERS") or 2)
worker_class = "gevent"
# The heartbeat is a file's time stamp; on a slow disk it would stop the event loop.
worker_tmp_dir = _shared_memory if os.access(_shared_memory, os.W_OK) else None
preload_app = False  # a HUP is to load new code
control_socket_disable = True

timeout = 30
graceful_timeout = 5  # idle connections are not closed earlier
keepalive = 75  # longer than nginx keeps its own end: nginx closes first, no request is lost
max_requests = 100_000
max_requests_jitter = 20_000
limit_request_line = 8190  # as long as nginx's
limit_request_fields = 32768  # gunicorn's most: nginx has no limit on their number
limit_request_field_size = 0  # nginx has one already

errorlog = "-"
accesslog = os.environ.get("IPGEO_FALLBACK_ACCESS_LOG") or None
# Without the query string: addresses are personal data.
access_log_format = '%(t)s "%(m)s %(U)s" %(s)s %(b)s %(L)s'


class _Log(Protocol):
    error_log: logging.Logger


class _Worker(Protocol):
    """What is used here of gunicorn's worker, which has no types."""

    log: _Log
    tmp: BinaryIO
    wsgi: Flask


def post_fork(_server: object, worker: _Worker) -> None:
    """Let the application log where gunicorn does, from its first line on."""
    log = logging.getLogger("ipgeo_fallback")
    log.handlers = worker.log.error_log.handlers
    log.setLevel(worker.log.error_log.level)
    log.propagate = False


def post_worker_init(worker: _Worker) -> None:
    """Give up root's privileges, and look whether the blob can still be read."""
    if os.geteuid() == 0:
        warm_up(worker.wsgi)
        _become(pwd.getpwnam(os.environ.get("IPGEO_USER") or "www-data"), worker)
    holder_of(worker.wsgi).warn_unless_readable()


def _become(user: pwd.struct_passwd, worker: _Worker) -> None:
    # The heartbeat sets the file's times, which only its owner may.
    os.fchown(worker.tmp.fileno(), user.pw_uid, user.pw_gid)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
