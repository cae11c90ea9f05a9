"""Live refresh: a changed file, a damaged file, and dying processes.

All of it under load: the oracle judges every answer.
"""

import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT, wait
from harness.client import connect, get, parse
from harness.client import request as http_request
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.soak.expected import ExpectedBlob, make
from harness.soak.load import Load
from harness.soak.swaps import Swaps, frozen
from harness.soak.tally import FAILED, Tally
from harness.soak.timeline import Timeline
from ipgeo.files.atomic import write_atomically

EDGE, FALLBACK = "edge", "fallback"
BOTH = pytest.mark.parametrize("kind", [EDGE, FALLBACK])

INTERVAL = 0.1
EXPECTED = make((500, 3_000, 1_000, 2_000), seed=5)
DICT_SIZE = "2m"
TOO_LARGE = 60_000
"""Runs of a blob that does not fit into a slot of the dict."""

CLOSED = re.compile(r"failed: \w+: the connection closed")
REFUSED = re.compile(r"failed: connecting: ")

Server = Edge | Gunicorn


@pytest.fixture
def path(folder: Path) -> Path:
    path = folder / "served.blob"
    path.write_bytes(EXPECTED[0].data)
    return path


def make_server(kind: str, folder: Path, path: Path, **settings: object) -> Server:
    if kind == EDGE:
        settings = {"IPGEO_DICT_SIZE": DICT_SIZE, **settings}
        return Edge(folder, path, None, **settings)
    return Gunicorn(folder, path, **settings)


@dataclass
class Stage:
    """A server under load, its swaps, and the counts at the end."""

    server: Server
    timeline: Timeline
    swaps: Swaps
    tally: Tally = field(default_factory=Tally)

    def swap(self, **options: Any) -> None:
        assert self.swaps.swap(**options)

    def run_for(self, seconds: float = 6 * INTERVAL) -> None:
        """Keep serving for some checks of the file: the current blob, and no other."""
        build_id, deadline = self.build_id, time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.swaps.serves() == build_id

    def serves_again(self) -> None:
        wait.until(lambda: self.swaps.serves() == self.build_id, "it serves")

    @property
    def build_id(self) -> str:
        return EXPECTED[self.timeline.current].build_id


@contextmanager
def under_load(server: Server, path: Path, connections: int = 6) -> Iterator[Stage]:
    timeline = Timeline(first=0)
    stage = Stage(server, timeline, Swaps(server, path, EXPECTED, timeline))
    load = Load(server.address, EXPECTED, timeline, connections=connections, batch=100)
    with server, load:
        yield stage
        stage.tally = load.finish()
    assert stage.tally.answers > 0


def assert_faultless(tally: Tally) -> None:
    assert not tally.faults, tally.examples


def assert_only(tally: Tally, *allowed: re.Pattern[str]) -> None:
    """Every answer was right, and each missing one is missing for an allowed reason."""
    assert set(tally.faults) <= {FAILED}, tally.examples
    others = [text for text in tally.examples if not any(what.match(text) for what in allowed)]
    assert not others


def refusals(server: Server, path: Path) -> list[str]:
    """The lines that say why a file is not loaded."""
    if isinstance(server, Edge):
        text = server.error_log.text()
        beginning = rf"{re.escape(str(path))} (is refused|is gone|cannot be read): "
    else:
        text, beginning = server.output.text(), "the loaded blob stays: "
    return [line for line in text.splitlines() if re.search(beginning, line)]


# A changed file


def rename(path: Path, data: bytes) -> None:
    write_atomically(path, data)


def overwrite(path: Path, data: bytes) -> None:
    """As `cp` does: the same inode."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def turn_link(path: Path, data: bytes) -> None:
    """As `ln -sfn` does."""
    target = path.with_name(f"{time.monotonic_ns()}.blob")
    target.write_bytes(data)
    link = path.with_name("link")
    link.symlink_to(target)
    link.replace(path)


@BOTH
@pytest.mark.parametrize("how", [rename, overwrite, turn_link])
def test_a_changed_file_is_served_within_two_seconds(
    folder: Path, path: Path, kind: str, how: Callable[[Path, bytes], None]
) -> None:
    with under_load(make_server(kind, folder, path), path) as stage:
        for _ in range(2):
            stage.swap(how=how, seconds=2)
    assert_faultless(stage.tally)
    assert stage.tally.retried == 0


# A damaged one


def publish_beside(path: Path, data: bytes) -> None:
    """Rename a file into the place of whatever is there."""
    if path.is_dir():
        path.rmdir()
    if path.exists():
        path.chmod(0o644)
    write_atomically(path, data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip_in_place(path: Path) -> None:
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(len(data) // 2)
        file.write(bytes(byte ^ 0xFF for byte in data[len(data) // 2 :]))


def put_garbage(path: Path) -> None:
    write_atomically(path, bytes(range(256)) * 2000)


def put_another_layout(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8] = 1
    write_atomically(path, bytes(data))


def put_too_large(path: Path) -> None:
    write_atomically(path, ExpectedBlob("large", TOO_LARGE, seed=1).data)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_unreadable(path: Path) -> None:
    path.chmod(0)


HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated in place": (truncate, "the header says"),
    "emptied in place": (empty, "0 bytes"),
    "damaged in place": (flip_in_place, "checksum"),
    "deleted": (Path.unlink, "No such file or directory"),
    "replaced by garbage": (put_garbage, "not an ipgeo blob: wrong magic"),
    "replaced by another layout": (put_another_layout, "blob layout 1, this"),
    "replaced by one too large": (put_too_large, "a slot of the shared memory holds"),
    "replaced by a folder": (put_folder, "not a regular file|Is a directory"),
    "made unreadable": (make_unreadable, "Permission denied"),
}


@pytest.mark.parametrize("harm", HARMS)
@BOTH
def test_a_damaged_file_changes_nothing(folder: Path, path: Path, kind: str, harm: str) -> None:
    if kind == FALLBACK and harm == "replaced by one too large":
        pytest.skip("the fallback has no such limit")
    do, reason = HARMS[harm]
    server = make_server(kind, folder, path, IPGEO_REFRESH_INTERVAL=INTERVAL)
    with under_load(server, path) as stage:
        stage.swap()
        # No check of the file falls between the steps of a harm.
        with frozen(server.worker_pids()):
            do(path)
        wait.until(lambda: refusals(server, path), "it is refused")
        stage.run_for()
        if isinstance(server, Edge):
            server.hup()
            stage.run_for()
        logged = refusals(server, path)
        assert len(logged) == 1, "once: not at each check, and not again after HUP"
        assert re.search(reason, logged[0])
        assert re.search(r"\[warn\]|\[WARNING\]", logged[0])
        with frozen(server.worker_pids()):
            number = stage.swaps.publish(how=publish_beside)
        assert stage.swaps.seen_served(number)
        stage.run_for()
        assert len(refusals(server, path)) == 1
    assert_faultless(stage.tally)


@BOTH
def test_a_file_that_vanishes_again_is_logged_again(folder: Path, path: Path, kind: str) -> None:
    server = make_server(kind, folder, path, IPGEO_REFRESH_INTERVAL=INTERVAL)
    aside = folder / "aside"
    with under_load(server, path) as stage:
        for times in (1, 2):
            path.rename(aside)
            stage.run_for()
            logged = len(refusals(server, path))
            aside.rename(path)
            stage.run_for()
            assert logged == times


# Processes that die


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


NAMES_WORKER = (
    (ROOT / "nginx" / "nginx.conf.template")
    .read_text()
    .replace("location / {", "location = /worker { return 200 $pid; }\n location / {")
)
"""The edge's template, with a location that answers the worker's process id."""


def worker_of(connection: socket.socket) -> int:
    """Return the process id of the worker that serves a connection; it must answer."""
    connection.sendall(http_request("GET", "/worker", close=False))
    reply = parse(connection.recv(1 << 16))
    assert reply.status == 200
    return int(reply.body)


@pytest.mark.provokes(r"worker process \d+ exited on signal 9")
def test_only_the_connections_of_a_killed_worker_break(folder: Path, path: Path) -> None:
    with Edge(folder, path, NAMES_WORKER, IPGEO_WORKERS=2) as edge, ExitStack() as open_ones:
        kept = {open_ones.enter_context(connect(edge.address)): 0 for _ in range(24)}
        for connection in kept:
            kept[connection] = worker_of(connection)
        victim = next(iter(kept.values()))
        os.kill(victim, signal.SIGKILL)
        hit = [connection for connection, worker in kept.items() if worker == victim]
        wait.until(lambda: all(map(is_closed, hit)), "its connections close")
        for connection, worker in kept.items():
            if worker != victim:
                assert worker_of(connection) == worker


@pytest.mark.provokes(r"worker process \d+ exited on signal 9")
@pytest.mark.parametrize("workers", [1, 3])
def test_killed_workers(folder: Path, path: Path, workers: int) -> None:
    server = make_server(EDGE, folder, path, IPGEO_WORKERS=workers, IPGEO_REFRESH_INTERVAL=INTERVAL)
    with under_load(server, path) as stage:
        for turn in range(8):
            before = server.worker_pids()
            victim = before[turn % workers]
            os.kill(victim, signal.SIGKILL)
            wait_for_new_worker(server, before)
            stage.serves_again()
            stage.swap(seconds=2)
    assert_only(stage.tally, CLOSED)


def wait_for_new_worker(server: Server, before: list[int]) -> None:
    def is_there() -> bool:
        now = server.worker_pids()
        return len(now) == len(before) and now != before

    wait.until(is_there, "the next worker")


SLICE = "ipgeo: a slice"
LOADING = re.compile(rf" (\d+)#\d+: .*{SLICE}")


def loading(server: Edge) -> list[int]:
    """The process id of the worker that loads, once for each slice."""
    return [int(pid) for pid in LOADING.findall(server.error_log.text())]


def slow_lua(folder: Path) -> Path:
    """A copy of the edge's Lua code that takes its time between the slices of a load."""
    lua = folder / "lua"
    shutil.copytree(ROOT / "lua", lua)
    watch = lua / "ipgeo" / "watch.lua"
    code = watch.read_text()
    assert code.count("ngx.sleep(0.001)") == 1
    watch.write_text(
        code.replace("ngx.sleep(0.001)", f'log(ngx.NOTICE, "{SLICE}")\n    ngx.sleep(0.02)')
    )
    return lua


@pytest.mark.provokes(r"worker process \d+ exited on signal 9")
@pytest.mark.parametrize("hup", [False, True])
def test_the_loading_worker_is_killed(folder: Path, path: Path, hup: bool) -> None:
    settings = {"IPGEO_LUA": slow_lua(folder), "IPGEO_REFRESH_INTERVAL": INTERVAL}
    server = Edge(folder, path, None, **settings)
    with under_load(server, path) as stage:
        for slices in (1, 8, 20):
            enough = len(loading(server)) + slices
            number = stage.swaps.publish()
            wait.until(partial(has_begun, server, enough), "the load is on its way")
            os.kill(loading(server)[-1], signal.SIGKILL)
            if hup:
                server.hup()  # waits: a HUP that came late would load the next one by itself
            assert stage.swaps.seen_served(number, 5)
        stage.swap(seconds=5)
    assert_only(stage.tally, CLOSED)


def has_begun(server: Edge, slices: int) -> bool:
    return len(loading(server)) >= slices


def test_nginx_is_stopped_and_started(folder: Path, path: Path) -> None:
    server = make_server(EDGE, folder, path, IPGEO_REFRESH_INTERVAL=INTERVAL)
    with under_load(server, path) as stage:
        for _ in range(2):
            stage.swap()
            server.stop()
            assert stage.swaps.serves() is None
            with pytest.raises(ConnectionRefusedError):
                connect(server.address)
            server.start()
            stage.serves_again()
            assert json.loads(get(server.address, "/readyz").body)["generation"] == 1
        stage.swap()
    assert_only(stage.tally, CLOSED, REFUSED)


@pytest.mark.provokes(r"Worker \(pid:\d+\) was sent SIGKILL")
def test_killed_workers_of_gunicorn(folder: Path, path: Path) -> None:
    server = make_server(FALLBACK, folder, path, IPGEO_REFRESH_INTERVAL=INTERVAL)
    with under_load(server, path) as stage:
        for _ in range(3):
            before = server.worker_pids()
            os.kill(before[0], signal.SIGKILL)
            wait_for_new_worker(server, before)
            stage.serves_again()
            stage.swap()
    assert_only(stage.tally, CLOSED)
