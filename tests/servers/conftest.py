"""Fixtures of several tests of servers; a module with other data has a fixture of its own."""

from pathlib import Path

import pytest

from harness import blobs


@pytest.fixture
def blob(folder: Path) -> Path:
    """The file of the fictional blob, in a folder of its own."""
    path = folder / "data" / "test.blob"
    path.parent.mkdir()
    path.write_bytes(blobs.fictional())
    return path
