"""Which answers the edge accepts from a fallback, and which headers it passes on."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

from harness import blobs, wait
from harness.blobs import ATLANTIS_ARRAY, ATLANTIS_OBJECT
from harness.client import Address, exchange, get, post, request
from harness.edge import Edge
from harness.ports import free_port
from test_edge import MARKED, PATH, QUERY, QUESTION, Upstream, by_fallback, code_of
from test_memory import highest
from test_upstreams import Node, assert_edge_answers, assert_fallback_answers, in_front, running

MARK = "x-ipgeo-served-by"
HTML = {"Content-Type": "text/html"}
RELAYED = "X-IPGeo-Relay: 1"

NOT_HTTP = r"upstream sent no valid HTTP/1\.0 header"

BOTH_MODES = pytest.mark.parametrize("mode", ["edge", "proxy"])


@pytest.fixture
def blob(folder: Path) -> Path:
    path = folder / "test.blob"
    path.write_bytes(blobs.fictional(gap=True))
    return path


def assert_nothing_answers(address: Address) -> None:
    for reply in (
        get(address, QUERY),
        post(address, PATH, QUESTION),
        post(address, PATH, b"1.2.3.4", "Content-Type: text/plain"),
        get(address, "/readyz"),
    ):
        assert (reply.status, code_of(reply)) == (503, "unavailable")
    head = exchange(address, request("HEAD", QUERY))
    assert (head.status, head.body) == (503, b"")


@contextmanager
def before_a_node(
    folder: Path, blob: Path, foreign: Upstream, parameters: str, mode: str
) -> Iterator[Edge]:
    """An edge without data that asks a foreign server, with these parameters, and a node."""
    node = Node(folder, "node", blob)
    upstreams = [f"{foreign.address} {parameters}", node.bind]
    with (
        running(node),
        foreign,
        in_front(folder, folder / "none.blob", upstreams, IPGEO_MODE=mode) as edge,
    ):
        yield edge


# Answers of others

FOREIGN: dict[str, tuple[int, Mapping[str, str]]] = {
    "a page": (200, HTML),
    "JSON": (200, {"Content-Type": "application/json"}),
    "another's mark": (200, {"X-IPGeo-Served-By": "another"}),
    "a redirection": (302, {"Location": "http://127.0.0.1:9/"}),
    "not modified": (304, {"ETag": '"x"'}),
    "a redirection inside": (200, {"X-Accel-Redirect": "/healthz"}),
    "a place that is not there": (404, HTML),
    "too many requests": (429, HTML),
    "a failure": (500, HTML),
}


@pytest.mark.parametrize("kind", FOREIGN)
@BOTH_MODES
def test_a_foreign_answer_is_not_passed_on(folder: Path, kind: str, mode: str) -> None:
    status, sent = FOREIGN[kind]
    with (
        Upstream(status=status, sent=sent) as foreign,
        in_front(folder, folder / "none.blob", [foreign.address], IPGEO_MODE=mode) as edge,
    ):
        for _ in range(3):
            assert_nothing_answers(edge.address)
        assert foreign.requests


@pytest.mark.parametrize("kind", ["a page", "a redirection inside", "a failure"])
@BOTH_MODES
def test_the_next_node_answers(folder: Path, blob: Path, kind: str, mode: str) -> None:
    status, sent = FOREIGN[kind]
    foreign = Upstream(status=status, sent=sent)
    with before_a_node(folder, blob, foreign, "weight=3", mode) as edge:
        for _ in range(5):
            assert_fallback_answers(edge.address)
            if mode == "proxy":
                reply = get(edge.address, "/readyz")
                assert (reply.status, by_fallback(reply)) == (200, True)
        assert foreign.requests


def test_proxy_mode_answers_by_itself_if_only_others_do(folder: Path, blob: Path) -> None:
    with (
        Upstream(sent=HTML) as foreign,
        in_front(folder, blob, [foreign.address], IPGEO_MODE="proxy") as edge,
    ):
        assert_edge_answers(edge.address)
        reply = get(edge.address, "/readyz")
        assert (reply.status, code_of(reply)) == (503, "unavailable")


class Chatter:
    """A server that speaks no HTTP: it sends garbage on every connection."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.bind = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with suppress(OSError):  # the end
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    connection.recv(1 << 16)
                    self.speak(connection)

    def speak(self, connection: socket.socket) -> None:
        """Its reply to every connection."""
        connection.sendall(b"220 mail.example ESMTP\r\n" + bytes(range(256)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@pytest.mark.provokes(NOT_HTTP)
@BOTH_MODES
def test_garbage_is_no_answer(folder: Path, mode: str) -> None:
    with (
        Chatter() as chatter,
        in_front(folder, folder / "none.blob", [chatter.bind], IPGEO_MODE=mode) as edge,
    ):
        assert_nothing_answers(edge.address)


class Flood(Chatter):
    """A foreign server that answers with a hundred megabytes."""

    def speak(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(100):
            connection.sendall(bytes(1 << 20))


def test_a_foreign_answer_takes_no_memory(folder: Path) -> None:
    settings = {"IPGEO_WORKERS": 1}
    with Flood() as flood, in_front(folder, folder / "none.blob", [flood.bind], **settings) as edge:
        (worker,) = edge.worker_pids()
        before = highest(worker)
        assert get(edge.address, QUERY).status == 503
        assert highest(worker) - before < 16 << 20


@pytest.mark.parametrize("header", ["Redirect: /healthz", "Limit-Rate: 1", "Charset: x"])
def test_headers_of_an_upstream_do_not_control_nginx(folder: Path, header: str) -> None:
    name, _, value = header.partition(": ")
    sent = {**MARKED, f"X-Accel-{name}": value}
    with (
        Upstream(sent=sent) as upstream,
        in_front(folder, folder / "none.blob", [upstream.address]) as edge,
    ):
        reply = get(edge.address, QUERY)
        assert (reply.status, reply.body, by_fallback(reply)) == (200, b"[]", True)
        assert reply.headers["content-type"] == "application/json"


# Requests that a fallback does not take


@BOTH_MODES
@pytest.mark.parametrize("status", [400, 431])
def test_an_unmarked_refusal_disables_no_node(
    folder: Path, blob: Path, status: int, mode: str
) -> None:
    """It is not an answer of ipgeo, but not a failure of its node either."""
    foreign = Upstream(status=status, sent=HTML)
    with before_a_node(folder, blob, foreign, "max_fails=1 fail_timeout=1h", mode) as edge:
        for _ in range(20):
            reply = get(edge.address, QUERY)
            assert (reply.status, reply.body, by_fallback(reply)) == (200, ATLANTIS_ARRAY, True)
        assert len(foreign.requests) >= 10, "it is asked in its turn"


@BOTH_MODES
@pytest.mark.parametrize(
    "shape", ["{foreign}, {node} backup", "{foreign} weight=100, {node}"], ids=["backup", "weight"]
)
def test_a_node_is_found_after_foreign_servers(
    folder: Path, blob: Path, shape: str, mode: str
) -> None:
    node = Node(folder, "node", blob)
    with running(node), Upstream(sent=HTML) as foreign:
        upstreams = shape.format(foreign=foreign.address, node=node.bind).split(", ")
        with in_front(folder, folder / "none.blob", upstreams, IPGEO_MODE=mode) as edge:
            for _ in range(20):
                assert_fallback_answers(edge.address)
                if mode == "proxy":
                    reply = get(edge.address, "/readyz")
                    assert (reply.status, by_fallback(reply)) == (200, True)


@BOTH_MODES
def test_edges_that_ask_one_another_stop(folder: Path, mode: str) -> None:
    """An edge without data whose only upstream is itself."""
    port = free_port()
    none = folder / "none.blob"
    itself = [f"127.0.0.1:{port}"]
    edge = in_front(folder, none, itself, IPGEO_MODE=mode, IPGEO_PORT=port)
    edge.port = port
    with edge:
        for reply in (get(edge.address, QUERY), post(edge.address, PATH, QUESTION)):
            assert (reply.status, code_of(reply)) == (503, "unavailable")
        # The two queries and those that they caused: each may ask all nodes again at most once.
        lines = edge.access_log
        wait.until(lambda: len(lines.read_text().splitlines()) >= 2, "they are logged")
        assert len(lines.read_text().splitlines()) <= 60


@BOTH_MODES
def test_the_number_of_headers_does_not_matter(folder: Path, blob: Path, mode: str) -> None:
    """A fallback takes 100 of them; its refusals would take the nodes out."""
    nodes = [Node(folder, name, blob) for name in ("one", "two")]
    many = [f"X-Header-{number}: {'x' * 100}" for number in range(150)]
    served = blob if mode == "proxy" else folder / "none.blob"
    with (
        running(*nodes),
        in_front(folder, served, [node.bind for node in nodes], IPGEO_MODE=mode) as edge,
    ):
        for _ in range(100):
            reply = get(edge.address, QUERY, *many)
            assert (reply.status, reply.body, by_fallback(reply)) == (200, ATLANTIS_ARRAY, True)
        reply = post(edge.address, PATH, QUESTION, *many)
        assert (reply.status, reply.body, by_fallback(reply)) == (200, ATLANTIS_OBJECT, True)


def test_the_headers_that_an_upstream_gets(folder: Path) -> None:
    """Those on which the answer depends, and no others of the client's."""
    given = [
        'If-None-Match: "x"',
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "If-Match: *",
        "Accept-Encoding: gzip",
        "Authorization: Basic eDp5",
        "Cookie: a=b",
        "Expect: 100-continue",
        "Range: bytes=0-0",
        "TE: trailers",
        "Upgrade: websocket",
        "X-IPGeo-Relay: 7",
    ]
    with (
        Upstream() as upstream,
        in_front(folder, folder / "none.blob", [upstream.address]) as edge,
    ):
        get(edge.address, QUERY, *given)
        post(edge.address, PATH, QUESTION, "Content-Type: application/json", *given)
        chunked = request("POST", PATH, "Transfer-Encoding: chunked", *given[2:])
        exchange(edge.address, chunked + b'4\r\n{"ip\r\n1\r\n"\r\n0\r\n\r\n')
    always = {"host", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-ipgeo-relay"}
    got, posted, pieces = (headers for _, _, headers, _, _ in upstream.requests)
    assert set(got) == always | {"if-none-match", "if-modified-since", "content-length"}
    assert got["content-length"] == "0"
    assert set(posted) == always | {
        "if-none-match", "if-modified-since", "content-type", "content-length",
    }  # fmt: skip
    assert set(pieces) == always | {"content-length"}
    assert got["x-ipgeo-relay"] == "1"
    assert upstream.requests[2][3] == b'{"ip"'


# Another edge as a fallback


def test_an_edge_marks_its_answers_to_a_relay(folder: Path, blob: Path) -> None:
    with Edge(folder, blob) as edge:
        for asked, status in (
            (["GET", QUERY], 200),
            (["GET", f"{QUERY}&format=object"], 200),
            (["HEAD", QUERY], 200),
            (["POST", PATH], 400),
            (["GET", QUERY, "If-None-Match: *"], 304),
            (["GET", f"{PATH}?ip=x"], 400),
            (["GET", f"{PATH}?ip={blobs.GAP_IP}"], 501),
            (["PUT", PATH], 405),
            (["TRACE", PATH], 405),
            (["GET", "/readyz"], 200),
            (["GET", "/healthz"], 200),
            (["GET", "/x"], 404),
            (["GET", QUERY, f"X: {'x' * 9000}"], 400),
        ):
            for headers, mark in (([], None), ([RELAYED], "edge"), (["X-IPGeo-Relay: 0"], None)):
                # Before a header that nginx refuses.
                sent = request(*asked[:2], *headers, *asked[2:])
                reply = exchange(edge.address, sent)
                assert (reply.status, reply.headers.get(MARK)) == (status, mark), sent[:80]


@BOTH_MODES
def test_an_edge_as_the_fallback_of_an_edge(folder: Path, blob: Path, mode: str) -> None:
    inner, node = folder / "inner", Node(folder, "node", blob)
    inner.mkdir()
    own = Edge(inner, inner / "inner.blob", None, IPGEO_UPSTREAMS=node.bind)
    with (
        own,
        running(node),
        in_front(folder, folder / "none.blob", [f"127.0.0.1:{own.port}"], IPGEO_MODE=mode) as edge,
    ):
        assert_fallback_answers(edge.address)
        (inner / "inner.blob").write_bytes(blob.read_bytes())
        own.hup()
        for _ in range(3):
            reply = get(edge.address, QUERY)
            assert (reply.status, reply.body) == (200, ATLANTIS_ARRAY)
            assert reply.headers[MARK] == "edge"
            reply = get(edge.address, f"{PATH}?ip=x")
            assert (reply.status, code_of(reply)) == (400, "invalid_ip")
        reply = get(edge.address, QUERY, "If-None-Match: *")
        assert (reply.status, reply.body) == (304, b"")
