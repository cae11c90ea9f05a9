"""Two slots of shared memory and their lock, used by several processes."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import blobs, luajit, wait
from ipgeo.blob.reader import Blob
from ipgeo.contract import MIN_ARENA
from ipgeo.release.shared_memory import size_for, slot_size

BYTES = 2 << 20


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return luajit.sparse(tmp_path / "memory", BYTES)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    path = tmp_path / "first.blob"
    path.write_bytes(blobs.fictional())
    return path


@pytest.fixture
def second(tmp_path: Path) -> Path:
    path = tmp_path / "second.blob"
    path.write_bytes(blobs.of_runs({"0.0.0.0": 0}))  # noqa: S104 - an address to look up
    return path


def _state(memory: Path) -> list[str]:
    return luajit.run("state.lua", memory, BYTES)


def _load(memory: Path, blob: Path) -> str:
    return luajit.run("loader.lua", memory, BYTES, blob, "finish")[0]


@pytest.fixture
def stopped(memory: Path, first: Path, second: Path) -> Iterator["subprocess.Popen[str]"]:
    """A loader of the second blob that has stopped in the middle, with the first one served."""
    assert _load(memory, first) == "1"
    loader = luajit.start("loader.lua", memory, BYTES, second, "stop")
    wait.until(lambda: _is_stopped(loader.pid), "the loader stops itself")
    yield loader
    loader.kill()
    loader.communicate()


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_generations_take_the_slots_in_turn(memory: Path, first: Path, second: Path) -> None:
    assert _state(memory)[:2] == ["0", "none"]
    for generation, path in enumerate((first, second, first), start=1):
        assert _load(memory, path) == str(generation)
        build_id = Blob(path.read_bytes()).build_id
        assert _state(memory)[:4] == [str(generation), build_id, "0", "0"]


def test_a_stopped_loader_keeps_the_lock_and_does_no_harm(
    memory: Path, first: Path, second: Path, stopped: "subprocess.Popen[str]"
) -> None:
    before = _state(memory)
    assert before[:2] == ["1", Blob(first.read_bytes()).build_id]
    assert _load(memory, second) == "busy"
    assert _state(memory) == before
    os.kill(stopped.pid, signal.SIGCONT)
    assert stopped.communicate(timeout=30)[0] == "2\n"
    assert _state(memory)[:2] == ["2", Blob(second.read_bytes()).build_id]
    assert _load(memory, first) == "3"


def test_the_lock_of_a_killed_loader_is_free_at_once(
    memory: Path, first: Path, second: Path, stopped: "subprocess.Popen[str]"
) -> None:
    stopped.kill()
    stopped.communicate()
    state = _state(memory)
    assert state[:4] == ["1", Blob(first.read_bytes()).build_id, "1", "0"]  # slot 0 is left odd
    assert _load(memory, second) == "2"
    assert _state(memory)[:4] == ["2", Blob(second.read_bytes()).build_id, "0", "0"]


def test_a_blob_larger_than_a_slot_is_refused(memory: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.blob"
    large.write_bytes(blobs.numbered(60_000))
    loader = luajit.start("loader.lua", memory, BYTES, large, "finish")
    err = loader.communicate(timeout=30)[1]
    assert f"{large.stat().st_size} bytes, a slot of the shared memory holds" in err
    assert _state(memory)[:2] == ["0", "none"]


def test_the_compiler_knows_the_size_of_a_slot(tmp_path: Path) -> None:
    sizes = [65536, MIN_ARENA - 1, MIN_ARENA, (1 << 20) + 4095, 10_000_001, 256 << 20, 1 << 30]
    memory = luajit.sparse(tmp_path / "large", max(sizes))
    printed = luajit.fed("arena_sizes.lua", "", memory, *sizes).splitlines()
    assert len(printed) == len(sizes)
    for size, line in zip(sizes, printed, strict=True):
        slot = slot_size(size)
        assert line == ("none" if slot is None else f"{slot} {size_for(slot)}")
        if slot is not None:
            enough = slot_size(size_for(slot))
            assert enough is not None
            assert enough >= slot
