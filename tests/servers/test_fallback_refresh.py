"""The fallback's file: what is loaded, what is recorded as refused, what /readyz shows."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import blobs, wait
from harness.client import get
from harness.gunicorn import Gunicorn
from harness.rights import as_root
from ipgeo.blob.layout import LAYOUT, MAGIC
from ipgeo.files.reading import TruncatedError
from ipgeo_fallback.store import BlobStore, RefreshFailure

QUERY = f"/api/ip_query?ip={blobs.ATLANTIS_IP}"
GAP = f"/api/ip_query?ip={blobs.GAP_IP}"
GIB = 1 << 30


@pytest.fixture
def server(folder: Path, blob: Path) -> Gunicorn:
    return Gunicorn(folder, blob, IPGEO_REFRESH_INTERVAL="0.01")


def state(server: Gunicorn) -> dict[str, Any]:
    reply = get(server.address, "/readyz")
    assert reply.status == 200, reply
    found: dict[str, Any] = json.loads(reply.body)
    return found


def wait_for(server: Gunicorn, kind: str) -> str:
    """Return the reason once /readyz reports a failed refresh of ``kind``."""

    def failing() -> dict[str, Any] | None:
        now = state(server)
        return now if now["refresh"] == "failing" and now["refresh_error"] == kind else None

    now = wait.until(failing, f"refresh_error is {kind}")
    assert [*now][-3:] == ["refresh", "refresh_error", "refresh_message"]
    assert "/" not in now["refresh_message"]
    assert get(server.address, QUERY).body == blobs.ATLANTIS_ARRAY
    return str(now["refresh_message"])


def wait_for_ok(server: Gunicorn, generation: int) -> None:
    def is_ok() -> bool:
        now = state(server)
        return (now["refresh"], now["generation"], len(now)) == ("ok", generation, 6)

    wait.until(is_ok, f"generation {generation}, and refresh is ok")


def publish(blob: Path, data: bytes) -> None:
    new = blob.with_suffix(".new")
    new.write_bytes(data)
    new.replace(blob)


def warnings(server: Gunicorn) -> list[str]:
    return [line for line in server.output.text().splitlines() if "[WARNING]" in line]


# /readyz


def test_a_file_that_is_gone(server: Gunicorn, blob: Path) -> None:
    with server:
        wait_for_ok(server, 1)
        blob.unlink()
        assert wait_for(server, "unlinked") == os.strerror(errno.ENOENT)
        publish(blob, blobs.fictional(gap=True))
        wait_for_ok(server, 2)


def test_bad_bytes(server: Gunicorn, blob: Path) -> None:
    good = blob.with_suffix(".good")
    shutil.copy2(blob, good)
    with server:
        wait_for_ok(server, 1)
        publish(blob, blobs.fictional()[:-1])
        assert wait_for(server, "refused").startswith("the header says ")
        publish(blob, good.read_bytes())
        wait_for_ok(server, 2)
        assert len(warnings(server)) == 1


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_no_regular_file(server: Gunicorn, blob: Path, make: Callable[[Path], None]) -> None:
    with server:
        wait_for_ok(server, 1)
        blob.unlink()
        make(blob)
        wait_for(server, "refused")


def test_a_loop_of_links_is_unreadable(server: Gunicorn, blob: Path) -> None:
    with server:
        wait_for_ok(server, 1)
        blob.unlink()
        blob.symlink_to(blob)
        assert wait_for(server, "unreadable") == os.strerror(errno.ELOOP)


@as_root
def test_a_file_for_root_alone(server: Gunicorn, blob: Path) -> None:
    with server:
        wait_for_ok(server, 1)
        blob.chmod(0o600)
        assert wait_for(server, "unreadable") == os.strerror(errno.EACCES)
        blob.chmod(0o644)
        wait_for_ok(server, 1)


@as_root
def test_a_file_for_root_alone_is_reported_at_once(server: Gunicorn, blob: Path) -> None:
    blob.chmod(0o600)
    with server:
        assert wait_for(server, "unreadable") == os.strerror(errno.EACCES)
        (warning,) = warnings(server)
        assert "no newer blob can be loaded by this user" in warning


@as_root
def test_a_mount_whose_source_is_replaced(server: Gunicorn, blob: Path, folder: Path) -> None:
    """As in a container with a bind mount of a single file."""
    inside = folder / "inside.blob"
    inside.touch()
    server = Gunicorn(folder, inside, IPGEO_REFRESH_INTERVAL="0.01")
    if subprocess.run(["mount", "--bind", blob, inside], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        with server:
            wait_for_ok(server, 1)
            publish(blob, blobs.fictional(gap=True))
            assert "deleted" in wait_for(server, "unlinked")
    finally:
        subprocess.run(["umount", inside], check=True)


# A path that only root may follow


@pytest.fixture
def closed(folder: Path) -> Path:
    closed = folder / "closed"
    for release in ("1", "2"):
        (closed / release).mkdir(parents=True)
    closed.chmod(0o700)
    (closed / "1" / "test.blob").write_bytes(blobs.fictional())
    (closed / "2" / "test.blob").write_bytes(blobs.fictional(gap=True))
    return closed


def switch(link: Path, target: Path) -> None:
    """As `ln -sfn` does it, in one step."""
    link.with_suffix(".new").symlink_to(target)
    link.with_suffix(".new").replace(link)


def rename_and_link(link: Path, target: Path) -> None:
    link.rename(link.with_suffix(".old"))
    link.symlink_to(target)


@as_root
@pytest.mark.parametrize("replace", [switch, rename_and_link])
def test_a_link_that_cannot_be_followed(
    folder: Path, closed: Path, replace: Callable[[Path, Path], None]
) -> None:
    """The link lies where only root may go; a HUP, whose workers begin as root, follows it."""
    link = closed / "current"
    link.symlink_to("1")
    with Gunicorn(folder, link / "test.blob", IPGEO_REFRESH_INTERVAL="0.01") as server:
        wait_for_ok(server, 1)
        publish(closed / "1" / "test.blob", blobs.fictional())
        wait_for_ok(server, 2)
        replace(link, closed / "2")
        wait_for(server, "moved")
        assert get(server.address, GAP).status == 200
        replace(link, closed / "1")
        wait_for(server, "moved")


@as_root
def test_a_link_that_leads_where_only_root_may_go(folder: Path, closed: Path, blob: Path) -> None:
    link = folder / "current"
    link.symlink_to("data")
    with Gunicorn(folder, link / "test.blob", IPGEO_REFRESH_INTERVAL="0.01") as server:
        wait_for_ok(server, 1)
        switch(link, closed / "2")
        wait_for(server, "moved")
        switch(link, blob.parent)
        wait_for_ok(server, 1)


@as_root
@pytest.mark.parametrize("again", [True, False])
def test_a_folder_that_is_moved_away(folder: Path, closed: Path, again: bool) -> None:
    with Gunicorn(folder, closed / "1" / "test.blob", IPGEO_REFRESH_INTERVAL="0.01") as server:
        wait_for_ok(server, 1)
        (closed / "1").rename(closed / "old")
        if again:
            (closed / "2").rename(closed / "1")
        wait_for(server, "moved")


def test_a_link_that_is_switched_is_followed(folder: Path, blob: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "test.blob").write_bytes(blobs.fictional(gap=True))
    link = folder / "current"
    link.symlink_to("data")
    with Gunicorn(folder, link / "test.blob", IPGEO_REFRESH_INTERVAL="0.01") as server:
        wait_for_ok(server, 1)
        switch(link, other)
        wait_for_ok(server, 2)
        assert get(server.address, GAP).status == 501


# Sizes


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    """Replace the file by one with ``size`` bytes that takes no space."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(head)
        file.truncate(size)
    new.replace(path)


class Limited(Gunicorn):
    """A server with at most 1 GiB of address space for each process."""

    @property
    def command(self) -> list[str | Path]:
        """What starts it."""
        return ["prlimit", f"--as={GIB}", *super().command]


@pytest.fixture
def limited(folder: Path, blob: Path) -> Limited:
    return Limited(folder, blob, IPGEO_REFRESH_INTERVAL="0.01")


@pytest.mark.parametrize("size", [19 * GIB // 10, 4 * GIB, 1024 * GIB])
def test_a_large_file_is_refused_unread(limited: Limited, blob: Path, size: int) -> None:
    """With less address space than the file has bytes: reading it would fail."""
    with limited as server:
        wait_for_ok(server, 1)
        (worker,) = server.worker_pids()
        sparse(blob, size)
        wait_for(server, "refused")
        assert server.worker_pids() == [worker]


def test_a_large_file_at_the_start(limited: Limited, blob: Path) -> None:
    sparse(blob, 1024 * GIB)
    with limited as server:
        assert get(server.address, QUERY).status == 503
        (worker,) = server.worker_pids()
        publish(blob, blobs.fictional())
        wait.until(lambda: get(server.address, "/readyz").status == 200, "it is loaded")
        wait_for_ok(server, 1)
        assert server.worker_pids() == [worker]


def huge(size: int) -> bytes:
    """Return the header of a blob that has ``size`` bytes."""
    return MAGIC + bytes([LAYOUT, 0, 0, 0, 6, 0, 0, 0]) + size.to_bytes(8, "little") + bytes(40)


def test_too_little_memory(limited: Limited, blob: Path) -> None:
    """Like a failed read: not recorded as refused, logged once."""
    size = 19 * GIB // 10
    with limited as server:
        wait_for_ok(server, 1)
        (worker,) = server.worker_pids()
        sparse(blob, size, huge(size))
        assert "memory" in wait_for(server, "unreadable")
        for _ in range(3):
            assert "memory" in wait_for(server, "unreadable")
        assert len(warnings(server)) == 1
        publish(blob, blobs.fictional())
        wait_for_ok(server, 2)
        assert server.worker_pids() == [worker]


def test_too_little_memory_at_the_start(limited: Limited, blob: Path) -> None:
    size = 19 * GIB // 10
    sparse(blob, size, huge(size))
    with limited as server:
        assert get(server.address, QUERY).status == 503
        publish(blob, blobs.fictional())
        wait.until(lambda: get(server.address, "/readyz").status == 200, "it is loaded")
        wait_for_ok(server, 1)


# When the file is checked


class Stop(Exception):  # noqa: N818 - no error
    """Ends a loop that never returns."""


def test_the_moment_in_the_interval_is_random(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nodes that start together do not load together."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) % 3 == 0:
            raise Stop

    monkeypatch.setattr("time.sleep", pause)
    for _ in range(40):
        with pytest.raises(Stop):
            BlobStore(blob, interval=8).follow()
    first, rest = pauses[::3], {*pauses[1::3], *pauses[2::3]}
    assert rest == {8}
    assert min(first) >= 0
    assert max(first) <= 8
    assert len({int(seconds) for seconds in first}) > 3, "all over the interval"


# A read that fails


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number)) for number in (errno.EIO, errno.ESTALE)),
        TruncatedError(errno.EIO, "ended after 5 of 6 bytes while it was read"),
    ],
)
def test_a_failed_read_is_tried_again(
    blob: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: OSError,
) -> None:
    """No file system here fails on demand, so the system call does."""
    store = BlobStore(blob, interval=0)

    def fail(*_: object) -> bytes:
        raise error

    with monkeypatch.context() as failing:
        failing.setattr("ipgeo_fallback.store.checked_copy", fail)
        for _ in range(3):
            assert store.current() is None
            assert store.refresh_error == RefreshFailure("unreadable", str(error.strerror))
    assert len(caplog.records) == 1, "it is logged once"
    assert store.current() is not None
    assert store.refresh_error is None
