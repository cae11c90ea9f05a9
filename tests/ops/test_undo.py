"""A publication that fails in the middle is undone; one that cannot be synced is reported."""

import contextlib
import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.compiler import NOBODY, PROGRAM, compiler, unprivileged
from harness.rights import may_mount
from harness.sources import dat
from ipgeo.files.atomic import File, publish_all

DONE, BAD_INPUT, REFUSED = 0, 1, 3

CHINA = ("中国", "北京", "北京", "")
JAPAN = ("日本", "东京", "", "")


@pytest.fixture
def out(folder: Path) -> Path:
    """Two builds are published; the source of a third is beside them."""
    path = folder / "store" / "served.blob"
    path.parent.mkdir()
    for number in range(3):
        source = folder / "source.dat"
        source.write_bytes(dat([(0, CHINA), (0x01000000 + number, JAPAN)]))
        if number < 2:
            assert compiler(*command(path)).status == DONE
    return path


def command(out: Path) -> list[str]:
    return ["build", str(out.parent.parent / "source.dat"), "-o", str(out)]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.parent.iterdir()}


def beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def program(arguments: Sequence[str], *before: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*before, str(PROGRAM), *arguments],
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )


@contextlib.contextmanager
def immutable(path: Path) -> Iterator[None]:
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        pytest.skip("this file system, or this user, knows no immutable files")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


@pytest.mark.skipif(shutil.which("chattr") is None, reason="chattr is not installed")
@pytest.mark.parametrize("suffix", ["", ".json", ".previous"])
def test_an_immutable_file(out: Path, suffix: str) -> None:
    before = files(out)
    with immutable(beside(out, suffix)):
        done = program(command(out))
    path = beside(out, suffix)
    assert (done.returncode, done.stdout) == (BAD_INPUT, "")
    assert done.stderr == f"Error: {path}: Operation not permitted; nothing is changed\n"
    assert files(out) == before


@may_mount
@pytest.mark.parametrize("suffix", ["", ".json", ".previous"])
def test_a_file_of_another_user_in_a_sticky_folder(out: Path, suffix: str) -> None:
    """The kernel refuses the rename, as it does for an immutable file, on every file system."""
    path = beside(out, suffix)
    out.parent.chmod(0o1777)
    for name in ("", ".json", ".previous"):
        os.chown(beside(out, name), 0 if name == suffix else NOBODY, 0 if name == suffix else -1)
    before = files(out)
    done = unprivileged(*command(out))
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err == f"Error: {path}: Operation not permitted; nothing is changed\n"
    assert files(out) == before


MOUNT = """
mount --bind "$1" "$1" || exit 77
shift
exec "$@"
"""


@may_mount
@pytest.mark.parametrize("suffix", ["", ".json", ".previous", ".rolled-back"])
def test_a_mount_point_is_refused_before_the_work(out: Path, suffix: str) -> None:
    path = beside(out, suffix)
    path.touch()
    before = files(out)
    arguments = ["build", str(out.parent / "not looked at"), "-o", str(out)]
    done = program(arguments, "unshare", "-m", "bash", "-c", MOUNT, "bash", str(path))
    problem = "is a mount point and cannot be replaced; mount its folder instead"
    assert (done.returncode, done.stderr) == (BAD_INPUT, f"Error: {path}: {problem}\n")
    assert files(out) == before


@pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])
@pytest.mark.parametrize("failing", range(4))
def test_a_failed_rename_restores_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, links: bool
) -> None:
    """On a file system without hard links too."""
    paths = [tmp_path / name for name in "abcd"]
    for path in paths[:2]:
        path.write_text(f"old {path.name}")
        path.chmod(0o640)
        os.utime(path, (1000, 1000))
    before = {path: path.stat() for path in paths[:2]}
    replace = os.replace

    def fail(source: str, target: Path) -> None:
        if target == paths[failing] and not source.endswith(".ipgeo-old"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "replace", fail)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(OSError, match="error; nothing is changed") as failure:
        publish_all([File(path, b"new", (path,)) for path in paths])
    assert failure.value.filename == str(paths[failing])
    assert sorted(tmp_path.iterdir()) == paths[:2]
    for path, status in before.items():
        now = path.stat()
        assert path.read_text() == f"old {path.name}"
        assert (now.st_mode, now.st_mtime_ns) == (status.st_mode, status.st_mtime_ns)
        assert now.st_nlink == 1


def test_a_file_that_cannot_be_restored_is_named_with_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(f"old {path.name}")
    replace = os.replace
    done: list[Path] = []

    def fail_from_now_on(source: str, target: Path) -> None:
        if len(done) == 2:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_from_now_on)
    with pytest.raises(OSError, match="Read-only file system") as failure:
        publish_all([File(path, b"new", (path,)) for path in paths])
    kept = {name: next(tmp_path.glob(f".{name}.*.kept")) for name in "ab"}
    assert str(failure.value.strerror) == (
        "Read-only file system; a, b cannot be put back (Read-only file system);"
        f" the old a is kept as {kept['a']}; the old b is kept as {kept['b']}"
    )
    assert [path.read_text() for path in paths] == ["new", "new", "old c"]
    assert [kept[name].read_text() for name in "ab"] == ["old a", "old b"]
    assert not [*tmp_path.glob("*.ipgeo-*")]


def failing(_source: str, _target: Path) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail_halfway(out: Path, monkeypatch: pytest.MonkeyPatch, *, renaming: bool) -> Path:
    """Have a build fail after its first rename, and the undoing; return where the old file is."""
    replace = os.replace
    done_once: list[Path] = []

    def fail_after_one(source: str, target: Path) -> None:
        if done_once:
            failing(source, target)
        done_once.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail_after_one)
        if not renaming:
            patch.setattr(os, "rename", failing)
        done = compiler(*command(out))
    assert done.status == BAD_INPUT
    kept = Path(
        done.err.split(" is kept as ")[-1].removesuffix(" until the next build publishes\n").strip()
    )
    assert kept.is_file()
    return kept


def refused(out: Path) -> None:
    """Roll back to what is current, and build what a golden address refuses."""
    golden = out.parent.parent / "golden"
    golden.write_text("1.1.1.1\tnull\n")
    assert compiler("rollback", out).status == BAD_INPUT
    assert compiler(*command(out), "--expect", golden).status == REFUSED


@pytest.mark.parametrize("renaming", [True, False])
def test_the_kept_copy_survives_a_refused_build(
    out: Path, monkeypatch: pytest.MonkeyPatch, *, renaming: bool
) -> None:
    before = beside(out, ".previous").read_bytes()
    kept = fail_halfway(out, monkeypatch, renaming=renaming)
    assert beside(out, ".previous").read_bytes() == out.read_bytes()
    assert kept.read_bytes() == before
    refused(out)
    assert kept.read_bytes() == before


def test_the_kept_copy_survives_the_next_build(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = beside(out, ".previous").read_bytes()
    kept = fail_halfway(out, monkeypatch, renaming=True)
    assert compiler(*command(out)).status == DONE
    assert kept.read_bytes() == before


# Folders that cannot be synced


def refuse_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have fsync of folders fail, as on file systems that do not know it."""
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_a_warning(
    out: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_folders(monkeypatch, number)
    before = files(out)
    warning = (
        f"{out.parent} cannot be synced ({os.strerror(number)}):"
        " after a power loss the old file may be back"
    )
    done = compiler(*command(out))
    assert (done.status, done.err) == (DONE, f"Warning: {warning}\n")
    assert files(out)["served.blob.previous"] == before["served.blob"]
    done = compiler("rollback", out)
    assert (done.status, done.err) == (DONE, f"Warning: {warning}\n")
    assert files(out)["served.blob"] == before["served.blob"]
    export = ["export", out, "--format", "csv", "-o", out.parent / "csv"]
    assert compiler(*export) == (DONE, "", f"Warning: {warning}\n")
    done = compiler("sample", out.parent)
    assert (done.status, done.err) == (DONE, f"Warning: {warning}\n")


def test_the_warning_is_in_the_summary(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_folders(monkeypatch, errno.EINVAL)
    assert '"warnings": ["' in compiler(*command(out), "--json").out
    monkeypatch.undo()
    assert '"warnings": []' in compiler(*command(out), "--json", "--force").out
