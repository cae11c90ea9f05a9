"""The edge's side of the blob format, under plain luajit."""

from pathlib import Path

import pytest

from harness import blobs, luajit
from harness.sources import patched
from ipgeo.blob.layout import seal
from ipgeo.blob.reader import Blob


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blob") / "fiction.blob"
    path.write_bytes(blobs.fictional(gap=True))
    return path


def test_flipped_bits_are_refused(blob: Path) -> None:
    assert luajit.run("hostile.lua", blob, 1, 5000, "raw") == ["5000", "0"]


def test_flipped_bits_under_a_mended_checksum_are_refused_or_stay_inside(blob: Path) -> None:
    refused, accepted = map(int, luajit.run("hostile.lua", blob, 2, 5000, "mended"))
    assert refused + accepted == 5000
    assert refused > 1000
    assert accepted > 100


def test_truncations_are_refused(blob: Path) -> None:
    assert luajit.run("hostile.lua", blob, 3, 2000, "cut") == ["2000", "0"]


def _check(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return "\t".join(luajit.run("check.lua", path))


def test_truncation_at_every_edge_of_a_section_is_refused(tmp_path: Path) -> None:
    data = blobs.fictional()
    sections = Blob(data).sections
    for edge in {edge for s in sections for edge in (s.offset, s.offset + s.length)} - {len(data)}:
        sized = seal(patched(data[:edge], 16, edge.to_bytes(8, "little")))
        assert "refused" in _check(tmp_path / "cut.blob", sized)


@pytest.mark.parametrize(
    ("offset", "new", "problem"),
    [
        (0, b"X", "not an ipgeo blob: wrong magic"),
        (8, b"\2", "blob layout 2, this edge reads 1"),
        (40, b"\xff\xff", "the checksum does not match"),
    ],
)
def test_damage_is_named(tmp_path: Path, offset: int, new: bytes, problem: str) -> None:
    data = patched(blobs.fictional(), offset, new)
    assert problem in _check(tmp_path / "damaged.blob", data)


def test_both_sides_name_the_same_build_id(tmp_path: Path) -> None:
    data = blobs.fictional()
    assert Blob(data).build_id in _check(tmp_path / "sound.blob", data)


def test_more_locations_than_16_bits_hold(tmp_path: Path) -> None:
    data = blobs.numbered(70_000)
    assert "70000 runs" in _check(tmp_path / "wide.blob", data)


def test_memory_that_changes_while_it_is_checked(blob: Path, tmp_path: Path) -> None:
    """As a process could do that shares it: nothing is read from outside all the same."""
    memory = luajit.sparse(tmp_path / "memory", 2 << 20)
    told = luajit.run("changing.lua", blob, memory, 2 << 20)
    assert told == ["sound", "not opened"]
