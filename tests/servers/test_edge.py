"""The edge when parts are missing, broken or changed: which server answers, and the log."""

import http.server
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from harness import ROOT, blobs, wait
from harness.blobs import (
    ATLANTIS_ARRAY,
    ATLANTIS_IP,
    ATLANTIS_OBJECT,
    GAP_IP,
    UTOPIA_ARRAY,
    UTOPIA_IP,
)
from harness.client import Address, Reply, exchange, get, post, request
from harness.edge import START, Edge, application
from harness.logs import NGINX
from harness.ports import free_port
from harness.process import children, environment
from harness.rights import as_root
from harness.stack import Stack
from ipgeo.blob.reader import Blob
from ipgeo.files.atomic import write_atomically
from ipgeo.release.shared_memory import size_for, slot_size

PATH = "/api/ip_query"
QUERY = f"{PATH}?ip={ATLANTIS_IP}"
QUESTION = b'{"ip":"1.2.3.4","format":"object"}'

NO_UPSTREAM = r"connect\(\) to unix:\S+/fallback\.sock failed"


@pytest.fixture
def blob(folder: Path) -> Path:
    path = folder / "test.blob"
    path.write_bytes(blobs.fictional(gap=True))
    return path


def by_fallback(reply: Reply) -> bool:
    return reply.headers.get("x-ipgeo-served-by") == "fallback"


def state(edge: Edge) -> tuple[int, str]:
    """The generation and the build id that the edge serves."""
    ready = json.loads(get(edge.address, "/readyz").body)
    return ready["generation"], ready["build_id"]


def code_of(reply: Reply) -> str:
    assert reply.headers["content-type"] == "application/json"
    code: str = json.loads(reply.body)["error"]["code"]
    return code


def assert_edge_answers(address: Address) -> None:
    for reply, status, body in (
        (get(address, QUERY), 200, ATLANTIS_ARRAY),
        (get(address, f"{QUERY}&format=object"), 200, ATLANTIS_OBJECT),
        (post(address, PATH, QUESTION), 200, ATLANTIS_OBJECT),
        (get(address, f"{PATH}?ip=x"), 400, None),
        (get(address, "/readyz"), 200, None),
    ):
        assert reply.status == status
        assert body in (None, reply.body)
        assert "x-ipgeo-served-by" not in reply.headers


def assert_unavailable(address: Address) -> None:
    for reply in (get(address, QUERY), post(address, PATH, QUESTION), get(address, "/readyz")):
        assert (reply.status, code_of(reply)) == (503, "unavailable")
        assert reply.headers["cache-control"] == "no-cache"
        assert "etag" not in reply.headers
    assert get(address, "/healthz").status == 200
    assert (get(address, "/x").status, get(address, "/x?ip=1.2.3.4").status) == (404, 404)


# The fallback is gone


def test_without_gunicorn_nginx_goes_on(folder: Path, blob: Path) -> None:
    with Stack(folder, blob) as stack:
        for pid in (stack.fallback.pid, *stack.fallback.worker_pids()):
            os.kill(pid, signal.SIGKILL)
        wait.until(lambda: not is_alive(stack.fallback.address), "gunicorn is gone")
        for _ in range(20):
            assert_edge_answers(stack.edge.address)


def is_alive(address: Address) -> bool:
    try:
        return get(address, "/healthz").status == 200
    except (OSError, ValueError):  # ValueError: closed without an answer
        return False


@pytest.mark.provokes(NO_UPSTREAM)
def test_without_blob_and_gunicorn_it_says_so(folder: Path) -> None:
    with Edge(folder, folder / "none.blob") as edge:
        assert_unavailable(edge.address)


# Without a blob, or with one that does not fit


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "0 bytes"),
        (blobs.fictional()[:-1], "bytes"),
        (blobs.fictional()[:-1] + b"\xff", "checksum"),
        (blobs.fictional()[:8] + b"\1" + blobs.fictional()[9:], "blob layout 1, this edge reads 2"),
    ],
)
def test_until_there_is_a_good_blob(folder: Path, content: bytes | None, reason: str) -> None:
    path = folder / "test.blob"
    if content is not None:
        path.write_bytes(content)
    with Stack(folder, path) as stack:
        address = stack.edge.address
        assert_unavailable(address)
        assert by_fallback(get(address, QUERY))
        refusals = lines(stack.edge, f"{path} is {'gone' if content is None else 'refused'}: ")
        assert len(refusals) == 1
        assert "[warn]" in refusals[0]
        assert reason in refusals[0]
        write_atomically(path, blobs.fictional(gap=True))
        stack.edge.hup()
        assert_edge_answers(address)
        assert state(stack.edge) == (1, Blob(blobs.fictional(gap=True)).build_id)


@pytest.mark.provokes(NO_UPSTREAM)
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_blob_that_is_not_a_file_blocks_no_worker(folder: Path, make: Any) -> None:
    path = folder / "test.blob"
    make(path)
    with Edge(folder, path) as edge:
        assert_unavailable(edge.address)
        assert len(lines(edge, f"{path} is refused: not a regular file")) == 1


def lines(server: Edge, text: str) -> list[str]:
    logged = server.error_log.text() + server.request_log.text()
    return [line for line in logged.splitlines() if text in line]


def numbered_answers(count: int) -> list[tuple[str, bytes]]:
    """Targets and bodies for `blobs.numbered(count)`."""
    numbers = (0, 1, 2, count // 2, count - 2, count - 1)
    addresses = [(n, n * 10_000 + 5) for n in numbers]
    return [
        (f"{PATH}?ip={'.'.join(map(str, address.to_bytes(4, 'big')))}", b"[%d]" % n)
        for n, address in addresses
    ]


def test_a_dict_too_small_leaves_it_to_the_fallback(folder: Path) -> None:
    path, count = folder / "test.blob", 60_000
    path.write_bytes(blobs.numbered(count))
    size = path.stat().st_size
    with Stack(folder, path, IPGEO_DICT_SIZE="1m") as stack:
        address = stack.edge.address
        for target, body in numbered_answers(count):
            reply = get(address, target)
            assert (reply.status, reply.body, by_fallback(reply)) == (200, body, True)
        reply = get(address, f"{PATH}?ip=x")
        assert (reply.status, code_of(reply), by_fallback(reply)) == (400, "invalid_ip", True)
        reply = post(address, PATH, b'{"ip":"0.0.0.1"}')
        assert (reply.status, reply.body, by_fallback(reply)) == (200, b"[0]", True)
        assert get(address, "/readyz").status == 503
        stack.edge.hup()
        assert by_fallback(get(address, QUERY))
        logged = lines(stack.edge, f"{path} is refused: {size} bytes, a slot of the shared memory")
    assert len(logged) == 1, "once, not with every HUP"
    sizes = re.search(r"holds (\d+): raise its size to (\d+) bytes or more", logged[0])
    assert sizes
    holds, needed = map(int, sizes.groups())
    assert holds < size < needed
    assert (slot_size(1 << 20), size_for(size)) == (holds, needed)
    assert_fits(folder, path, needed, count)


def assert_fits(folder: Path, path: Path, needed: int, count: int) -> None:
    """The size in the log line is enough, and not much more than needed."""
    with Edge(folder, path, IPGEO_DICT_SIZE=f"{-(-needed // 1024)}k") as edge:
        for target, body in numbered_answers(count):
            reply = get(edge.address, target)
            assert (reply.status, reply.body, by_fallback(reply)) == (200, body, False)
    with Edge(folder, path, IPGEO_DICT_SIZE=f"{needed // 1024 - 64}k") as edge:
        assert get(edge.address, "/readyz").status == 503


def test_a_dict_too_small_for_the_real_data(
    folder: Path, real_blob: bytes, real_data: Path
) -> None:
    path = folder / "real.blob"
    path.write_bytes(real_blob)
    with Stack(folder, path, IPGEO_DICT_SIZE="2m") as stack:
        reply = get(stack.edge.address, f"{PATH}?ip=123.12.23.45")
        assert (reply.status, by_fallback(reply)) == (200, True)
        assert len(lines(stack.edge, f"{len(real_blob)} bytes, a slot of the shared memory")) == 1


# HUP


def test_what_a_hup_loads(folder: Path, blob: Path) -> None:
    first, second = blobs.fictional(gap=True), blobs.fictional()
    ids = [Blob(data).build_id for data in (first, second)]
    refused = f"{blob} is refused"
    with Edge(folder, blob) as edge:
        assert state(edge) == (1, ids[0])

        edge.hup()
        assert state(edge) == (1, ids[0]), "the file is the same"

        write_atomically(blob, second)
        edge.hup()
        assert state(edge) == (2, ids[1])
        assert get(edge.address, f"{PATH}?ip={GAP_IP}").body == UTOPIA_ARRAY

        write_atomically(blob, second[:-1])
        for _ in range(2):
            edge.hup()
            assert state(edge) == (2, ids[1])
            assert_edge_answers(edge.address)
            assert len(lines(edge, refused)) == 1, "the same bad file is reported once"
        assert "[warn]" in lines(edge, refused)[0]

        write_atomically(blob, second[:-2])
        edge.hup()
        assert state(edge) == (2, ids[1])
        assert len(lines(edge, refused)) == 2, "another bad file"

        blob.unlink()
        edge.hup()
        edge.hup()
        assert state(edge) == (2, ids[1])
        assert len(lines(edge, f"{blob} is gone: No such file or directory")) == 1

        write_atomically(blob, first)
        edge.hup()
        assert state(edge) == (3, ids[0])
        assert get(edge.address, f"{PATH}?ip={GAP_IP}").status == 501
        assert len(lines(edge, "ipgeo: loaded generation ")) == 3
        assert f"build id {ids[1]} -> {ids[0]}" in lines(edge, "generation 3")[0]


def test_damage_in_place_is_noticed(folder: Path, blob: Path) -> None:
    """`cp` over the served file: the same inode, but the served blob is unchanged."""
    with Edge(folder, blob) as edge:
        before = state(edge)
        with blob.open("r+b") as file:
            file.truncate(1000)
        assert_edge_answers(edge.address)
        edge.hup()
        assert state(edge) == before
        assert len(lines(edge, f"{blob} is refused")) == 1


def test_a_file_that_cannot_be_read_keeps_what_is_served(folder: Path, blob: Path) -> None:
    with Edge(folder, blob) as edge:
        before = state(edge)
        blob.unlink()
        blob.mkdir()
        edge.hup()
        assert state(edge) == before
        assert len(lines(edge, f"{blob} is refused: not a regular file")) == 1


@pytest.mark.parametrize("change", [False, True])
def test_a_test_of_the_configuration_disturbs_nothing(
    folder: Path, blob: Path, change: bool
) -> None:
    with Edge(folder, blob) as edge:
        before, workers = state(edge), edge.worker_pids()
        logged = lines(edge, "ipgeo: ")
        if change:
            write_atomically(blob, blobs.fictional())
        settings = {"IPGEO_VAR": folder, "IPGEO_BLOB": blob, "IPGEO_PORT": edge.port}
        for _ in range(2):
            done = subprocess.run(
                [START, "-t"],
                env=environment(settings),
                capture_output=True,
                check=True,
                timeout=60,
            )
            assert b"test is successful" in done.stderr
        assert edge.worker_pids() == workers
        assert (folder / "nginx.pid").read_text().strip() == str(edge.pid)
        assert_edge_answers(edge.address)
        if not change:
            assert state(edge) == before
            assert lines(edge, "ipgeo: ") == logged, "a test loads nothing"
        edge.hup()
        assert state(edge)[0] == (2 if change else 1)


# The Lua handler fails


FAILURES = {
    "at once": (
        "http/router.lua",
        '_M.query = function() error("provoked") end _M.fast_get = _M.query',
    ),
    "after the body": ("store.lua", '_M.with_snapshot = function() error("provoked") end'),
}
PROVOKED = r"\[error\] .*(runtime error|failed to run set_by_lua).*provoked"


def failing_lua(folder: Path, name: str) -> Path:
    """A copy of the edge's Lua code of which one module fails."""
    return patched_lua(folder, *FAILURES[name])


def patched_lua(folder: Path, module: str, patch: str) -> Path:
    """A copy of the edge's Lua code with ``patch`` at the end of one module."""
    lua = folder / "lua"
    shutil.copytree(ROOT / "lua", lua)
    path = lua / "ipgeo" / module
    code, end, rest = path.read_text().rpartition("return _M")
    assert end
    path.write_text(f"{code}{patch}\n\n{end}{rest}")
    return lua


@pytest.mark.provokes(PROVOKED)
@pytest.mark.parametrize("name", FAILURES)
def test_when_lua_fails_the_fallback_answers(folder: Path, blob: Path, name: str) -> None:
    with Stack(folder, blob, IPGEO_LUA=failing_lua(folder, name)) as stack:
        address = stack.edge.address
        reply = get(address, QUERY)
        assert (reply.status, reply.body, by_fallback(reply)) == (200, ATLANTIS_ARRAY, True)
        assert reply.headers["etag"] == f'"{Blob(blob.read_bytes()).build_id}"'
        assert len(lines(stack.edge, "[error]")) == 1
        for asked, status, body in (
            (request("GET", f"{QUERY}&format=object"), 200, ATLANTIS_OBJECT),
            (request("HEAD", QUERY), 200, b""),
            (request("POST", PATH, body=QUESTION), 200, ATLANTIS_OBJECT),
            (request("POST", PATH, body=QUESTION.ljust(60_000)), 200, ATLANTIS_OBJECT),
            (request("GET", f"{PATH}?ip={GAP_IP}"), 501, None),
        ):
            reply = exchange(address, asked)
            assert (reply.status, by_fallback(reply)) == (status, True)
            assert body in (None, reply.body)
        assert get(address, f"{PATH}?ip=x").status == 400
        assert get(address, "/readyz").status == 200


@pytest.mark.provokes(PROVOKED, NO_UPSTREAM)
def test_when_both_fail_the_error_is_json(folder: Path, blob: Path) -> None:
    with Edge(folder, blob, IPGEO_LUA=failing_lua(folder, "at once")) as edge:
        for reply in (get(edge.address, QUERY), post(edge.address, PATH, QUESTION)):
            assert (reply.status, code_of(reply)) == (503, "unavailable")


SLOW_PATH_FAILS = '_M.answer_get = function() error("provoked") end'


@pytest.mark.provokes(PROVOKED)
def test_which_queries_are_on_the_fast_path(folder: Path) -> None:
    """The fallback answers the others here, for the edge's content handler fails."""
    blob = folder / "dual.blob"
    blob.write_bytes(blobs.dual())
    lua = patched_lua(folder, "http/query.lua", SLOW_PATH_FAILS)
    with Stack(folder, blob, IPGEO_LUA=lua) as stack:
        for query, is_fast in (
            ("ip=1.2.3.4", True),
            ("ip=2001:db8::1", True),
            ("ip=2001:DB8:0:0:0:0:0:1", True),
            ("ip=2001%3Adb8%3A%3A1", True),
            ("ip=2001%3adb8%3a%3a1", True),
            ("ip=2001%3Adb8::1", True),
            ("ip=::ffff:1.2.3.4", True),
            ("ip=64%3Aff9b%3A%3A1.2.3.4", True),
            ("ip=2001:db8::1&x", False),
            ("ip=%32001:db8::1", False),
            ("ip=%31.2.3.4", False),
        ):
            for form in ("", "&format=object"):
                for method in ("GET", "HEAD"):
                    asked = request(method, f"{PATH}?{query}{form}")
                    reply = exchange(stack.edge.address, asked)
                    assert (reply.status, by_fallback(reply)) == (200, not is_fast), query


# No arena: every worker keeps a copy

HTTP = """
    DICT
    init_by_lua_block {
        BEFORE
        require("ipgeo").setup{ blob = "{{ settings.IPGEO_BLOB }}" }
        require("ipgeo.http.router")
    }
    init_worker_by_lua_block { require("ipgeo").init_worker() }
"""
SERVER = """
        location = /api/ip_query {
            content_by_lua_block { require("ipgeo.http.router").query() }
        }
        location = /healthz { content_by_lua_block { require("ipgeo.http.router").healthz() } }
        location = /readyz { content_by_lua_block { require("ipgeo.http.router").readyz() } }
"""

NO_ARENA = {
    "a foreign key": (
        "lua_shared_dict ipgeo_blob_2 16m;",
        'ngx.shared.ipgeo_blob_2:set("theirs", 1)',
        "lua_shared_dict ipgeo_blob_2 already holds keys",
    ),
    "no dict": ("", "", "there is no lua_shared_dict ipgeo_blob_2"),
    "a tiny dict": (
        "lua_shared_dict ipgeo_blob_2 64k;",
        "",
        "65536 bytes of shared memory, at least 524288 are needed",
    ),
}


@pytest.mark.parametrize("name", NO_ARENA)
def test_without_an_arena_every_worker_keeps_a_copy(folder: Path, blob: Path, name: str) -> None:
    dict_line, before, reason = NO_ARENA[name]
    http = HTTP.replace("DICT", dict_line).replace("BEFORE", before)
    with Edge(folder, blob, conf=application(http, SERVER)) as edge:
        logged = lines(edge, "every worker keeps a copy of its own")
        assert len(logged) == 1
        assert "[warn]" in logged[0]
        assert logged[0].endswith(reason)
        for _ in range(10):
            assert_edge_answers(edge.address)
        assert get(edge.address, f"{PATH}?ip={GAP_IP}").status == 501
        write_atomically(blob, blobs.fictional())
        edge.hup()
        assert get(edge.address, f"{PATH}?ip={GAP_IP}").body == UTOPIA_ARRAY
        assert state(edge)[1] == Blob(blobs.fictional()).build_id


# nginx/start


def test_logs_may_be_the_output(folder: Path, blob: Path) -> None:
    """As in a container: links to /dev/stdout and /dev/stderr, which are a pipe."""
    (folder / "log").mkdir()
    for name, device in (("access.log", "stdout"), ("error.log", "stderr")):
        (folder / "log" / name).symlink_to(f"/dev/{device}")
    address = "127.0.0.1", free_port()
    variables = environment({"IPGEO_VAR": folder, "IPGEO_BLOB": blob, "IPGEO_PORT": address[1]})
    with subprocess.Popen(
        [START], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as nginx:
        try:
            wait.until(lambda: is_alive(address), "nginx answers")
            before = {*children(nginx.pid)}
            nginx.send_signal(signal.SIGHUP)
            wait.until(lambda: not {*children(nginx.pid)} & before, "new workers")
            nginx.send_signal(signal.SIGUSR1)
            assert get(address, QUERY).status == 200
        finally:
            nginx.send_signal(signal.SIGQUIT)
        assert nginx.stdout
        text = nginx.stdout.read().decode()
    for expected in (f'"GET {PATH} HTTP/1.1" 200', "generation 1:", "reopening logs"):
        assert expected in text
    assert not re.search(NGINX, text)


LATE_WORKERS = """
local quit_with_master = _M.quit_with_master
function _M.quit_with_master()
    while C.getppid() == get_master_pid() do end
    quit_with_master()
end
"""


def test_workers_that_start_when_the_master_dies(folder: Path, blob: Path) -> None:
    """They would keep the port for good."""
    lua = patched_lua(folder, "http/worker.lua", LATE_WORKERS)
    settings = {"IPGEO_VAR": folder, "IPGEO_BLOB": blob, "IPGEO_PORT": free_port()}
    variables = environment({**settings, "IPGEO_LUA": lua, "IPGEO_WORKERS": 2})
    with subprocess.Popen([START], env=variables) as nginx:
        wait.until((folder / "nginx.pid").exists, "nginx is there", seconds=20)
        wait.until(lambda: len(children(nginx.pid)) == 2, "the workers are forked")
        workers = children(nginx.pid)
        nginx.kill()
    wait.until(lambda: not any(map(is_running, workers)), "the workers have ended")


def is_running(pid: int) -> bool:
    """Whether a process is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


# Personal data, privileges, and the headers for the upstream


@pytest.mark.parametrize(("setting", "logged"), [("", False), ("off", False), ("on", True)])
def test_the_access_log(folder: Path, blob: Path, setting: str, logged: bool) -> None:
    settings = {"IPGEO_LOG_QUERY": setting} if setting else {}
    # One worker: each has a buffer of its own, which would mix the lines up.
    with Edge(folder, blob, IPGEO_WORKERS=1, **settings) as edge:
        for target in (QUERY, f"/missing?ip={UTOPIA_IP}", f"{PATH}?ip=3.3.3.3&format=x"):
            get(edge.address, target)
        exchange(edge.address, request("TRACE", f"{PATH}?ip=4.4.4.4"))
        exchange(edge.address, request("GET", f"{PATH}?ip=6.6.6.6&{'x' * 9000}"))
        post(edge.address, PATH, QUESTION)
        wait.until(lambda: "POST" in edge.access_log.read_text(), "the log is written", seconds=5)
    text = edge.access_log.read_text()
    rows = text.splitlines()
    asked = [row.split('"')[1].split(" ")[:2] for row in rows if "/healthz" not in row]
    assert [(method, target.split("?")[0]) for method, target in asked] == [
        ("GET", PATH), ("GET", "/missing"), ("GET", PATH), ("TRACE", PATH), ("GET", PATH),
        ("POST", PATH),
    ]  # fmt: skip
    assert [row.split('" ')[1].split(" ")[0] for row in rows if "/healthz" not in row] == [
        "200", "404", "400", "405", "414", "200",
    ]  # fmt: skip
    addresses = (ATLANTIS_IP, UTOPIA_IP, "3.3.3.3", "4.4.4.4", "6.6.6.6")
    assert [ip for ip in addresses if ip in text] == ([*addresses] if logged else [])
    assert ("?" in text) == logged


@as_root
def test_workers_give_up_root(folder: Path, blob: Path) -> None:
    user = pwd.getpwnam("www-data")
    with Edge(folder, blob, IPGEO_USER=user.pw_name) as edge:
        workers = edge.worker_pids()
        assert len(workers) == 2
        for pid in workers:
            wait.until(partial(is_run_by, user, pid), f"{pid} is {user.pw_name}")
        assert not lines(edge, "this worker cannot open")


def is_run_by(user: pwd.struct_passwd, pid: int) -> bool:
    """Whether a process has only the user's rights: real, effective, saved, file system."""
    status = Path(f"/proc/{pid}/status").read_text()
    ids = (("Uid", user.pw_uid), ("Gid", user.pw_gid))
    return all(f"{name}:" + f"\t{number}" * 4 + "\n" in status for name, number in ids)


@as_root
def test_workers_log_if_they_cannot_read_the_blob(folder: Path, blob: Path) -> None:
    blob.chmod(0o600)
    with Edge(folder, blob) as edge:
        assert_edge_answers(edge.address)
        logged = partial(lines, edge, f"this worker cannot open {blob}: Permission denied")
        wait.until(logged, "a worker says so")


@as_root
def test_folders_that_only_root_may_enter(folder: Path, blob: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    lua = closed / "lua"
    shutil.copytree(ROOT / "lua", lua)
    path = closed / "data" / "test.blob"
    path.parent.mkdir()
    shutil.move(blob, path)
    with Edge(folder, path, IPGEO_LUA=lua) as edge:
        assert_edge_answers(edge.address)
        assert not lines(edge, "[warn]")


class _Recorder(http.server.BaseHTTPRequestHandler):
    """Answers every request and records it."""

    protocol_version = "HTTP/1.1"
    status = 200
    sent: "Mapping[str, str]"
    requests: "list[tuple[str, str, dict[str, str], bytes, int]]"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        port = self.client_address[1]
        self.requests.append((self.requestline, self.path, headers, body, port))
        self.send_response(self.status)
        for name, value in self.sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD" and self.status != http.HTTPStatus.NOT_MODIFIED:
            self.wfile.write(b"[]")

    do_GET = do_POST = do_HEAD = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


MARKED = {"Content-Type": "application/json", "X-IPGeo-Served-By": "fallback"}
"""The headers by which the edge knows an answer of a fallback."""


class Upstream:
    """An upstream that records its requests; to be used in a ``with``."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        status: int = 200,
        sent: Mapping[str, str] = MARKED,
    ) -> None:
        """Listen on ``host`` and ``port`` (0: a free one); answer with ``status`` and ``sent``."""
        self.port = port or free_port()
        self.address = f"{host}:{self.port}"
        self.requests: list[tuple[str, str, dict[str, str], bytes, int]] = []
        own = {"requests": self.requests, "status": status, "sent": sent}
        handler = type("Handler", (_Recorder,), own)
        self._server = http.server.ThreadingHTTPServer((host, self.port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def test_headers_for_the_upstream(folder: Path, upstream: Upstream) -> None:
    address, none = upstream.address, folder / "none.blob"
    with Edge(folder, none, IPGEO_UPSTREAMS=address, IPGEO_WORKERS=1) as edge:
        body = QUESTION + b" " * 40_000
        for asked in (
            request("GET", f"{QUERY}&format=object&x=%2F+%zz"),
            request(
                "GET",
                QUERY,
                "X-Real-IP: 6.6.6.6",
                "X-Forwarded-For: 203.0.113.9, 198.51.100.7",
                "X-Forwarded-Proto: gopher",
                "If-None-Match: *",
            ).replace(b"Host: localhost", b"Host: geo.example:8080"),
            request("POST", PATH, "Content-Type: application/json", body=body),
            f"GET {QUERY} HTTP/1.0\r\n\r\n".encode(),
        ):
            reply = exchange(edge.address, asked)
            assert (reply.status, reply.body) == (200, b"[]")
    plain, forwarded, posted, old = upstream.requests
    assert plain[0] == f"GET {QUERY}&format=object&x=%2F+%zz HTTP/1.1"
    seen = {name: plain[2].get(name) for name in ("x-real-ip", "x-forwarded-for", "host")}
    assert seen == {"x-real-ip": "127.0.0.1", "x-forwarded-for": "127.0.0.1", "host": "localhost"}
    assert plain[2]["x-forwarded-proto"] == "http"
    assert "connection" not in plain[2]
    assert forwarded[2]["x-real-ip"] == "127.0.0.1"
    assert forwarded[2]["x-forwarded-for"] == "127.0.0.1"
    assert forwarded[2]["x-forwarded-proto"] == "http"
    assert forwarded[2]["host"] == "geo.example:8080"
    assert forwarded[2]["if-none-match"] == "*"
    assert posted[0] == f"POST {PATH} HTTP/1.1"
    assert posted[3] == body
    assert posted[2]["content-type"] == "application/json"
    assert old[0] == f"GET {QUERY} HTTP/1.1"
    assert old[2]["host"] == "localhost"
    assert len({port for *_, port in upstream.requests}) == 1, "one connection for all"
