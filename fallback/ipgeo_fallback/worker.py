"""gunicorn's gevent worker, except that it does not wait for idle connections when it ends."""

import contextlib
import os
from functools import partial
from socket import MSG_PEEK, SHUT_RDWR

from gevent import sleep
from gevent.pool import Pool
from gevent.server import StreamServer
from gevent.socket import socket
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

_MAX_ACCEPTS = 10
"""Connections to accept in one cycle of the event loop; a cycle also serves every request.

With more, one quick worker takes most connections, and the others idle.
"""


class _Listener(StreamServer):
    """Accepts many at once, so that thousands of kept connections do not starve new ones.

    A worker that is ending accepts only what it can still serve: other connections would be lost.
    """

    def __init__(self, worker: "Worker", listener: socket, spawn: Pool) -> None:
        self._worker = worker
        super().__init__(listener, partial(worker.handle, listener), spawn=spawn)

    @property
    def max_accept(self) -> int:  # type: ignore[override]
        """How many connections to accept in one cycle; gunicorn would accept 1."""
        return _MAX_ACCEPTS if self._worker.alive else 1


class Worker(GeventWorker):  # type: ignore[misc]
    """Closes idle kept connections when it ends, as nginx's workers do.

    gunicorn's own waits for them until its graceful timeout, and accepts nothing in that time: if
    it is the only one, as after max_requests, no request is answered for seconds.
    """

    def __init__(self, *args: object, **options: object) -> None:
        """Take gunicorn's arguments."""
        super().__init__(*args, **options)
        self._idle: set[socket] = set()

    def handle_quit(self, _signal: int, _frame: object) -> None:
        """End at once, even with requests in progress.

        gunicorn lets a greenlet raise SystemExit, a tenth of a second later: a worker that has
        noticed its end by then reports that as a fault.
        """
        os._exit(0)

    def server_class(self, listener: socket, *, spawn: Pool, **_others: object) -> _Listener:
        """Return the server of a listening socket, as gunicorn asks for it."""
        return _Listener(self, listener, spawn)

    def load_wsgi(self) -> None:
        """Load the application, and other modules that the master must not load.

        Later the worker may not be able to read it.
        """
        super().load_wsgi()
        from ipgeo_fallback.malformed import check, refuse_and_close  # noqa: PLC0415

        self._check, self._refuse = check, refuse_and_close

    def notify(self) -> None:
        """Send the heartbeat once a second; when the worker ends, close idle connections."""
        super().notify()
        if not self.alive:
            for connection in self._idle:
                _close_unless_asked(connection)

    def handle(self, listener: object, client: socket, addr: object) -> None:
        """Serve a connection."""
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle.discard(client)

    def handle_request(
        self, listener_name: object, req: object, sock: socket, addr: object
    ) -> None:
        """Answer a request. A connection that has carried none yet is not idle: it is new."""
        self._idle.discard(sock)
        self._check(req)  # type: ignore[arg-type]
        super().handle_request(listener_name, req, sock, addr)
        self._idle.add(sock)
        # The next request may already be here: without this, one quick client would be served
        # again and again while others wait for seconds.
        sleep(0)

    def handle_error(
        self, request: object, client: socket, peer: object, error: BaseException
    ) -> None:
        """Answer a request that gunicorn refuses."""
        self._refuse(self.log, request, client, peer, error)


def _close_unless_asked(connection: socket) -> None:
    """Close an idle connection; one on which a request has just arrived gets its answer."""
    # The plain socket: gevent's shutdown() would raise in the reading greenlet.
    plain = connection._sock  # type: ignore[attr-defined] # noqa: SLF001
    with contextlib.suppress(OSError):
        try:
            plain.recv(1, MSG_PEEK)
        except BlockingIOError:
            plain.shutdown(SHUT_RDWR)
