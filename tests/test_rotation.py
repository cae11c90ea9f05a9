"""Log rotation: every request is in the logs, exactly once, whoever rotates them."""

import grp
import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from support import ROOT, blobs, wait
from support.client import Address, get, pipeline
from support.program import program
from support.stack import Stack

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


def lettered(number: int) -> str:
    """Return a number in letters: a path with digits is not logged."""
    return f"{number:05}".translate(str.maketrans("0123456789", "abcdefghij"))


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
    targets = [f"/n/{lettered(number)}" for number in range(REQUESTS)]
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
        wait.until(partial(have_all, log, set(targets)), "all are logged")
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
        targets = [f"/n/{name}/{lettered(batch)}/{lettered(number)}" for number in range(BATCH)]
        ask(address, targets)
        asked += targets
    raise AssertionError("count() does not end")


@pytest.mark.provokes("too large body")
def test_logrotate_under_requests(folder: Path) -> None:
    log = folder / "log"
    log.mkdir()
    (folder / "fiction.blob").write_bytes(blobs.fictional())
    settings = {
        "IPGEO_FALLBACK_ACCESS_LOG": log / "fallback-access.log",
        "IPGEO_FALLBACK_ERROR_LOG": log / "fallback-error.log",
    }
    with Stack(folder, folder / "fiction.blob", **settings) as stack, ThreadPoolExecutor() as pool:
        servers = (stack.edge, "access.log"), (stack.fallback, "fallback-access.log")
        stopped = Event()
        try:
            asking = [
                pool.submit(ask_until, stopped, server.address, name) for server, name in servers
            ]
            wait.until(partial(all_have_lines, log), "both log")
            assert get(stack.edge.address, "/large", "Content-Length: 99999999").status == 413
            rotate(folder)
            wait.until(partial(nobody_writes_rotated, stack), "the servers have new files")
            wait.until(partial(all_have_lines, log), "both log to the new files")
        finally:
            stopped.set()
        for asked, (_, name) in zip(asking, servers, strict=True):
            files = [log / name, log / f"{name}.1"]
            targets = sorted(asked.result())
            wait.until(partial(as_many, files, len(targets)), f"all are in {name}")
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


def nobody_writes_rotated(stack: Stack) -> bool:
    return not any(
        name.endswith(".log.1")
        for server in (stack.edge, stack.fallback)
        for pid in (server.pid, *server.worker_pids())
        for name in open_files(pid)
    )


def open_files(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            yield file.readlink().name
