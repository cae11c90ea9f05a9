"""How the edge reports a file that it cannot load: in /readyz of every worker, and in its log.

A failed read is tried again at the next check; bad bytes are recorded as refused.
"""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from harness import blobs, wait
from harness.client import get
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.rights import as_root
from harness.stack import Stack
from ipgeo.blob.reader import Blob
from ipgeo.files.atomic import write_atomically
from test_edge import lines, patched_lua
from test_refresh import has_begun, slow_lua

OLD, NEW = blobs.fictional(gap=True), blobs.fictional()
INTERVAL = 0.1

Failure = tuple[str, str] | None

NO_UPSTREAM = r"connect\(\) to unix:\S+/fallback\.sock failed"


@pytest.fixture
def path(folder: Path) -> Path:
    path = folder / "data" / "served.blob"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def edge_over(folder: Path, path: Path, **settings: object) -> Edge:
    return Edge(folder, path, None, IPGEO_REFRESH_INTERVAL=INTERVAL, **settings)


def failure_of(edge: Edge) -> Failure:
    """The kind and the message of the refresh error; None without one."""
    reply = get(edge.address, "/readyz")
    assert reply.status == 200
    state = json.loads(reply.body)
    known = ["status", "build_id", "generation", "runs", "data_age", "refresh"]
    if state["refresh"] == "ok":
        assert list(state) == known
        return None
    assert state["refresh"] == "failing"
    assert list(state) == [*known, "refresh_error", "refresh_message"]
    return state["refresh_error"], state["refresh_message"]


def has_failure(edge: Edge, kind: str | None) -> bool:
    """Whether all workers report it: each new connection may go to another one."""
    found = [failure_of(edge) for _ in range(6)]
    return all((failure[0] if failure else None) == kind for failure in found)


def wait_for_failure(edge: Edge, kind: str | None) -> None:
    wait.until(partial(has_failure, edge, kind), f"/readyz says {kind}")


def serves(edge: Edge | Gunicorn, data: bytes) -> bool:
    reply = get(edge.address, "/readyz")
    return reply.status == 200 and json.loads(reply.body)["build_id"] == Blob(data).build_id


# A file that cannot be loaded


def delete(path: Path) -> None:
    path.unlink()


def put_folder(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.mkdir()


def put_garbage(path: Path) -> None:
    write_atomically(path, b"garbage" * 1000)


def put_damaged(path: Path) -> None:
    write_atomically(path, NEW[:-1] + b"\xff")


def put_huge(path: Path) -> None:
    with path.with_name("huge").open("wb") as file:
        file.truncate(4 << 30)
    path.with_name("huge").replace(path)


def put_large(path: Path) -> None:
    write_atomically(path, blobs.numbered(60_000))


def put_unreadable(path: Path) -> None:
    """Its first byte is at an unmapped address: a real EIO."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def forbid(path: Path) -> None:
    path.chmod(0)


ILLS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "deleted": (delete, "unlinked", "No such file or directory"),
    "a folder": (put_folder, "refused", "not a regular file"),
    "garbage": (put_garbage, "refused", "not an ipgeo blob: wrong magic"),
    "damaged": (put_damaged, "refused", "the checksum does not match: the blob is damaged"),
    "4 GiB": (put_huge, "refused", "4294967296 bytes, this edge reads at most 2147483647"),
    "too large": (put_large, "refused", "a slot of the shared memory holds"),
    "an error of the device": (put_unreadable, "unreadable", "Input/output error"),
    "forbidden": (forbid, "unreadable", "Permission denied"),
}


@pytest.mark.parametrize("ill", ILLS)
def test_every_worker_reports_what_is_wrong(folder: Path, path: Path, ill: str) -> None:
    make_ill, kind, message = ILLS[ill]
    settings = {"IPGEO_WORKERS": 3, "IPGEO_DICT_SIZE": "1m"}
    if ill == "an error of the device" and os.geteuid() == 0:
        settings["IPGEO_USER"] = "root"  # others may not open it
    with edge_over(folder, path, **settings) as edge:
        assert failure_of(edge) is None
        make_ill(path)
        wait_for_failure(edge, kind)
        failure = failure_of(edge)
        assert failure
        assert message in failure[1]
        assert str(folder) not in failure[1]
        assert serves(edge, OLD)
        by_watcher = lines(edge, f"ipgeo: {path} ")
        # A worker that has just started has its own message.
        logged = by_watcher or lines(edge, f"cannot open {path}: ")
        assert logged
        assert all("[warn]" in line and failure[1] in line for line in logged)
        edge.hup()
        wait_for_failure(edge, kind)
        assert lines(edge, f"ipgeo: {path} ") == by_watcher, "once"
        assert len(by_watcher) <= 1
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(NEW)
        wait_for_failure(edge, None)
        assert serves(edge, NEW)


def tells_of_deleted(probe: Path) -> bool:
    """Whether a file that is open has no name left when it has been deleted: not in each FUSE."""
    with probe.open("w") as file:
        probe.unlink()
        return os.fstat(file.fileno()).st_nlink == 0


def test_a_file_that_has_been_deleted_while_it_is_open(folder: Path, path: Path) -> None:
    """As with a bind mount of the single file: the path still leads to the deleted file."""
    link = folder / "link.blob"
    settings = {"IPGEO_USER": "root"} if os.geteuid() == 0 else {}
    if not tells_of_deleted(folder / "probe"):
        pytest.skip("this file system does not tell that a file has been deleted")
    with path.open("r+b") as file:
        link.symlink_to(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        with edge_over(folder, link, **settings) as edge:
            assert failure_of(edge) is None
            path.unlink()
            wait_for_failure(edge, "unlinked")
            assert failure_of(edge) == ("unlinked", "the file at this path has been deleted")
            file.write(NEW)
            file.truncate()
            file.flush()
            wait.until(lambda: serves(edge, NEW), "what is written into it is served")
            wait_for_failure(edge, "unlinked")


# A file that cannot be read this time

FAILING = """
local read_all = _M.read_all
function _M:read_all(...)
    local handle = io.open("{flag}")
    if handle then
        handle:close()
        return nil, "Input/output error"
    end
    return read_all(self, ...)
end
"""


@pytest.mark.provokes(NO_UPSTREAM)
@pytest.mark.parametrize("first", [False, True])
def test_a_failed_read_is_tried_again(folder: Path, path: Path, first: bool) -> None:
    """At the first start, when there are no data, as well."""
    flag = folder / "flag"
    lua = patched_lua(folder, "file.lua", FAILING.format(flag=flag))
    if first:
        flag.touch()
    with edge_over(folder, path, IPGEO_LUA=lua) as edge:
        if first:
            assert get(edge.address, "/readyz").status == 503
        else:
            flag.touch()
            write_atomically(path, NEW)
            wait_for_failure(edge, "unreadable")
            assert failure_of(edge) == ("unreadable", "Input/output error")
        failed = f"{path} cannot be read: Input/output error"
        wait.until(lambda: lines(edge, failed), "it is logged")
        flag.unlink()
        wait.until(lambda: serves(edge, OLD if first else NEW), "it is read at the next check")
        wait_for_failure(edge, None)
        assert len(lines(edge, failed)) == 1


def test_a_refused_file_that_is_made_good_in_its_place(folder: Path, path: Path) -> None:
    """With its old time, as copies that preserve it leave it."""
    path.write_bytes(NEW[:-1] + b"\xff")
    before = path.stat()
    with Stack(folder, path, IPGEO_REFRESH_INTERVAL=INTERVAL) as stack:
        assert get(stack.edge.address, "/readyz").status == 503
        assert get(stack.fallback.address, "/readyz").status == 503
        with path.open("r+b") as file:
            file.write(NEW)
            os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
        wait.until(lambda: serves(stack.edge, NEW), "the edge serves it", seconds=5)
        wait.until(lambda: serves(stack.fallback, NEW), "the fallback serves it", seconds=5)


REPLACING = """
local inspect = _M.inspect
function _M:inspect(...)
    os.rename("{next}", "{path}")
    return inspect(self, ...)
end
"""


def test_a_file_that_is_replaced_between_open_and_stat_is_not_gone(
    folder: Path, path: Path
) -> None:
    path.parent.chmod(0o777)  # the worker renames in it
    new = path.with_name("next")
    lua = patched_lua(folder, "file.lua", REPLACING.format(next=new, path=path))
    with edge_over(folder, path, IPGEO_LUA=lua) as edge:
        written = folder / "written"
        written.write_bytes(NEW)
        written.rename(new)
        wait.until(lambda: serves(edge, NEW), "it is served")
        assert not lines(edge, "[warn]")
        assert failure_of(edge) is None


def test_a_file_that_ends_while_it_is_read(folder: Path, path: Path) -> None:
    """It is the same again afterwards, to the nanosecond: it was never refused."""
    large = blobs.numbered(60_000)
    with edge_over(folder, path, IPGEO_LUA=slow_lua(folder), IPGEO_DICT_SIZE="16m") as edge:
        write_atomically(path, large)
        before = path.stat()
        wait.until(partial(has_begun, edge, 1), "the load is on its way")
        os.truncate(path, len(large) // 2)
        wait.until(lambda: lines(edge, f"{path} cannot be read: ended after"), "it is noticed")
        with path.open("r+b") as file:
            file.write(large)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        wait.until(lambda: serves(edge, large), "it is read again", seconds=20)
        wait_for_failure(edge, None)


def test_bad_bytes_stay_refused_over_a_failure(folder: Path, path: Path) -> None:
    with edge_over(folder, path) as edge:
        put_damaged(path)
        wait_for_failure(edge, "refused")
        aside = path.with_name("aside")
        path.rename(aside)
        wait_for_failure(edge, "unlinked")
        aside.rename(path)
        wait_for_failure(edge, "refused")
        assert failure_of(edge) == ("refused", "the checksum does not match: the blob is damaged")


# A path that leads to another place


@as_root
@pytest.mark.parametrize("how", ["replaced", "renamed"])
@pytest.mark.parametrize("closed_from_the_start", [False, True])
def test_a_link_above_that_leads_where_only_root_may_go(
    folder: Path, how: str, closed_from_the_start: bool
) -> None:
    top = folder / "top"
    for target, data in ((top / "v1", OLD), (top / "locked" / "v2", NEW)):
        target.mkdir(parents=True)
        (target / "served.blob").write_bytes(data)
    (top / "locked").chmod(0o700)
    current = top / "current"
    current.symlink_to("v1")
    if closed_from_the_start:
        top.chmod(0o700)
    with edge_over(folder, current / "served.blob", IPGEO_USER="www-data") as edge:
        wait_for_failure(edge, None)
        if how == "replaced":
            (top / "next").symlink_to("locked/v2")
            (top / "next").replace(current)
        else:
            current.rename(top / "before")
            current.symlink_to("locked/v2")
        wait_for_failure(edge, "moved")
        assert serves(edge, OLD)
        failure = failure_of(edge)
        assert failure
        assert "leads to another place" in failure[1]
        assert len(lines(edge, "served.blob cannot be followed: ")) == 1
        edge.hup()
        wait_for_failure(edge, None)
        assert serves(edge, NEW)
        write_atomically(top / "locked" / "v2" / "served.blob", OLD)
        wait.until(lambda: serves(edge, OLD), "the new place is watched from now on")


@as_root
def test_a_folder_above_that_has_been_replaced(folder: Path) -> None:
    top = folder / "top"
    target = top / "data"
    target.mkdir(parents=True)
    path = target / "served.blob"
    path.write_bytes(OLD)
    top.chmod(0o700)
    with edge_over(folder, path, IPGEO_USER="www-data") as edge:
        wait_for_failure(edge, None)
        target.rename(top / "before")
        target.mkdir()
        path.write_bytes(NEW)
        wait_for_failure(edge, "moved")
        shutil.rmtree(target)
        (top / "before").rename(target)
        wait_for_failure(edge, None)


def test_a_link_above_that_can_be_followed(folder: Path) -> None:
    """It is the normal way to publish: the new place is served, and nothing is wrong."""
    for name, data in (("v1", OLD), ("v2", NEW)):
        (folder / name).mkdir()
        (folder / name / "served.blob").write_bytes(data)
    current = folder / "current"
    current.symlink_to("v1")
    with edge_over(folder, current / "served.blob") as edge:
        for name, data in (("v2", NEW), ("v1", OLD), ("v2", NEW)):
            (folder / "next").symlink_to(folder / name)
            (folder / "next").replace(current)
            wait.until(partial(serves, edge, data), f"{name} is served")
            assert failure_of(edge) is None
        assert not lines(edge, "[warn]")
