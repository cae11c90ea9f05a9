"""The load: connections kept busy over raw sockets, every answer judged as it comes.

A connection has one request in progress, or a burst of several. A kept connection may close before
the first byte of an answer, as HTTP clients must expect (RFC 9112, section 9.3.1): the request is
then sent again over a new connection and counts as retried. Any other request without an answer of
status 200 has failed.
"""

import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.client import Address, connect
from harness.soak.judge import Judge
from harness.soak.tally import FAILED, Tally
from harness.soak.timeline import Timeline
from harness.soak.traffic import SINGLE, Ask, Traffic

_ANSWER_SECONDS = 10
_DRAIN_SECONDS = 10
_CHECK_SECONDS = 0.2
_RECEIVE = 1 << 18
_MAX_HEADS = 10_000

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)
_ETAG = re.compile(rb"\r\nETag: ([^\r]*)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nConnection: close", re.IGNORECASE)
_BY_FALLBACK = re.compile(rb"\r\nX-IPGeo-Served-By: fallback", re.IGNORECASE)


class _Head(NamedTuple):
    status: int
    length: int
    etag: bytes
    closes: bool
    by_fallback: bool


def _read_head(head: bytes) -> _Head:
    status, length, etag = (what.search(head) for what in (_STATUS, _LENGTH, _ETAG))
    if not status or not length:
        raise ValueError(f"not the head of an answer: {head[:200]!r}")
    return _Head(
        int(status[1]),
        int(length[1]),
        etag[1] if etag else b"",
        bool(_CLOSE.search(head)),
        bool(_BY_FALLBACK.search(head)),
    )


class _Sent(NamedTuple):
    """A request in progress; ``confirmed``: the publication known to be served when sent."""

    ask: Ask
    at: float
    confirmed: int
    in_burst: bool
    again: bool


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    waiting: deque[_Sent] = field(default_factory=deque)
    received: bytearray = field(default_factory=bytearray)
    answered: int = 0
    also_lost: Sequence[Ask] = ()
    """Requests lost with the one that is sent again here: each gets a new connection."""


class Client:
    """Keeps connections to one server busy until the timeline says stop."""

    def __init__(
        self, address: Address, traffic: Traffic, judge: Judge, timeline: Timeline
    ) -> None:
        """Send the requests of ``traffic``."""
        self._address = address
        self._traffic = traffic
        self._judge = judge
        self._timeline = timeline
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._heads: dict[bytes, _Head] = {}
        self.tally = Tally()

    def run(self, connections: int) -> Tally:
        """Ask until the timeline says stop; return the counts."""
        parent, next_check = os.getppid(), 0.0
        while not self._timeline.stopped and os.getppid() == parent:
            now = time.monotonic()
            if now >= next_check:
                next_check = now + _CHECK_SECONDS
                self._end_late(now)
                for _ in range(connections - len(self._connections)):
                    self._open()
            self._poll_once()
        return self._end()

    def _poll_once(self) -> None:
        for descriptor, _ in self._poll.poll(_CHECK_SECONDS):
            connection = self._connections.get(descriptor)
            if connection is not None:
                self._receive(connection)

    def _end(self) -> Tally:
        deadline = time.monotonic() + _DRAIN_SECONDS
        while any(c.waiting for c in self._connections.values()) and time.monotonic() < deadline:
            self._poll_once()
        for connection in list(self._connections.values()):
            for sent in connection.waiting:
                self._fail(sent, "no answer until the end")
            self._drop(connection)
        self._poll.close()
        return self.tally

    def _open(self, lost: Sequence[Ask] = ()) -> None:
        """Open a connection and send on it: the first of the ``lost`` requests, or new ones."""
        try:
            connection = _Connection(_connect(self._address), also_lost=lost[1:])
        except OSError as error:
            for _ in range(max(1, len(lost))):
                self.tally.fault(FAILED, f"connecting: {error}")
            return
        self._connections[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)
        if lost:
            self._send(connection, lost[:1], again=True)
        else:
            self._send(connection, self._traffic.next())

    def _send(self, connection: _Connection, asks: Sequence[Ask], *, again: bool = False) -> None:
        now, confirmed, in_burst = time.monotonic(), self._timeline.confirmed, len(asks) > 1
        connection.waiting.extend(_Sent(ask, now, confirmed, in_burst, again) for ask in asks)
        try:
            # What is sent at once fits into the socket's buffer, so this does not wait.
            connection.socket.sendall(b"".join(ask.wire for ask in asks))
        except OSError:
            self._lose(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection)
            return
        connection.received += data
        try:
            closes = self._take_answers(connection)
        except ValueError as error:
            self.tally.fault(FAILED, str(error))
            closes = True
        if closes:
            self._lose(connection)
        elif not connection.waiting:
            self._go_on(connection)

    def _go_on(self, connection: _Connection) -> None:
        """All that was sent is answered."""
        if connection.also_lost:
            self._drop(connection)
            self._open(connection.also_lost)
        elif self._timeline.stopped:
            return
        elif self._traffic.parts():
            self._drop(connection)
            self._open()
        else:
            self._send(connection, self._traffic.next())

    def _take_answers(self, connection: _Connection) -> bool:
        """Judge the answers that are complete; return whether the server closes after them."""
        received = connection.received
        while connection.waiting:
            head_end = received.find(b"\r\n\r\n") + 4
            if head_end < 4:
                return False
            head = self._head(bytes(received[:head_end]))
            end = head_end + head.length
            if len(received) < end:
                return False
            body = bytes(received[head_end:end])
            del received[:end]
            connection.answered += 1
            self._judge_one(connection.waiting.popleft(), head, body)
            if head.closes:
                return True
        if received:
            raise ValueError(f"more than was asked for: {bytes(received[:200])!r}")
        return False

    def _head(self, text: bytes) -> _Head:
        """Heads repeat within a second: the same bytes are read once."""
        head = self._heads.get(text)
        if head is None:
            if len(self._heads) > _MAX_HEADS:
                self._heads.clear()
            head = self._heads[text] = _read_head(text)
        return head

    def _judge_one(self, sent: _Sent, head: _Head, body: bytes) -> None:
        tally, ask = self.tally, sent.ask
        seconds = time.monotonic() - sent.at
        tally.responses += 1
        tally.by_fallback += head.by_fallback
        if head.status != 200:
            self._fail(sent, f"status {head.status}: {body[:200]!r}")
            return
        fault = self._judge.fault(ask, sent.confirmed, head.etag, body)
        if fault:
            tally.fault(*fault)
            return
        tally.right[ask.kind] += ask.size
        tally.right_ipv6 += ask.ipv6
        if not sent.in_burst:
            tally.latencies[self._timeline.swapping, ask.kind in SINGLE].append(seconds)

    def _lose(self, connection: _Connection) -> None:
        """The server has closed the connection: open another one, and retry what may be retried."""
        self._drop(connection)
        again = []
        for index, sent in enumerate(connection.waiting):
            begun = index == 0 and connection.received
            if begun or not connection.answered or sent.again:
                where = "in the middle of an answer" if begun else "before the first byte"
                which = "again, " if sent.again else ""
                self._fail(sent, f"the connection closed {which}{where}")
            else:
                again.append(sent.ask)
        self.tally.retried += len(again)
        lost = (*again, *connection.also_lost)
        # A connection that was refused at once is replaced at the next check.
        if lost or (connection.answered and not self._timeline.stopped):
            self._open(lost)

    def _fail(self, sent: _Sent, reason: str) -> None:
        self.tally.fault(FAILED, f"{sent.ask.kind}: {reason}")

    def _end_late(self, now: float) -> None:
        for connection in list(self._connections.values()):
            if connection.waiting and now - connection.waiting[0].at > _ANSWER_SECONDS:
                for sent in connection.waiting:
                    self._fail(sent, f"no answer within {_ANSWER_SECONDS} s")
                self._drop(connection)
                if connection.also_lost:
                    self._open(connection.also_lost)

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection.socket.fileno()]
        connection.socket.close()


def _connect(address: Address) -> socket.socket:
    """Return a connected socket that waits for the server no longer than for an answer."""
    connection = connect(address, _ANSWER_SECONDS)
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
