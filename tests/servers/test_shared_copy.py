"""The fallback's one copy of a blob: who maps it, when it is freed, and what its check holds up."""

import fcntl
import os
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from harness import blobs, wait
from harness.client import get
from harness.gunicorn import Gunicorn
from harness.process import children
from harness.rights import may_look_into_workers
from ipgeo.errors import BlobError
from ipgeo.files.atomic import write_atomically
from ipgeo_fallback.checked_copy import checked_copy, open_copy
from ipgeo_fallback.shared_copy import Copy, SharedCopy

ATLANTIS, GAP = (f"/api/ip_query?ip={ip}" for ip in (blobs.ATLANTIS_IP, blobs.GAP_IP))
SLOW = 200_000
"""So many answers take the check more than a second."""

pytestmark = may_look_into_workers

_COPY = re.compile(r"^\S+ \S+ \S+ \S+ (\d+) +/memfd:ipgeo-blob \(deleted\)$", re.MULTILINE)


@pytest.fixture
def server(folder: Path, blob: Path) -> Iterator[Gunicorn]:
    settings = {"IPGEO_FALLBACK_WORKERS": 2, "IPGEO_REFRESH_INTERVAL": "0.05"}
    with Gunicorn(folder, blob, **settings) as server:
        wait.until(lambda: len(copies(server)) == 1, "both workers have loaded")
        yield server


def copies(server: Gunicorn) -> set[str]:
    """Return the inodes of the copies that the workers map, "" for a worker without one."""
    found: set[str] = set()
    for pid in server.worker_pids():
        found.update(_COPY.findall(Path(f"/proc/{pid}/maps").read_text()) or [""])
    return found


def is_swapped(server: Gunicorn, old: set[str]) -> bool:
    now = copies(server)
    return len(now) == 1 and now.isdisjoint({*old, ""})


def have_changed(server: Gunicorn, pids: set[int]) -> bool:
    return pids.isdisjoint(server.worker_pids())


def answers(server: Gunicorn, rounds: int = 50) -> set[tuple[int, bytes]]:
    """Return the different answers of many requests, which both workers get."""
    replies = (get(server.address, ATLANTIS) for _ in range(rounds))
    return {(reply.status, reply.body) for reply in replies}


# Workers


def test_the_workers_map_one_copy(server: Gunicorn, blob: Path) -> None:
    for gap in (True, False):
        old = copies(server)
        write_atomically(blob, blobs.fictional(gap=gap))
        wait.until(partial(is_swapped, server, old), "both map the new copy, and no other")
        assert {get(server.address, GAP).status for _ in range(20)} == {501 if gap else 200}


@pytest.mark.provokes("was sent SIGKILL")
def test_a_worker_that_replaces_another_maps_the_copy(server: Gunicorn) -> None:
    old, pids = copies(server), set(server.worker_pids())
    os.kill(min(pids), signal.SIGKILL)
    wait.until(lambda: len(set(server.worker_pids()) - pids) == 1, "another worker")
    wait.until(lambda: copies(server) == old, "it maps the same copy")


def test_a_file_that_is_overwritten_and_cut_in_place(server: Gunicorn, blob: Path) -> None:
    pids = server.worker_pids()
    with blob.open("r+b") as file:
        file.write(b"\xff" * blob.stat().st_size)
        file.flush()
        assert answers(server) == {(200, blobs.ATLANTIS_ARRAY)}
        file.truncate(0)
    assert answers(server) == {(200, blobs.ATLANTIS_ARRAY)}
    assert server.worker_pids() == pids


def test_a_hup_makes_another_copy(server: Gunicorn) -> None:
    opened = []
    for _ in range(3):
        old, pids = copies(server), set(server.worker_pids())
        os.kill(server.pid, signal.SIGHUP)
        wait.until(partial(have_changed, server, pids), "new workers")
        wait.until(partial(is_swapped, server, old), "both map the new copy, and no other")
        opened.append(len([*Path(f"/proc/{server.pid}/fd").iterdir()]))
    assert opened[1] == opened[2], "the master keeps no old one open"


def test_an_application_on_the_command_line(folder: Path, blob: Path) -> None:
    class Named(Gunicorn):
        """As under supervisor."""

        @property
        def command(self) -> list[str | Path]:
            """What starts it."""
            return [*super().command, "ipgeo_fallback:create_app()"]

    with Named(folder, blob, IPGEO_FALLBACK_WORKERS=2) as server:
        wait.until(partial(is_swapped, server, set()), "both map one copy")


# The process that checks


def checker(server: Gunicorn) -> int | None:
    """Return the process id of the process that checks, or None."""
    found = [child for worker in server.worker_pids() for child in children(worker)]
    assert len(found) <= 1, "one worker checks for all"
    return found[0] if found else None


def anonymous(server: Gunicorn) -> int:
    """Return the memory in bytes that the workers do not share."""
    found = 0
    for pid in server.worker_pids():
        text = Path(f"/proc/{pid}/status").read_text()
        kib = re.search(r"^RssAnon:\s+(\d+) kB$", text, re.MULTILINE)
        assert kib, text
        found += int(kib[1]) << 10
    return found


def stopped_checker(server: Gunicorn, blob: Path) -> int:
    write_atomically(blob, blobs.numbered(SLOW))
    pid = wait.until(lambda: checker(server), "a process checks")
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_requests_are_answered_during_a_check(server: Gunicorn, blob: Path) -> None:
    before = anonymous(server)
    pid = stopped_checker(server, blob)
    assert answers(server) == {(200, blobs.ATLANTIS_ARRAY)}
    assert checker(server) == pid, "the other worker waits for it, and starts none"
    os.kill(pid, signal.SIGCONT)
    swapped = re.compile(rb"\[\d+\]").fullmatch
    wait.until(lambda: all(swapped(body) for _, body in answers(server, 5)), "it is loaded")
    assert anonymous(server) - before < blob.stat().st_size / 2, "no worker has its own copy"


@pytest.mark.provokes("the process that checks it was killed")
def test_a_check_that_is_killed_is_tried_again(server: Gunicorn, blob: Path) -> None:
    old = copies(server)
    os.kill(stopped_checker(server, blob), signal.SIGKILL)
    wait.until(lambda: is_swapped(server, old), "another check loads it")
    assert "the process that checks it was killed" in server.output.text()


def test_a_check_holds_no_connection(server: Gunicorn, blob: Path) -> None:
    """It is forked with every open file: a client would wait for it to close the connection."""
    write_atomically(blob, blobs.numbered(SLOW))
    pid = wait.until(lambda: checker(server), "a process checks")

    def sockets() -> list[str]:
        names = [entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir()]
        return [name for name in names if name.startswith("socket:")]

    wait.until(lambda: len(sockets()) == 1, "it has its report alone")


# The copy


def test_a_copy_cannot_be_changed(blob: Path) -> None:
    with blob.open("rb") as file:
        copy = checked_copy(file)
    try:
        for change in (
            lambda: os.write(copy, b"x"),
            lambda: os.ftruncate(copy, 1),
            lambda: os.ftruncate(copy, 1 << 20),
            lambda: fcntl.fcntl(copy, fcntl.F_ADD_SEALS, 0),
        ):
            with pytest.raises(PermissionError):
                change()
        assert open_copy(copy)[:] == blob.read_bytes()
    finally:
        os.close(copy)


def test_damage_is_named(blob: Path) -> None:
    blob.write_bytes(blobs.fictional()[:-1] + b"?")
    with blob.open("rb") as file, pytest.raises(BlobError, match="the checksum does not match"):
        checked_copy(file)


# The place that processes share


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.fixture
def place() -> SharedCopy:
    return SharedCopy()


@pytest.fixture
def copy() -> Iterator[int]:
    descriptor = os.memfd_create("test")
    yield descriptor
    os.close(descriptor)


def test_a_copy_is_found_by_its_label(place: SharedCopy, copy: int) -> None:
    assert place.get(b"A") is None
    place.put(Copy(b"A", copy))
    for user in (place, SharedCopy(place.descriptors)) * 2:
        found = user.get(b"A")
        assert found is not None
        assert os.path.sameopenfile(found, copy)
        os.close(found)
    assert place.get(b"B") is None


def test_a_newer_copy_takes_the_place(place: SharedCopy, copy: int) -> None:
    before = open_files()
    for label in (b"A", b"B"):
        place.put(Copy(label, copy))
    assert place.get(b"A") is None
    found = place.get(b"B")
    assert found is not None
    os.close(found)
    assert open_files() == before


def test_one_process_has_the_lock(place: SharedCopy) -> None:
    def is_free_elsewhere() -> bool:
        pid = os.fork()
        if not pid:
            with place.locked() as locked:
                os._exit(locked)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1

    with place.locked() as locked:
        assert locked
        assert not is_free_elsewhere()
    assert is_free_elsewhere()
