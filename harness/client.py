"""An HTTP client that sends exactly what a test wrote and reads exactly what came back."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Address = tuple[str, int] | Path
"""Where a server listens: host and port, or a unix socket."""

_TIMEOUT = 60
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: ``headers`` by lower-case name; ``body`` is all that followed the head."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(address: Address, timeout: float = _TIMEOUT) -> socket.socket:
    """Return a connected socket with a timeout."""
    if isinstance(address, Path):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(str(address))
        except OSError:
            connection.close()
            raise
        return connection
    return socket.create_connection(address, timeout=timeout)


def exchange(address: Address, request: bytes) -> Reply:
    """Send ``request``, which must ask for the connection to be closed, and read to the end."""
    with connect(address) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was all sent
            connection.sendall(request)
        return parse(_read_all(connection))


def parse(reply: bytes) -> Reply:
    """Take a whole response apart."""
    head, separator, body = reply.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError(f"not a response: {reply[:200]!r}")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() in headers:
            raise ValueError(f"{name} is there twice")
        headers[name.lower()] = value.strip()
    return Reply(int(status_line.split(" ")[1]), headers, body)


def request(
    method: str, target: str | bytes, *headers: str, body: bytes = b"", close: bool = True
) -> bytes:
    """Return the bytes of a request; it has a Content-Length only if it has a body."""
    target = target.encode() if isinstance(target, str) else target
    lines = ["Host: localhost", *headers]
    if close:
        lines.append("Connection: close")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    start = method.encode() + b" " + target + b" HTTP/1.1\r\n"
    return start + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def get(address: Address, target: str, *headers: str) -> Reply:
    """GET ``target`` over a connection of its own."""
    return exchange(address, request("GET", target, *headers))


def post(address: Address, target: str, body: bytes, *headers: str) -> Reply:
    """POST ``body`` over a connection of its own."""
    return exchange(address, request("POST", target, *headers, body=body))


def pipeline(address: Address, targets: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """GET all ``targets`` over one kept connection, many at a time; yield status and body of each.

    A batch is small enough for the sockets' buffers: neither side waits for the other one to read.
    """
    with connect(address) as connection, connection.makefile("rb") as reader:
        for start in range(0, len(targets), _BATCH):
            batch = targets[start : start + _BATCH]
            connection.sendall(b"".join(request("GET", target, close=False) for target in batch))
            for _ in batch:
                yield read_one(reader)


def read_one(reader: BinaryIO) -> tuple[int, bytes]:
    """Read a response that has a Content-Length; return its status and its body."""
    status = int(reader.readline().split(b" ", 2)[1])
    length = 0
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, reader.read(length)


def _read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    # A server that refused a request unread may reset the connection after its answer.
    with suppress(ConnectionResetError):
        while data := connection.recv(1 << 16):
            if not received:
                _end_sending(connection)
            received += data
    return bytes(received)


def _end_sending(connection: socket.socket) -> None:
    """Spare a server that has answered already the wait for the rest of a body."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
