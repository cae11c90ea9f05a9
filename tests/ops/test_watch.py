"""What script/server does while it serves: the servers' warnings, and nginx's logs by size."""

import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from harness import blobs, wait
from harness.client import exchange, get
from harness.program import Program, program
from test_rotation import LETTERS, ask, logged

SIZE = 100 * 1024
REQUESTS = 1500
ROTATIONS = 3


def test_nginx_logs_are_rotated_by_size_and_no_line_is_lost(folder: Path) -> None:
    with program(folder / "first", IPGEO_LOG_SIZE="100k", IPGEO_LOG_FILES=99) as server:
        server.wait_until_complete()
        log = server.var / "log"
        targets: list[str] = []
        for batch in range(10 * ROTATIONS):
            numbers = (f"{batch:03}/{number:04}".translate(LETTERS) for number in range(REQUESTS))
            new = [f"/n/{number}/{'x' * 90}" for number in numbers]
            ask(server.address, new)
            targets += new
            # What comes until nginx has reopened its log is still written to the renamed one.
            with suppress(TimeoutError):
                wait.until(partial(is_rotated, log, batch + 1), "the log is rotated", seconds=3)
            if is_rotated(log, ROTATIONS):
                break
        wait.until(partial(all_are_logged, log, len(targets)), "all requests are logged")
        assert logged(log.glob("access.log*")) == sorted(targets)
        rotated = list(log.glob("access.log.*"))
        assert len(rotated) >= ROTATIONS
        assert all(path.stat().st_size >= SIZE for path in rotated)
        assert {path.stat().st_mode & 0o777 for path in log.glob("access.log*")} == {0o640}


def is_rotated(log: Path, times: int) -> bool:
    return len(list(log.glob("access.log.*"))) >= times


def all_are_logged(log: Path, count: int) -> bool:
    return len(logged(log.glob("access.log*"))) >= count


def test_only_so_many_old_logs_are_kept(folder: Path) -> None:
    with program(folder / "first", IPGEO_LOG_SIZE="100k", IPGEO_LOG_FILES=2) as server:
        server.wait_until_complete()
        log = server.var / "log"
        first = log / "access.log.1"
        seen: set[int] = set()

        def turned() -> bool:
            ask(server.address, [f"/n/{'x' * 200}"] * REQUESTS)
            if first.exists():
                seen.add(first.stat().st_ino)
            return len(seen) > ROTATIONS

        wait.until(turned, "the log is rotated again and again", 60)
        names = {path.name for path in log.glob("access.log*")}
        assert names - {"access.log"} == {"access.log.1", "access.log.2"}


def test_a_refused_blob_is_logged_once_by_each_server(folder: Path) -> None:
    with program(folder / "first", IPGEO_FALLBACK_WORKERS=2) as server:
        server.wait_until_complete()
        serve_damaged(server)
        wait.until(partial(warned, server), "both servers' warnings are printed", 20)
        good = server.var / "good"
        good.write_bytes(blobs.fictional())
        good.replace(server.var / "ipgeo.blob")
        wait.until(partial(serves_fiction, server), "the good one is served", 20)
        printed = re.findall(r"^server: (?:nginx|fallback): .*$", server.text(), re.MULTILINE)
        assert len(printed) == len(set(printed)), "two workers of the fallback say the same"
        # The fallback looks at a request only: this load is nginx's alone.
        serve_damaged(server)
        wait.until(lambda: server.text().count("server: nginx: ") == 2, "it is printed again", 20)


def test_no_client_writes_on_the_terminal(folder: Path) -> None:
    """The fallback's access log, here in the same file, quotes paths."""
    with program(folder / "first", IPGEO_FALLBACK_ACCESS_LOG="-") as server:
        server.wait_until_complete()
        socket = server.var / "fallback.sock"
        get(socket, "/%5BWARNING%5D%20pwned")
        assert exchange(socket, b"GET /pwned HTTP/9\r\n\r\n").status == 400
        serve_damaged(server)
        wait.until(partial(warned, server), "what came later is printed", 20)
        log = (server.var / "log" / "fallback.log").read_text()
        assert "[WARNING] pwned" in log
        assert "is not valid" in log
        assert "pwned" not in server.text()
        assert "is not valid" not in server.text()


def serve_damaged(server: Program) -> None:
    bad = server.var / "bad"
    bad.write_bytes(b"IPGEO???" * 100)
    bad.replace(server.var / "ipgeo.blob")


def warned(server: Program) -> bool:
    get(server.var / "fallback.sock", "/readyz")
    return all(f"server: {name}: " in server.text() for name in ("nginx", "fallback"))


def serves_fiction(server: Program) -> bool:
    return b"Atlantis" in get(server.address, f"/api/ip_query?ip={blobs.ATLANTIS_IP}").body


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's workers are another user")
def test_the_sample_is_readable_by_the_servers_under_any_umask(folder: Path) -> None:
    (folder / "first").mkdir(mode=0o755)
    before = os.umask(0o077)
    try:
        with program(folder / "first") as server:
            server.wait_until_complete()
            assert (server.var / "ipgeo.blob").stat().st_mode & 0o777 == 0o644
            assert server.var.stat().st_mode & 0o777 == 0o755
            assert "cannot read" not in (server.var / "log" / "fallback.log").read_text()
    finally:
        os.umask(before)
