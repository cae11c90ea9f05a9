"""Log rotation: every request is logged exactly once, whichever program rotates."""

import grp
import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from typing import Self

import pytest

from harness import ROOT, blobs, wait
from harness.client import Address, connect, get, pipeline, request
from harness.program import program
from harness.stack import Stack

REQUESTS = 20_000
CONNECTIONS = 8
LIMIT = 100 * 1024
SECONDS = 120

LOGROTATE = "/usr/sbin/logrotate"  # not in every user's PATH
ROTATED = (
    "access.log",
    "error.log",
    "request-errors.log",
    "fallback-access.log",
    "fallback-error.log",
)
BATCH = 100
LETTERS = str.maketrans("0123456789", "abcdefghij")
"""For numbers in the targets: digits may be an address, which logs never contain."""


def ask(address: Address, targets: list[str]) -> None:
    """Ask for all of them, which do not exist, over one connection."""
    assert {status for status, _ in pipeline(address, targets)} == {404}


def logged(files: Iterable[Path]) -> list[str]:
    """Return the targets of the requests in access logs, sorted."""
    found: list[str] = []
    for file in files:
        with suppress(FileNotFoundError):  # it has just been renamed
            found += re.findall(r'"GET (/n/[^" ]+)[" ]', file.read_text())
    return sorted(found)


def test_supervisor_keeps_every_file_under_the_limit(folder: Path) -> None:
    targets = [f"/n/{number:05}".translate(LETTERS) for number in range(REQUESTS)]
    with program(
        folder / "first",
        IPGEO_LOG_SIZE="100k",
        IPGEO_LOG_FILES=200,
        IPGEO_FALLBACK_ACCESS_LOG="-",
    ) as server:
        server.wait_until_complete()
        log = server.var / "log"
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            asking = [
                pool.submit(ask, server.var / "fallback.sock", targets[first::CONNECTIONS])
                for first in range(CONNECTIONS)
            ]
            wait.until(partial(have_ended_and_no_file_is_large, asking, log), "answers", SECONDS)
        for asked in asking:
            asked.result()
        wait.until(partial(have_all, log, set(targets)), "all are logged", SECONDS)
        assert_none_is_large(log)
        assert logged(log.glob("fallback.log*")) == targets
        assert len(list(log.glob("fallback.log.*"))) > 10, "they have been rotated"


def have_all(log: Path, targets: set[str]) -> bool:
    return set(logged(log.glob("fallback.log*"))) == targets


def have_ended_and_no_file_is_large(asking: list[Future[None]], log: Path) -> bool:
    assert_none_is_large(log)
    return all(asked.done() for asked in asking)


def assert_none_is_large(log: Path) -> None:
    with os.scandir(log) as entries:
        large = [entry.name for entry in entries if size(entry) > LIMIT]
    assert large == []


def size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # it has just been renamed
        return 0


def ask_until(stopped: Event, address: Address, name: str) -> list[str]:
    """Ask without a pause; return the targets."""
    asked: list[str] = []
    for batch in count():
        if stopped.is_set():
            return asked
        numbers = (f"{batch}/{number}".translate(LETTERS) for number in range(BATCH))
        targets = [f"/n/{name}/{number}" for number in numbers]
        ask(address, targets)
        asked += targets
    raise AssertionError("count() does not end")


class Kept:
    """Connections that were accepted before a rotation: their workers are asked through them."""

    def __init__(self, address: Address, name: str) -> None:
        self.asked: list[str] = []
        self._name = name
        self._connections = [connect(address, SECONDS) for _ in range(CONNECTIONS)]
        self._ask(range(CONNECTIONS))

    def _ask(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            target = f"{self._prefix(number)}{len(self.asked)}".translate(LETTERS)
            self._connections[number].sendall(request("GET", target, close=False))
            assert self._connections[number].recv(1 << 16)
            self.asked.append(target)

    def _prefix(self, number: int) -> str:
        return f"/n/{self._name}/kept/{number}/".translate(LETTERS)

    def are_all_logged_in(self, file: Path) -> bool:
        """Whether each has logged a request; those that have not are asked again."""
        lines = "\n".join(logged([file]))
        missing = [n for n in range(CONNECTIONS) if self._prefix(n) not in lines]
        self._ask(missing)
        return not missing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()


@pytest.mark.provokes("too large body")
def test_logrotate_under_requests(folder: Path) -> None:
    log = folder / "log"
    log.mkdir()
    (folder / "fiction.blob").write_bytes(blobs.fictional())
    settings = {
        "IPGEO_FALLBACK_ACCESS_LOG": log / "fallback-access.log",
        "IPGEO_FALLBACK_ERROR_LOG": log / "fallback-error.log",
    }
    with (
        Stack(folder, folder / "fiction.blob", **settings) as stack,
        ThreadPoolExecutor() as pool,
        ExitStack() as open_ones,
    ):
        servers = (stack.edge, "access.log"), (stack.fallback, "fallback-access.log")
        stopped = Event()
        try:
            asking = [
                pool.submit(ask_until, stopped, server.address, name) for server, name in servers
            ]
            kept = [open_ones.enter_context(Kept(server.address, name)) for server, name in servers]
            wait.until(partial(all_have_lines, log), "both log", SECONDS)
            assert get(stack.edge.address, "/large", "Content-Length: 99999999").status == 413
            rotate(folder)
            closed = partial(rotated_files_are_closed, stack)
            wait.until(closed, "the servers have new files", SECONDS)
            for connections, (_, name) in zip(kept, servers, strict=True):
                new = partial(connections.are_all_logged_in, log / name)
                wait.until(new, f"workers with connections log to the new {name}", SECONDS)
        finally:
            stopped.set()
        for asked, connections, (_, name) in zip(asking, kept, servers, strict=True):
            files = [log / name, log / f"{name}.1"]
            targets = sorted(asked.result() + connections.asked)
            wait.until(partial(as_many, files, len(targets)), f"all are in {name}", SECONDS)
            assert logged(files) == targets
            assert all(logged([file]) for file in files)
    assert all((log / f"{name}.1").stat().st_size > 0 for name in ROTATED)


def all_have_lines(log: Path) -> bool:
    return all(logged([log / name]) for name in ROTATED if name.endswith("access.log"))


def as_many(files: list[Path], wanted: int) -> bool:
    return len(logged(files)) >= wanted


def rotate(folder: Path) -> None:
    """Run logrotate as cron does, with the project's file for the servers in ``folder``."""
    text = (ROOT / "deploy" / "logrotate.conf").read_text().replace("/opt/ipgeo/var", str(folder))
    if os.geteuid() != 0:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())
        text = text.replace("www-data adm", f"{user.pw_name} {group.gr_name}")
    configuration = folder / "logrotate.conf"
    configuration.write_text(text)
    done = subprocess.run(
        [LOGROTATE, "--force", "--state", folder / "logrotate.state", configuration],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def rotated_files_are_closed(stack: Stack) -> bool:
    return not any(
        name.endswith(".log.1")
        for server in (stack.edge, stack.fallback)
        for pid in (server.pid, *server.worker_pids())
        for name in open_files(pid)
    )


def open_files(pid: int) -> Iterator[str]:
    """The names of a process's open files, as far as they may be seen.

    Root without CAP_SYS_PTRACE, as in a container, sees none of another user's process: of the
    workers the kept connections tell.
    """
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError, PermissionError):  # it has just been closed
            yield file.readlink().name
