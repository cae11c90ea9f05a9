"""No test is in a folder that pytest does not search."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from harness import ROOT

TESTS = ROOT / "tests"


def rooms() -> set[Path]:
    """The folders that hold tests."""
    return {path.parent for path in TESTS.rglob("*.py") if "def test_" in path.read_text()}


def test_pytest_recurses_into_each_folder(pytestconfig: pytest.Config) -> None:
    passed_over = pytestconfig.getini("norecursedirs")
    assert "build" in passed_over
    for room in rooms():
        for name in room.relative_to(TESTS).parts:
            assert not any(fnmatch(name, pattern) for pattern in passed_over)


def test_each_file_is_collected(pytestconfig: pytest.Config) -> None:
    patterns = pytestconfig.getini("python_files")
    for room in rooms():
        for path in room.glob("*.py"):
            if "def test_" in path.read_text():
                assert any(fnmatch(path.name, pattern) for pattern in patterns)


def test_a_room_has_a_marker(pytestconfig: pytest.Config) -> None:
    markers = {line.split(":")[0] for line in pytestconfig.getini("markers")}
    assert {room.name for room in rooms()} <= markers
