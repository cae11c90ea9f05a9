"""Requested addresses are personal data: no log contains one, whatever is sent.

The exception: nginx's own lines about requests quote them, and have a file of their own.
"""

import random
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from socket import SHUT_WR
from urllib.parse import quote

import pytest

from harness import wait
from harness.client import Address, connect, get
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.ports import free_port
from harness.stack import Stack

PATH = "/api/ip_query"
MARK = b"123.45.67.89"
WIDE = "".join(chr(ord("０") + ord(digit) - ord("0")) for digit in "1234567")
"""Digits of the full width, as East Asian keyboards give them."""
MARK6 = b"dead:beef::cafe:fade"
"""Without a digit: a log must leave it out for its colons."""
MARKED = re.compile(
    r"123\.45\.67\.89|2066563929|0x7b2d4359|１２３|\\xef\\xbc\\x91|cafe(:|%3a|\\x3a)fade",
    re.IGNORECASE,
)
"""The address in the ways in which it is sent."""

CRLF = b"\r\n"
END = b"\r\nHost: x\r\nConnection: close\r\n\r\n"
GET = b"GET %s HTTP/1.1" % PATH.encode()
CHUNKED = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode()
TARGETS = (
    b"/%s", b"/api/ip_query/%s", b"/api/ip_query?ip=%s&x=\xff", b"/x?%s", b"%s",
    b"/api/ip_query%%3fip=%s", b"/#%s", b"/;%s", b"http://%s/x", b"http://x/%s", b"/\xff%s",
    b"/%%zz%s", b"?ip=%s", b"/api/ip_query?ip=%s\x01", b"*%s",
)  # fmt: skip
CHANGES = 400
CLIENTS = 8

ANY_ERROR = pytest.mark.provokes(
    r"client (sent|intended to send)|while (reading|processing|sending) "
)


ENCODED = b"".join(b"%%%02x" % byte for byte in MARK)
MARKS = (
    MARK, ENCODED, MARK.replace(b".", b"%2E"), b"2066563929", b"0x7b2d4359",
    MARK6, MARK6.replace(b":", b"%3A"),
)  # fmt: skip


def written_out(*marks: bytes) -> Iterator[bytes]:
    for mark in marks:
        for target in TARGETS:
            for method in (b"GET", b"POST", b"OPTIONS", b"get", b"G\x00T"):
                yield method + b" " + target % mark + b" HTTP/1.1" + END
        yield from (
            mark,
            mark + END,
            b'{"ip": "%s"}' % mark + CRLF,
            b'{"ip": "%s"}' % mark + END,
            b"%s / HTTP/1.1" % mark + END,
            b"GET / %s" % mark + END,
            b"GET / HTTP/%s" % mark + END,
            b"GET /%s" % mark + CRLF,
            b"GET /api/ip_query?ip=%s HTTP/1.1\r\nHost: x" % mark,
            b"GET /%s HTTP/1.1\r\nHost: x" % mark,
            *(GET + b"\r\nHost: x\r\nConnection: close\r\n" + header % mark + b"\r\n\r\n"
              for header in (b"%s: x", b"%s", b" %s", b"Host: %s", b"Content-Length: %s",
                             b"Transfer-Encoding: %s", b"Expect: %s", b"Content-Type: %s\x00",
                             b"If-None-Match: %s", b"Cookie: %s", b"X: " + b"x" * 9000 + b"%s",
                             b"Authorization: Basic %s", b"Referer: %s", b"User-Agent: %s")),
            GET + b"\r\nHost: %s/" % mark + b"\r\n\r\n",
            b"GET /%s?" % mark + b"x" * 9000 + b" HTTP/1.1" + END,
            b"POST /x?%s HTTP/1.1\r\nContent-Length: 99999999" % mark + END,
            CHUNKED + b"%s\r\n" % mark,
            CHUNKED + b"1;%s\r\nx\r\n0\r\n\r\n" % mark,
            CHUNKED + b"1\r\nx%s\r\n" % mark,
            CHUNKED + b"0\r\n%s\r\n\r\n" % mark,
            b"POST %s HTTP/1.1\r\nContent-Length: 1\r\nHost: x\r\n\r\n" % PATH.encode()
            + b'{"ip": "%s"}\r\n\r\n' % mark,
        )  # fmt: skip


def changed() -> Iterator[bytes]:
    """Requests with bytes changed, taken out and put in at random places but the address."""
    chance = random.Random(123)
    whole = b"GET /api/ip_query?ip=%s HTTP/1.1" % MARK + END
    for _ in range(CHANGES):
        before, after = whole.split(MARK)
        parts = [bytearray(before), bytearray(after)]
        for _ in range(chance.randrange(1, 4)):
            part = chance.choice(parts)
            at = chance.randrange(len(part))
            new = bytes([chance.choice(b' \r\n\0/?%:;,"\x7f\xff#AGa0{')])
            part[at : at + chance.randrange(2)] = new if chance.random() < 0.8 else b""
        yield bytes(parts[0]) + MARK + bytes(parts[1])


def send_all(address: Address, requests: Iterable[bytes]) -> None:
    """Send each over a connection of its own, some at a time; return when all are answered."""

    def send(request: bytes) -> None:
        with suppress(OSError), connect(address) as connection:
            connection.sendall(request)
            connection.shutdown(SHUT_WR)
            while connection.recv(65536):
                pass

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, requests))


def logged(folder: Path, *left_out: str) -> dict[str, str]:
    return {
        path.name: path.read_text(errors="replace")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".log", ".out") and path.name not in left_out
    }


def lines_with_an_address(logs: dict[str, str]) -> list[str]:
    """The lines that contain the address; at least one log must have some lines."""
    assert any(text.count("\n") > 100 for text in logs.values()), "requests are logged"
    lines = [f"{name}: {line}" for name, text in logs.items() for line in text.splitlines()]
    return [line for line in lines if MARKED.search(line)]


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_no_address_in_the_fallbacks_logs(folder: Path, blob: Path, kind: str) -> None:
    binds = {"unix": f"unix:{folder}/f.sock", "tcp": f"127.0.0.1:{free_port()}"}
    log = folder / "access.log"
    settings = {"IPGEO_FALLBACK_BIND": binds[kind], "IPGEO_FALLBACK_ACCESS_LOG": log}
    with Gunicorn(folder, blob, **settings) as server:
        send_all(server.address, (*written_out(*MARKS), *changed()))
        for target in (WIDE, quote(WIDE)):
            get(server.address, f"/{target}")
        get(server.address, "/last")
        wait.until(lambda: "/last" in log.read_text(), "all is logged")
    logs = logged(folder)
    assert not lines_with_an_address(logs)
    assert "is not valid: InvalidRequestLine" in logs["gunicorn.log"]


@pytest.mark.provokes("^Traceback")
def test_no_address_where_a_line_cannot_be_written(folder: Path, blob: Path) -> None:
    """Logging then prints the line's arguments."""
    with Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG="/dev/full") as server:
        assert get(server.address, f"{PATH}?ip={MARK.decode()}").status == 200
        assert get(server.address, f"/{MARK.decode()}").status == 404
        assert "No space left" in server.output.text()
        assert not MARKED.search(server.output.text())


@ANY_ERROR
@pytest.mark.parametrize("with_blob", [True, False])
def test_no_address_in_the_edges_logs(folder: Path, blob: Path, with_blob: bool) -> None:
    log = folder / "fallback-access.log"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log):
        served = blob if with_blob else folder / "none.blob"
        requests = (*written_out(*MARKS), *changed()) if with_blob else written_out(MARK)
        with Edge(folder, served, None) as edge:
            send_all(edge.address, requests)
    # It has ended, and not before all was logged.
    assert MARK.decode() in edge.request_log.text()
    assert not lines_with_an_address(logged(folder, "request-errors.log"))


@ANY_ERROR
def test_what_is_logged_of_a_path(folder: Path, blob: Path) -> None:
    """An undeclared body is taken for the next request."""
    with Stack(folder, blob) as stack:
        edge = stack.edge
        for sent in (
            b"GET /healthz?x HTTP/1.1" + END,
            b"GET /nothing/here?x HTTP/1.1" + END,
            b"GET /v2 HTTP/1.1" + END,
            f"GET /{quote(WIDE)} HTTP/1.1".encode() + END,
            b"POST %s HTTP/1.1\r\nHost: x\r\n\r\n" % PATH.encode() + b'{"ip": "%s"}' % MARK + END,
        ):
            with connect(edge.address) as connection:
                connection.sendall(sent)
                while connection.recv(65536):
                    pass
    # It has ended, and not before all was logged: each worker in its own time.
    found = re.findall(r'"([^"]*)" (\d{3})', edge.access_log.read_text())
    assert sorted(entry for entry in found if entry != ("GET /healthz HTTP/1.1", "200")) == [
        ("- - -", "400"),
        ("GET - HTTP/1.1", "404"),
        ("GET - HTTP/1.1", "404"),
        ("GET /nothing/here HTTP/1.1", "404"),
        ("POST /api/ip_query HTTP/1.1", "400"),
    ]


@pytest.mark.provokes("too large body")
def test_requests_errors_have_their_own_file(folder: Path, blob: Path) -> None:
    with Edge(folder, blob, None) as edge:
        get(edge.address, f"{PATH}?ip={MARK.decode()}", "Content-Length: 9999999")
        wait.until(lambda: "too large body" in edge.request_log.text(), "it is logged")
        assert "too large body" not in edge.error_log.text()
        assert "generation 1:" in edge.error_log.text()
        assert "generation 1:" not in edge.request_log.text()
