"""gunicorn's gevent worker, but one that does not wait for idle connections when it is to end."""

import contextlib
from socket import MSG_PEEK, SHUT_RDWR

from gevent.server import StreamServer
from gevent.socket import socket
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

# Accepts no more than it serves at once: what it had accepted as it ends would be lost. gunicorn
# sees to that itself, but only where there are several workers.
StreamServer.max_accept = 1


class Worker(GeventWorker):  # type: ignore[misc]
    """Closes the kept connections on which no request is on its way, as nginx's workers do.

    gunicorn's own waits for them until its graceful timeout, and accepts nothing meanwhile: where
    it is the only one, as after max_requests, nobody answers for seconds.
    """

    def __init__(self, *args: object, **options: object) -> None:
        """Take what gunicorn gives."""
        super().__init__(*args, **options)
        self._idle: set[socket] = set()

    def load_wsgi(self) -> None:
        """Load the application, and what else is not to be loaded by the master.

        Later the worker may not be able to read it.
        """
        super().load_wsgi()
        from ipgeo_fallback.malformed import check, refuse  # noqa: PLC0415

        self._check, self._refuse = check, refuse

    def notify(self) -> None:
        """Give the heartbeat, once a second; when it is to end, close what is idle too."""
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

    def handle_error(
        self, request: object, client: socket, peer: object, error: BaseException
    ) -> None:
        """Answer a request that gunicorn refuses."""
        self._refuse(self.log, request, client, peer, error)


def _close_unless_asked(connection: socket) -> None:
    """Close an idle connection; one on which a request has arrived meanwhile gets its answer."""
    # Below gevent, whose own shutdown() raises in the greenlet that reads.
    plain = connection._sock  # type: ignore[attr-defined] # noqa: SLF001
    with contextlib.suppress(OSError):
        try:
            plain.recv(1, MSG_PEEK)
        except BlockingIOError:
            plain.shutdown(SHUT_RDWR)
