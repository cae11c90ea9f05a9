"""Several fallbacks of the edge: which one is asked, which one is next, with which headers.

In proxy mode they get all queries; in edge mode only while the edge has no blob.
"""

import os
import re
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Self

import pytest

from harness import ROOT, blobs, wait
from harness.blobs import ATLANTIS_ARRAY, ATLANTIS_IP, ATLANTIS_OBJECT
from harness.client import Address, exchange, get, pipeline, post, request
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.ports import free_port
from harness.process import environment
from test_edge import Upstream, assert_unavailable, by_fallback, code_of, state

PATH = "/api/ip_query"
QUERY = f"{PATH}?ip={ATLANTIS_IP}"
QUESTION = b'{"ip":"1.2.3.4","format":"object"}'
BATCH = b'{"ips":["1.2.3.4"]}'

REFUSED = r"connect\(\) failed \(111"
RESET = r"connect\(\) failed \(104|(recv|send)\(\) failed|prematurely closed"
NO_NODE = r"no live upstreams"
NO_SOCKET = r"connect\(\) to unix:\S+ failed"
TOO_SLOW = r"upstream timed out"


@pytest.fixture
def blob(folder: Path) -> Path:
    path = folder / "test.blob"
    path.write_bytes(blobs.fictional(gap=True))
    return path


class Node(Gunicorn):
    """A fallback of several, in a folder of its own; on a TCP port unless it has a socket."""

    def __init__(self, folder: Path, name: str, blob: Path, *, on_socket: bool = False) -> None:
        place = folder / name
        place.mkdir()
        self.bind = f"unix:{place}/node.sock" if on_socket else f"127.0.0.1:{free_port()}"
        self._access_log = place / "access.log"
        super().__init__(
            place,
            blob,
            IPGEO_FALLBACK_BIND=self.bind,
            IPGEO_FALLBACK_ACCESS_LOG=self._access_log,
            IPGEO_FALLBACK_WORKERS=1,
        )

    def count(self) -> int:
        """How many queries it was asked."""
        return self._access_log.read_text().count(f" {PATH} ")

    def pids(self) -> list[int]:
        return [self.pid, *self.worker_pids()]

    def kill(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)


def hung(node: Node) -> AbstractContextManager[None]:
    return stopped(node.pids())


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        # Until then one of them may take a connection that another one could answer.
        wait.until(lambda: all(map(is_stopped, pids)), "they have stopped")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    return "State:\tT (stopped)" in Path(f"/proc/{pid}/status").read_text()


@contextmanager
def running(*nodes: Node) -> Iterator[None]:
    with ExitStack() as started:
        for node in nodes:
            started.enter_context(node)
        yield


def in_front(folder: Path, blob: Path, upstreams: Sequence[str], **settings: object) -> Edge:
    return Edge(folder, blob, None, IPGEO_UPSTREAMS=", ".join(upstreams), **settings)


def asked_all(address: Address, count: int, connections: int = 10) -> Counter[tuple[int, bytes]]:
    """Count what ``count`` queries over ``connections`` kept connections are answered."""
    targets = [QUERY] * (count // connections)
    with ThreadPoolExecutor(connections) as pool:
        replies = pool.map(lambda _: [*pipeline(address, targets)], range(connections))
    return Counter(reply for answers in replies for reply in answers)


RIGHT = (200, ATLANTIS_ARRAY)


@pytest.mark.provokes(REFUSED, RESET, NO_SOCKET, NO_NODE)
def test_weights_a_backup_and_the_last_resort(folder: Path, blob: Path) -> None:
    heavy, plain, backup = (Node(folder, name, blob) for name in ("heavy", "plain", "backup"))
    socket = Node(folder, "socket", blob, on_socket=True)
    upstreams = [f"{heavy.bind} weight=5", plain.bind, socket.bind, f"{backup.bind} backup"]
    with (
        running(heavy, plain, socket, backup),
        in_front(folder, blob, upstreams, IPGEO_MODE="proxy") as edge,
    ):
        assert asked_all(edge.address, 7_000) == {RIGHT: 7_000}
        nodes = heavy, plain, socket, backup
        # gunicorn logs an answer when it has been sent.
        wait.until(lambda: sum(node.count() for node in nodes) == 7_000, "all is logged")
        counts = [node.count() for node in nodes]
        assert counts == pytest.approx([5_000, 1_000, 1_000, 0], rel=0.02)

        for node in (heavy, plain, socket):
            node.stop()
        assert asked_all(edge.address, 500) == {RIGHT: 500}
        wait.until(lambda: backup.count() == 500, "the backup has answered all")
        assert by_fallback(get(edge.address, QUERY))

        backup.stop()
        assert asked_all(edge.address, 500) == {RIGHT: 500}
        assert not by_fallback(get(edge.address, QUERY))


# A node that does not answer


def dead(node: Node) -> AbstractContextManager[None]:
    node.kill()
    return nullcontext()


def without_data(node: Node) -> AbstractContextManager[None]:
    assert get(node.address, "/readyz").status == 503
    return nullcontext()


ILLS: dict[str, tuple[Callable[[Node], AbstractContextManager[None]], str]] = {
    "dead": (dead, "502"),
    "hung": (hung, "504"),
    "without data": (without_data, "503"),
}


@pytest.mark.provokes(REFUSED, RESET, TOO_SLOW)
@pytest.mark.parametrize("mode", ["edge", "proxy"])
@pytest.mark.parametrize("ill", ILLS)
def test_no_client_notices_a_node_that_is(folder: Path, blob: Path, ill: str, mode: str) -> None:
    """In edge mode the edge has no blob, so that the nodes answer."""
    make_ill, status = ILLS[ill]
    none = folder / "none.blob"
    sick = Node(folder, "sick", none if ill == "without data" else blob)
    sound = Node(folder, "sound", blob)
    settings = {"IPGEO_MODE": mode, "IPGEO_UPSTREAM_TIMEOUT": 1, "IPGEO_WORKERS": 1}
    with (
        running(sick, sound),
        in_front(
            folder, blob if mode == "proxy" else none, [sick.bind, sound.bind], **settings
        ) as edge,
        make_ill(sick),
    ):
        for _ in range(10):
            assert_fallback_answers(edge.address)
        wait.until(
            lambda: f" {status}, 200 {sick.bind}, {sound.bind}\n" in edge.access_log.read_text(),
            "the log tells of a request that went on to the next node",
        )


def assert_fallback_answers(address: Address) -> None:
    for reply, body in (
        (get(address, QUERY), ATLANTIS_ARRAY),
        (post(address, PATH, QUESTION), ATLANTIS_OBJECT),
        (post(address, PATH, BATCH), b'{"results":[' + ATLANTIS_ARRAY + b"]}"),
        (post(address, PATH, b"1.2.3.4", "Content-Type: text/plain"), ATLANTIS_ARRAY + b"\n"),
    ):
        assert (reply.status, reply.body, by_fallback(reply)) == (200, body, True)


@pytest.mark.provokes(TOO_SLOW)
def test_all_are_hung(folder: Path, blob: Path) -> None:
    node = Node(folder, "node", blob)
    settings = {"IPGEO_MODE": "proxy", "IPGEO_UPSTREAM_TIMEOUT": 1}
    with running(node), in_front(folder, blob, [node.bind], **settings) as edge, hung(node):
        reply = get(edge.address, QUERY)
    assert (reply.status, reply.body, by_fallback(reply)) == (*RIGHT, False)


@pytest.mark.provokes(REFUSED)
def test_workers_share_the_state_of_nodes(folder: Path) -> None:
    with Upstream() as sound:
        upstreams = [f"127.0.0.1:{free_port()} max_fails=1 fail_timeout=1h", sound.address]
        with in_front(folder, folder / "none.blob", upstreams) as edge:
            for worker in edge.worker_pids():
                with stopped([worker]):
                    for _ in range(4):
                        assert get(edge.address, QUERY).status == 200
            assert len(re.findall(REFUSED, edge.request_log.text())) == 1


class Dying:
    """A node that sends the head of each answer, half of the body, and closes."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.bind = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked = 0
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with suppress(OSError):  # the end
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    connection.recv(1 << 16)
                    self.asked += 1
                    connection.sendall(HALF)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


HALF = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b'X-IPGeo-Served-By: fallback\r\nContent-Length: 100\r\n\r\n["half'
)


@pytest.mark.provokes(RESET)
@pytest.mark.parametrize("mode", ["edge", "proxy"])
def test_no_half_answer(folder: Path, blob: Path, mode: str) -> None:
    node = Node(folder, "node", blob)
    settings = {"IPGEO_MODE": mode, "IPGEO_WORKERS": 1}
    with (
        running(node),
        Dying() as dying,
        in_front(folder, folder / "none.blob", [dying.bind, node.bind], **settings) as edge,
    ):
        for _ in range(10):
            assert_fallback_answers(edge.address)
        assert dying.asked >= 10


@pytest.mark.provokes(RESET)
@pytest.mark.parametrize("mode", ["edge", "proxy"])
def test_half_answers_only(folder: Path, blob: Path, mode: str) -> None:
    """The edge answers if it can; otherwise it reports that no node is left."""
    served = blob if mode == "proxy" else folder / "none.blob"
    with Dying() as dying, in_front(folder, served, [dying.bind], IPGEO_MODE=mode) as edge:
        reply = get(edge.address, QUERY)
        if mode == "proxy":
            assert (reply.status, reply.body) == RIGHT
        else:
            assert (reply.status, code_of(reply)) == (503, "unavailable")
        assert dying.asked == 3


@pytest.mark.provokes(REFUSED, RESET, NO_NODE)
def test_nodes_that_are_back_before_they_are_asked_again(folder: Path, blob: Path) -> None:
    """They are still asked if no other node is left."""
    nodes = [Node(folder, name, blob) for name in ("one", "two")]
    upstreams = [f"{node.bind} fail_timeout=1h" for node in nodes]
    with in_front(folder, folder / "none.blob", upstreams, IPGEO_WORKERS=1) as edge:
        for _ in range(6):
            assert_unavailable(edge.address)
        with running(*nodes):
            assert_fallback_answers(edge.address)
        assert "no live upstreams" in edge.request_log.text()


def test_words_of_gunicorns_own(folder: Path, blob: Path) -> None:
    """They are HTML and quote the request: the edge sends its own error instead."""
    node = Node(folder, "node", blob)
    with running(node), in_front(folder, folder / "none.blob", [node.bind]) as edge:
        reply = exchange(edge.address, request("GET", f"{PATH}?ip=".encode() + b"\xff"))
        assert (reply.status, code_of(reply)) == (400, "bad_request")


def test_a_failure_is_not_passed_to_the_next_node(folder: Path, blob: Path) -> None:
    """Otherwise one request that makes Flask fail would take out all nodes, one by one."""
    with Upstream(status=500) as first, Upstream(status=500) as second:
        upstreams = [first.address, second.address]
        with in_front(folder, blob, upstreams, IPGEO_MODE="proxy") as edge:
            for number in range(1, 5):
                assert (get(edge.address, QUERY).status, post(edge.address, PATH, b"").status) == (
                    500, 500,
                )  # fmt: skip
                assert len(first.requests) + len(second.requests) == 2 * number


# Proxy mode


@pytest.mark.provokes(REFUSED, NO_NODE)
def test_readyz_of_proxy_mode(folder: Path, blob: Path) -> None:
    empty, ready = Node(folder, "empty", folder / "none.blob"), Node(folder, "ready", blob)
    with (
        running(empty, ready),
        in_front(folder, blob, [empty.bind, ready.bind], IPGEO_MODE="proxy") as edge,
    ):
        for _ in range(10):
            reply = get(edge.address, "/readyz")
            assert (reply.status, by_fallback(reply)) == (200, True)
        assert state(edge)[0] == 1
        ready.stop()
        assert_not_ready(edge)
        empty.stop()
        assert_not_ready(edge)
        assert_edge_answers(edge.address)


def assert_not_ready(edge: Edge) -> None:
    for _ in range(5):
        reply = get(edge.address, "/readyz")
        assert (reply.status, code_of(reply)) == (503, "unavailable")
        assert reply.headers["cache-control"] == "no-cache"
    assert get(edge.address, "/healthz").status == 200


@pytest.mark.provokes(NO_SOCKET)
def test_the_last_resort_goes_when_a_fallback_comes(folder: Path, blob: Path) -> None:
    fallback = Gunicorn(folder, blob)
    with Edge(folder, blob, IPGEO_MODE="proxy") as edge:
        assert_edge_answers(edge.address)
        assert get(edge.address, "/readyz").status == 503
        with fallback:
            wait.until(lambda: by_fallback(get(edge.address, QUERY)), "the fallback is found")
            assert_fallback_answers(edge.address)


def assert_edge_answers(address: Address) -> None:
    """As it does in edge mode, whatever was asked."""
    for asked, status, body in (
        (request("GET", QUERY), 200, ATLANTIS_ARRAY),
        (request("GET", f"{QUERY}&format=object"), 200, ATLANTIS_OBJECT),
        (request("HEAD", QUERY), 200, b""),
        (request("GET", QUERY, "If-None-Match: *"), 304, b""),
        (request("POST", PATH, body=QUESTION), 200, ATLANTIS_OBJECT),
        (request("POST", PATH, body=QUESTION.ljust(60_000)), 200, ATLANTIS_OBJECT),
        (request("POST", PATH, body=BATCH), 200, b'{"results":[' + ATLANTIS_ARRAY + b"]}"),
        (request("GET", f"{PATH}?ip=x"), 400, None),
        (request("PUT", PATH), 405, None),
        (request("GET", f"{PATH}?ip={blobs.GAP_IP}"), 501, None),
    ):
        reply = exchange(address, asked)
        assert reply.status == status
        assert body in (None, reply.body)
        assert reply.headers["cache-control"] == "no-cache"
        assert not by_fallback(reply)


@pytest.mark.provokes(REFUSED, NO_SOCKET, NO_NODE)
@pytest.mark.parametrize("mode", ["edge", "proxy"])
@pytest.mark.parametrize(
    "upstreams", ["", "127.0.0.1:9 down", "127.0.0.1:9, unix:/nowhere", "127.0.0.1:9 backup"]
)
def test_no_blob_and_no_fallback(folder: Path, mode: str, upstreams: str) -> None:
    settings = {"IPGEO_MODE": mode, "IPGEO_UPSTREAMS": upstreams}
    with Edge(folder, folder / "none.blob", **settings) as edge:
        for _ in range(5):
            assert_unavailable(edge.address)


# The client's address


@pytest.mark.parametrize(
    ("trusted", "given", "client"),
    [
        ("", None, "127.0.0.1"),
        ("", "1.1.1.1", "127.0.0.1"),
        ("10.0.0.0/8", "1.1.1.1", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("127.0.0.1", "garbage", "127.0.0.1"),
        ("127.0.0.1", "6.6.6.6, garbage", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.0/8 , 10.0.0.0/8", "6.6.6.6, 1.1.1.1, 10.1.2.3", "1.1.1.1"),
        ("127.0.0.1,2001:db8::/32", "6.6.6.6, 1.1.1.1,2001:db8::7", "1.1.1.1"),
        ("::/0,0.0.0.0/0", "6.6.6.6, 1.1.1.1", "6.6.6.6"),
    ],
)
def test_trusted_peers(folder: Path, trusted: str, given: str | None, client: str) -> None:
    headers = [] if given is None else [f"X-Forwarded-For: {given}"]
    settings = {"IPGEO_TRUSTED_PROXIES": trusted, "IPGEO_MODE": "proxy"}
    with (
        Upstream() as upstream,
        in_front(folder, folder / "none.blob", [upstream.address], **settings) as edge,
    ):
        get(edge.address, QUERY, *headers)
    ((_, _, got, _, _),) = upstream.requests
    assert (got["x-real-ip"], got["x-forwarded-for"]) == (client, client)
    (row,) = (row for row in edge.access_log.read_text().splitlines() if f" {PATH} " in row)
    assert row.startswith(f"{client} [")
    assert row.endswith(f" 200 {upstream.address}")


# Settings


def render(folder: Path, **given: object) -> "subprocess.CompletedProcess[str]":
    variables = environment({"IPGEO_VAR": folder, **given})
    program = ROOT / "nginx" / "render"
    return subprocess.run([program], env=variables, capture_output=True, text=True, check=False)


def servers(folder: Path, upstream: str = "ipgeo_fallback") -> str:
    """Return the lines of ``upstream`` in the rendered configuration that name a server."""
    conf = (folder / "nginx" / "nginx.conf").read_text()
    (block,) = re.findall(rf"upstream {upstream} {{\n(.*?)}}", conf, re.DOTALL)
    lines = (line.strip() for line in block.splitlines())
    return "".join(f"{line}\n" for line in lines if line.startswith("server "))


UPSTREAMS = "IPGEO_UPSTREAMS"
PROXIES = "IPGEO_TRUSTED_PROXIES"
PORT = "needs a port from 1 to 65535"
ADDRESS = "has a bad address"
SECONDS = "must be a number of seconds from 0.001 to 99999"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (UPSTREAMS, "127.0.0.1", f"'127.0.0.1' {PORT}"),
        (UPSTREAMS, "127.0.0.1:80,app", f"'app' {PORT}"),
        (UPSTREAMS, "app:", f"'app:' {PORT}"),
        (UPSTREAMS, "app:0", f"'app:0' {PORT}"),
        (UPSTREAMS, "app:65536", f"'app:65536' {PORT}"),
        (UPSTREAMS, "app:99999999999999999999", f" {PORT}"),
        (UPSTREAMS, "app:http", f"'app:http' {PORT}"),
        (UPSTREAMS, "weight=5", f"'weight=5' {PORT}"),
        (UPSTREAMS, "127.0.0.256:80", f"'127.0.0.256:80' {ADDRESS}"),
        (UPSTREAMS, "127.0.1:80", f"'127.0.1:80' {ADDRESS}"),
        (UPSTREAMS, "010.0.0.1:80", f"'010.0.0.1:80' {ADDRESS}"),
        (UPSTREAMS, "::1:80", f"'::1:80' {ADDRESS}"),
        (UPSTREAMS, "[::1:80", f"'[::1:80' {ADDRESS}"),
        (UPSTREAMS, "[1::2::3]:80", f"'[1::2::3]:80' {ADDRESS}"),
        (UPSTREAMS, "[1:2:3:4:5:6:7]:80", f"'[1:2:3:4:5:6:7]:80' {ADDRESS}"),
        (UPSTREAMS, "[12345::]:80", f"'[12345::]:80' {ADDRESS}"),
        (UPSTREAMS, "[127.0.0.1]:80", f"'[127.0.0.1]:80' {ADDRESS}"),
        (UPSTREAMS, "http://app:80", f"'http://app:80' {ADDRESS}"),
        (UPSTREAMS, "-app:80", f"'-app:80' {ADDRESS}"),
        (UPSTREAMS, "a..b:80", f"'a..b:80' {ADDRESS}"),
        (UPSTREAMS, "$(id):80", f"'$(id):80' {ADDRESS}"),
        (UPSTREAMS, ":80", f"':80' {ADDRESS}"),
        (UPSTREAMS, "backup app:80", f"'backup app:80' {ADDRESS}"),
        (UPSTREAMS, "unix:run/a.sock", "'unix:run/a.sock' needs an absolute path"),
        (UPSTREAMS, "unix:", "'unix:' needs an absolute path"),
        (UPSTREAMS, 'unix:/a"b', "holds a character that is not allowed"),
        (UPSTREAMS, f"unix:/{'x' * 107}", "at most 107 bytes, this one has 108"),
        (UPSTREAMS, f"unix:/{'中' * 36}", "at most 107 bytes, this one has 109"),
        (UPSTREAMS, "a:80,,b:80", "has an empty entry: 'a:80,,b:80'"),
        (UPSTREAMS, "a:80, ", "has an empty entry"),
        (UPSTREAMS, ",", "has an empty entry"),
        (UPSTREAMS, " ", "has an empty entry"),
        (UPSTREAMS, "a:80\nb:80", "holds a control character"),
        (UPSTREAMS, "1.1.1.1:80 weight", "has a bad value: weight"),
        (UPSTREAMS, "1.1.1.1:80 weight=0", "has a bad value: weight=0"),
        (UPSTREAMS, "1.1.1.1:80 weight=-1", "has a bad value: weight=-1"),
        (UPSTREAMS, "1.1.1.1:80 weight=a[$(id)]", "has a bad value: weight=a[$(id)]"),
        (UPSTREAMS, "1.1.1.1:80 max_conns=x", "has a bad value: max_conns=x"),
        (UPSTREAMS, "1.1.1.1:80 max_fails=", "has a bad value: max_fails="),
        (UPSTREAMS, "1.1.1.1:80 fail_timeout=5ms", "has a bad value: fail_timeout=5ms"),
        (UPSTREAMS, "1.1.1.1:80 backup=1", "has a bad value: backup=1"),
        (UPSTREAMS, "1.1.1.1:80 down; ", f"'1.1.1.1:80 down;' {PORT}"),
        (UPSTREAMS, "1.1.1.1:80 wieght=5", "has an unknown argument: wieght=5"),
        (UPSTREAMS, "1.1.1.1:80 resolve", "has an unknown argument: resolve"),
        (UPSTREAMS, "1.1.1.1:80 weight=1 weight=1", "has weight twice"),
        (UPSTREAMS, "1.1.1.1:80 backup down backup", "has backup twice"),
        (UPSTREAMS, "1.1.1.1:80,1.1.1.1:80 backup", "'1.1.1.1:80 backup' repeats an address"),
        ("IPGEO_MODE", "Proxy", "must be edge or proxy, not 'Proxy'"),
        ("IPGEO_UPSTREAM_TIMEOUT", "0", "must be a number from 1 to 60"),
        ("IPGEO_UPSTREAM_TIMEOUT", "61", "must be a number from 1 to 60, not '61'"),
        ("IPGEO_UPSTREAM_TIMEOUT", "3s", "must be a number from 1 to 60, not '3s'"),
        ("IPGEO_RESOLVE_INTERVAL", "0", f"{SECONDS}, not '0'"),
        ("IPGEO_RESOLVE_INTERVAL", "5m", f"{SECONDS}, not '5m'"),
        (PROXIES, "localhost", "'localhost' is neither an address nor a network"),
        (PROXIES, "10.0.0.0/8,x", "'x' is neither an address nor a network"),
        (PROXIES, "10.0.0.0/33", "'10.0.0.0/33' is neither"),
        (PROXIES, "10.0.0.0/", "'10.0.0.0/' is neither"),
        (PROXIES, "10.0.0.0/08", "'10.0.0.0/08' is neither"),
        (PROXIES, "10.0.0.0/8/8", "'10.0.0.0/8/8' is neither"),
        (PROXIES, "10.0.0.0/255.0.0.0", "is neither"),
        (PROXIES, "10.0.0", "'10.0.0' is neither"),
        (PROXIES, "2001:db8::/129", "'2001:db8::/129' is neither"),
        (PROXIES, "[::1]", "'[::1]' is neither"),
        (PROXIES, "fe80::1%eth0", "'fe80::1%eth0' is neither"),
        (PROXIES, "unix:", "'unix:' is neither"),
        (PROXIES, "1.1.1.1;include x", "is neither"),
        (PROXIES, "1.1.1.1,", "has an empty entry: '1.1.1.1,'"),
    ],
)
def test_a_setting_that_is_not_valid(folder: Path, name: str, value: str, complaint: str) -> None:
    done = render(folder, **{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"nginx/render: {name}")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


DEFAULTS = "max_fails=3 fail_timeout=2s"
PLACEHOLDER = "server unix:/nonexistent down;"


@pytest.mark.parametrize(
    ("upstreams", "lines"),
    [
        ("127.0.0.1:80", [f'server "127.0.0.1:80" {DEFAULTS};']),
        (
            " unix:/a b/c.sock  weight=5  down,[::FFFF:1.2.3.4]:1",
            [f'server "unix:/a b/c.sock" weight=5 down {DEFAULTS};',
             f'server "[::FFFF:1.2.3.4]:1" {DEFAULTS};'],
        ),
        (
            "[1:2:3:4:5:6:7:8]:65535 max_fails=0 max_conns=9 fail_timeout=1h",
            ['server "[1:2:3:4:5:6:7:8]:65535" max_fails=0 max_conns=9 fail_timeout=1h;'],
        ),
        (
            "1.1.1.1:1 backup max_fails=7",
            ['server "1.1.1.1:1" backup max_fails=7 fail_timeout=2s;', PLACEHOLDER],
        ),
    ],
)  # fmt: skip
def test_what_is_rendered(folder: Path, upstreams: str, lines: Sequence[str]) -> None:
    done = render(folder, IPGEO_UPSTREAMS=upstreams)
    assert done.returncode == 0, done.stderr
    assert servers(folder).splitlines() == lines
    variables = environment({"IPGEO_VAR": folder, UPSTREAMS: upstreams})
    subprocess.run([ROOT / "nginx" / "start", "-t", "-q"], env=variables, check=True)


@pytest.mark.parametrize(
    ("timeout", "read", "total"),
    [("", 3, 7), ("1", 1, 9), ("4", 4, 6), ("5", 5, 6), ("60", 60, 61)],
)
def test_the_time_for_all_tries(folder: Path, timeout: str, read: int, total: int) -> None:
    render(folder, IPGEO_UPSTREAM_TIMEOUT=timeout)
    written = (folder / "nginx" / "nginx.conf").read_text()
    assert f"proxy_read_timeout {read};\n" in written
    assert f"proxy_next_upstream_timeout {total};\n" in written
