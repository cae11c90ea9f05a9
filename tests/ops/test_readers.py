"""Which users may read a published file: the old one's readers and the servers, or a warning."""

import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.compiler import NOBODY, SAMPLE, build, compiler, unprivileged
from harness.rights import as_root
from harness.sources import dat

DONE, BAD_INPUT = 0, 1

CHINA = ("中国", "北京", "北京", "")


def servers_user() -> pwd.struct_passwd:
    """The servers' default user, or its substitute on this machine."""
    try:
        return pwd.getpwnam("www-data")
    except KeyError:
        return pwd.getpwnam("nobody")


USER = servers_user()
GROUP = grp.getgrgid(USER.pw_gid).gr_name


@pytest.fixture(autouse=True)
def _user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPGEO_USER", USER.pw_name)


@pytest.fixture
def out(folder: Path) -> Path:
    """A path for a blob, in a folder that all users may enter; the source is beside the folder."""
    (folder / "source.dat").write_bytes(dat([(0, CHINA)]))
    store = folder / "store"
    store.mkdir(mode=0o755)
    return store / "served.blob"


def command(out: Path) -> list[object]:
    return ["build", out.parent.parent / "source.dat", "-o", out, "--force"]


def readable_to_the_servers(path: Path) -> bool:
    """Ask the kernel."""
    script = "import os, sys; os.open(sys.argv[1], os.O_RDONLY)"
    drop = ["setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--init-groups"]
    system_python = shutil.which("python3", path="/usr/bin:/bin")
    read = [system_python, "-c", script] if system_python else ["cat"]
    done = subprocess.run([*drop, *read, str(path)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


# By root


@as_root
def test_a_first_build_under_an_umask(out: Path, umask: int) -> None:
    done = compiler(*command(out))
    mode = 0o644 & ~umask
    assert done.status == DONE
    assert stat.S_IMODE(out.stat().st_mode) == mode
    warning = (
        f"Warning: {out}: published, but the servers cannot read it:"
        f" {USER.pw_name} may not read it (mode {mode:04o}): chmod o+r {out}\n"
    )
    assert done.err == ("" if umask == 0o022 else warning)
    assert readable_to_the_servers(out) == (done.err == "")


@as_root
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("mode", "owner", "group", "change"),
    [
        (0o700, 0, 0, "o+x"),
        (0o700, USER.pw_uid, 0, ""),
        (0o750, 0, USER.pw_gid, ""),
        (0o704, 0, USER.pw_gid, "g+x"),
        (0o711, 0, 0, ""),
        (0o074, USER.pw_uid, 0, "u+x"),
    ],
)
def test_the_folder(
    out: Path, *, mode: int, owner: int, group: int, change: str, first: bool
) -> None:
    if not first:
        assert compiler(*command(out)).err == ""
    out.parent.chmod(mode)
    os.chown(out.parent, owner, group)
    done = compiler(*command(out))
    assert done.status == DONE
    problem = f"{USER.pw_name} may not enter its folder (mode {mode:04o}): chmod {change}"
    assert done.err.endswith(f": {problem} {out.parent}\n" if change else "")
    assert bool(done.err) == bool(change)
    assert readable_to_the_servers(out) == (not change)


@as_root
def test_the_chmod_that_the_warning_names_helps(out: Path) -> None:
    before = os.umask(0o077)
    try:
        out.parent.chmod(0o700)
        for _ in range(2):
            warning = compiler(*command(out)).err
            assert not readable_to_the_servers(out)
            subprocess.run(warning.strip().split(": ")[-1].split(), check=True)
        assert compiler(*command(out)).err == ""
        assert readable_to_the_servers(out)
    finally:
        os.umask(before)


@as_root
def test_a_rollback_warns_too(out: Path) -> None:
    for number in range(2):
        (out.parent.parent / "source.dat").write_bytes(
            dat([(0, CHINA), (9 + number, CHINA[:1] * 4)])
        )
        assert compiler(*command(out)).err == ""
    out.chmod(0o600)
    assert f"{USER.pw_name} may not read it (mode 0600)" in compiler("rollback", out).err


@as_root
def test_a_link_needs_both_folders(out: Path, folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    link = closed / "link.blob"
    link.symlink_to(out)
    done = compiler("build", SAMPLE, "-o", link)
    assert f"may not enter its folder (mode 0700): chmod o+x {closed}\n" in done.err


@as_root
@pytest.mark.parametrize(("mode", "change"), [(0o700, "o+x"), (0o704, "o+x"), (0o711, "")])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_folder_between_two_links(
    out: Path, folder: Path, *, mode: int, change: str, absolute: bool
) -> None:
    middle = folder / "middle"
    middle.mkdir()
    middle.chmod(mode)
    way = folder if absolute else Path("..")
    (middle / "second.blob").symlink_to(way / "store" / out.name)
    first = folder / "entered"
    first.mkdir(mode=0o755)
    (first / "first.blob").symlink_to(way / "middle" / "second.blob")
    done = compiler("build", SAMPLE, "-o", first / "first.blob", "--json")
    assert summary(done)["readable"]["state"] == ("no" if change else "yes")
    assert done.err.endswith(f"chmod {change} {middle}\n" if change else "")
    assert readable_to_the_servers(first / "first.blob") == (not change)


@as_root
def test_a_folder_that_a_link_passes_by_dots(out: Path, folder: Path) -> None:
    """To look up `..` in a folder is to enter it."""
    (folder / "closed").mkdir(mode=0o700)
    link = out.with_name("link.blob")
    link.symlink_to(Path("../closed/..") / "store" / out.name)
    done = compiler("build", SAMPLE, "-o", link)
    assert done.err.endswith(f": chmod o+x {folder / 'closed'}\n")
    assert not readable_to_the_servers(link)


@as_root
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o664])
def test_the_group_has_less_than_the_others(out: Path, mode: int) -> None:
    build(out)
    os.chown(out, 0, USER.pw_gid)
    out.chmod(mode)
    done = compiler(*command(out), "--json")
    assert (summary(done)["readable"]["state"] == "yes") == readable_to_the_servers(out)
    assert bool(done.err) == (not readable_to_the_servers(out))


@as_root
def test_the_group_may_not_enter_what_the_others_may(out: Path) -> None:
    os.chown(out.parent, 0, USER.pw_gid)
    out.parent.chmod(0o705)
    done = compiler(*command(out))
    assert done.err.endswith(f"(mode 0705): chmod g+x {out.parent}\n")
    assert not readable_to_the_servers(out)


@as_root
def test_without_a_user_readability_is_unknown_unless_all_may_read(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPGEO_USER", "nobody-here")
    build(out)
    os.chown(out, 0, USER.pw_gid)
    out.chmod(0o604)
    done = compiler(*command(out), "--json")
    assert summary(done)["readable"]["state"] == "unknown"


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """Return an access list, version 2, of (tag, rights, number of the user or -1)."""
    return (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little")
        + right.to_bytes(2, "little")
        + (user % 2**32).to_bytes(4, "little")
        for tag, right, user in entries
    )


def set_access_list(path: Path, acl: bytes) -> None:
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("this file system knows no access lists")


@as_root
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_an_access_list_that_refuses_is_noticed(out: Path, closed: str) -> None:
    """It allows less than the mode: owner rwx, the servers' user nothing, all others r-x."""
    build(out)
    path = out if closed == "file" else out.parent
    entries = [(1, 7, -1), (2, 0, USER.pw_uid), (4, 5, -1), (0x10, 5, -1), (0x20, 5, -1)]
    set_access_list(path, access_list(*entries))
    assert not readable_to_the_servers(out)
    done = compiler(*command(out), "--json")
    readable = summary(done)["readable"]
    assert (readable["state"], readable["detail"]) == ("unknown", f"{path} has an access list")


def summary(done: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out)
    return found


@as_root
def test_the_summary_has_the_readability(
    out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = compiler(*command(out), "--json")
    user = {"user": USER.pw_name}
    assert summary(done)["readable"] == user | {"state": "yes", "detail": ""}
    assert summary(done)["warnings"] == []
    out.chmod(0o600)
    done = compiler(*command(out), "--json")
    detail = f"{USER.pw_name} may not read it (mode 0600): chmod o+r {out}"
    assert summary(done)["readable"] == user | {"state": "no", "detail": detail}
    assert [f"Warning: {line}" for line in summary(done)["warnings"]] == [done.err.rstrip()]
    out.chmod(0o644)
    folder.chmod(0o700)
    done = compiler(*command(out), "--json")
    detail = f"{folder} is closed to others: only a server that is started as root reads it"
    assert summary(done)["readable"] == user | {"state": "yes", "detail": detail}
    assert done.err == "", "script/server in a checkout of root's serves it"
    folder.chmod(0o755)
    out.chmod(0o640)
    monkeypatch.setenv("IPGEO_USER", "nobody-here")
    done = compiler(*command(out), "--json")
    assert summary(done)["readable"] == {
        "user": "nobody-here",
        "state": "unknown",
        "detail": "there is no user nobody-here",
    }


@as_root
def test_an_access_list_is_kept(out: Path) -> None:
    build(out)
    out.chmod(0o600)
    # Version 2; owner rw-, the servers' user r--, group ---, mask r--, others ---.
    entries = [(1, 6, -1), (2, 4, USER.pw_uid), (4, 0, -1), (0x10, 4, -1), (0x20, 0, -1)]
    set_access_list(out, access_list(*entries))
    assert readable_to_the_servers(out)
    done = compiler(*command(out), "--json")
    assert done.err == ""
    assert summary(done)["readable"]["detail"] == f"{out} has an access list"
    assert readable_to_the_servers(out)


# By others


@pytest.fixture
def theirs(out: Path) -> Path:
    """A blob in a folder of the user without rights."""
    os.chown(out.parent, NOBODY, NOBODY)
    build(out)
    for path in out.parent.iterdir():
        os.chown(path, NOBODY, NOBODY)
    return out


@as_root
@pytest.mark.parametrize(
    ("mode", "owner", "group", "lost"),
    [
        (0o640, 0, USER.pw_gid, f"its group {GROUP} could not"),
        (0o600, USER.pw_uid, USER.pw_gid, f"its owner {USER.pw_name} could not"),
        (0o400, USER.pw_uid, NOBODY, f"its owner {USER.pw_name} could not"),
        (0o644, 0, USER.pw_gid, ""),
        (0o604, USER.pw_uid, USER.pw_gid, ""),
        (0o600, 0, 0, ""),
        (0o640, 0, NOBODY, ""),
        (0o640, NOBODY, NOBODY, ""),
    ],
)
def test_readers_of_the_old_file_can_read_the_new_one(
    theirs: Path, *, mode: int, owner: int, group: int, lost: str
) -> None:
    os.chown(theirs, owner, group)
    theirs.chmod(mode)
    before = {path: path.read_bytes() for path in theirs.parent.iterdir()}
    could = readable_to_the_servers(theirs)
    missing = theirs.parent.parent / "not looked at"
    done = unprivileged("build", missing, "-o", theirs)
    if lost:
        assert (done.status, done.out) == (BAD_INPUT, "")
        assert done.err.startswith(f"Error: {theirs}: {lost} read the new file (mode {mode:04o})")
        assert {path: path.read_bytes() for path in theirs.parent.iterdir()} == before
        return
    done = unprivileged(*command(theirs))
    assert done.status == DONE
    assert theirs.read_bytes() != before[theirs]
    assert readable_to_the_servers(theirs) or not could


@as_root
def test_a_rollback_keeps_the_readers_too(theirs: Path) -> None:
    assert unprivileged(*command(theirs)).status == DONE
    os.chown(theirs, 0, USER.pw_gid)
    theirs.chmod(0o640)
    before = {path: path.read_bytes() for path in theirs.parent.iterdir()}
    done = unprivileged("rollback", theirs)
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert f"{theirs}: its group {GROUP} could not read the new file (mode 0640)" in done.err
    assert {path: path.read_bytes() for path in theirs.parent.iterdir()} == before


def test_unknown_readability_is_reported_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an unknown user: the servers may run as the building one."""
    monkeypatch.delenv("IPGEO_USER")
    detail = "its mode is 0600: servers that run as another user may not read it"
    if os.geteuid() == 0:
        monkeypatch.setenv("IPGEO_USER", "nobody-here")
        detail = "there is no user nobody-here"
    before = os.umask(0o077)
    try:
        done = compiler(*command(out), "--json")
    finally:
        os.umask(before)
    assert done.status == DONE
    assert summary(done)["readable"]["state"] == "unknown"
    warning = f"{out}: published, but perhaps the servers cannot read it: {detail}"
    assert summary(done)["warnings"] == [warning]
    assert done.err == f"Warning: {warning}\n"
    assert compiler(*command(out)).err == "", "the next one keeps the readers"


@as_root
def test_another_users_private_file_is_reported_too(out: Path) -> None:
    os.chown(out.parent, NOBODY, NOBODY)
    before = os.umask(0o077)
    try:
        done = unprivileged(*command(out), IPGEO_USER="")
    finally:
        os.umask(before)
    assert done.status == DONE
    assert done.err.endswith("its mode is 0600: servers that run as another user may not read it\n")


# Whether an edge has room for it


@pytest.mark.parametrize(
    ("size", "holds"), [("", None), ("64k", None), ("1m", None), ("512k", 225_280)]
)
def test_a_blob_larger_than_the_edge_holds(
    out: Path, monkeypatch: pytest.MonkeyPatch, size: str, holds: int | None
) -> None:
    monkeypatch.setenv("IPGEO_DICT_SIZE", size)
    done = compiler(*command(out), "--json")
    length = out.stat().st_size
    warning = (
        f"{out}: published, but an edge with IPGEO_DICT_SIZE={size} refuses it: {length} bytes,"
        f" a slot of the shared memory holds {holds}: set IPGEO_DICT_SIZE=1m or more"
    )
    assert (done.status, done.err) == (DONE, f"Warning: {warning}\n" if holds else "")
    assert summary(done)["warnings"] == ([warning] if holds else [])


def test_a_size_of_shared_memory_that_is_none(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPGEO_DICT_SIZE", "1t")
    done = compiler(*command(out))
    assert done.status == DONE
    assert "room for it is unknown: IPGEO_DICT_SIZE must be a size from 64k to 16384m" in done.err
