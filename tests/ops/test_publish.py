"""Publishing a file: what is kept, what fails cleanly; readers never see half a file."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from harness import wait
from harness.compiler import PROGRAM, SAMPLE
from harness.rights import as_root
from ipgeo.blob.layout import MAGIC
from ipgeo.files.atomic import write_atomically

OLD, NEW = b"the old one", b"the new one"
LARGE = 8 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "served.blob"


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_new_file_is_readable_as_the_umask_allows(path: Path, umask: int) -> None:
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW
    assert mode(path) == 0o644 & ~umask
    assert names(path.parent) == [path.name]
    assert os.umask(umask) == umask, "it is what it was"


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o666, 0o444])
def test_the_mode_is_kept(path: Path, umask: int, kept: int) -> None:
    path.write_bytes(OLD)
    path.chmod(kept)
    write_atomically(path, NEW)
    assert (path.read_bytes(), mode(path)) == (NEW, kept)


@as_root
def test_the_owner_is_kept(path: Path) -> None:
    path.write_bytes(OLD)
    path.chmod(0o604)
    os.chown(path, 33, 34)
    write_atomically(path, NEW)
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode(path)) == (33, 34, 0o604)


def test_an_unprivileged_user_publishes_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _user: int, _group: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path.write_bytes(OLD)
    path.chmod(0o640)
    monkeypatch.setattr(os, "fchown", refuse)
    write_atomically(path, NEW)
    assert (path.read_bytes(), mode(path)) == (NEW, 0o640)


@pytest.mark.parametrize("relative", [True, False])
def test_a_symbolic_link_stays_one(tmp_path: Path, relative: bool) -> None:
    store = tmp_path / "store"
    store.mkdir()
    target = store / "target.blob"
    target.write_bytes(OLD)
    target.chmod(0o640)
    middle, link = tmp_path / "middle.blob", tmp_path / "link.blob"
    middle.symlink_to(target.relative_to(tmp_path) if relative else target)
    link.symlink_to(middle.name)
    write_atomically(link, NEW)
    assert (link.is_symlink(), middle.is_symlink(), target.is_symlink()) == (True, True, False)
    assert (target.read_bytes(), mode(target)) == (NEW, 0o640)
    assert names(store) == ["target.blob"]
    assert names(tmp_path) == ["link.blob", "middle.blob", "store"]


def test_the_target_of_a_dangling_link_is_created(path: Path) -> None:
    path.symlink_to("later.blob")
    write_atomically(path, NEW)
    assert names(path.parent) == ["later.blob", path.name]
    assert path.readlink() == Path("later.blob")
    assert path.read_bytes() == NEW


def test_the_steps_and_their_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        steps.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        fsync(descriptor)

    def watched_replace(source: str, target: Path) -> None:
        assert mode(Path(source)) == 0o600
        assert path.read_bytes() == OLD
        steps.append("rename")
        replace(source, target)

    path.write_bytes(OLD)
    path.chmod(0o600)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_atomically(path, NEW)
    assert steps == [f"{len(NEW)} bytes", "rename", "folder"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_leaves_everything_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool, step: str, error: BaseException
) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    if exists:
        path.write_bytes(OLD)
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, NEW)
    assert names(path.parent) == ([path.name] if exists else [])
    assert not exists or path.read_bytes() == OLD


def test_a_write_that_fails_in_the_middle(path: Path) -> None:
    """The disk may be full: here it is the size that a file may have."""
    old = MAGIC + OLD
    path.write_bytes(old)
    command = f"ulimit -f 64; exec '{PROGRAM}' build '{SAMPLE}' -o '{path}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"File too large" in done.stderr
    assert path.read_bytes() == old
    assert names(path.parent) == [path.name]


def contents(path: Path) -> bytes:
    """What is in the file, read at two times."""
    with path.open("rb") as file:
        return file.read(LARGE // 3) + file.read()


def test_a_reader_sees_no_half_file(path: Path) -> None:
    whole = [bytes([number]) * (LARGE // 4 + number) for number in range(3)]
    path.write_bytes(whole[0])
    satisfied, done = threading.Event(), threading.Event()

    def publish_often() -> None:
        try:
            for count in range(5000):
                write_atomically(path, whole[count % 3])
                if count >= 60 and satisfied.is_set():
                    return
        finally:
            done.set()

    publisher = threading.Thread(target=publish_often)
    publisher.start()
    seen = set()
    while not done.is_set():
        read = contents(path)
        assert read in whole
        seen.add(read)
        if len(seen) == 3:
            satisfied.set()
    publisher.join()
    assert len(seen) == 3


PUBLISH_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from ipgeo.files.atomic import write_atomically
for turn in count():
    write_atomically(Path(sys.argv[1]), b"AB"[turn % 2 :][:1] * int(sys.argv[2]))
"""


def test_a_killed_write_leaves_a_whole_file(path: Path) -> None:
    whole = [letter * LARGE for letter in (b"A", b"B")]
    path.write_bytes(whole[0])
    path.chmod(0o640)
    leftovers = 0
    for _ in range(16):
        before = set(names(path.parent))
        command = [sys.executable, "-c", PUBLISH_FOR_EVER, str(path), str(LARGE)]
        publisher = subprocess.Popen(command)
        try:
            wait.until(partial(is_writing, path.parent, before), "a file is written")
        finally:
            publisher.send_signal(signal.SIGKILL)
            publisher.wait()
        leftovers += len(set(names(path.parent)) - before)
        assert path.read_bytes() in whole
        assert mode(path) == 0o640
    assert leftovers > 0, "it was killed before the rename at least once"
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW


def is_writing(folder: Path, before: set[str]) -> bool:
    """Whether a temp file that was not there before has bytes already."""
    with contextlib.suppress(FileNotFoundError):  # it has been renamed
        return any((folder / name).stat().st_size for name in set(names(folder)) - before)
    return False
