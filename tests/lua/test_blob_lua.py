"""The edge's side of the blob format, under plain luajit."""

from array import array
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from harness import blobs, luajit, shapes
from harness.parts import in_parts
from harness.shapes import COLUMNS, COUNTS, FORMS, PIECES, TABLES
from harness.sources import patched
from ipgeo.blob.body import whole_answers
from ipgeo.blob.layout import seal
from ipgeo.blob.reader import Blob
from ipgeo.blob.writer import write_blob
from ipgeo.places.answers import Answer
from ipgeo.ranges.columns import Runs4, Runs6

BLOBS = {
    "whole": lambda: blobs.fictional(gap=True),
    "parts": lambda: in_parts(rows=40, runs4=50, runs6=50).data,
}


@pytest.fixture(scope="module", params=BLOBS)
def blob(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blob") / "hostile.blob"
    path.write_bytes(BLOBS[request.param]())
    return path


def test_flipped_bits_are_refused(blob: Path) -> None:
    assert luajit.run("hostile.lua", blob, 1, 5000, "raw") == ["5000", "0"]


def test_flipped_bits_under_a_right_checksum_are_refused_or_stay_inside(blob: Path) -> None:
    refused, accepted = map(int, luajit.run("hostile.lua", blob, 2, 5000, "sealed"))
    assert refused + accepted == 5000
    assert refused > 1000
    assert accepted > 100


def test_truncations_are_refused(blob: Path) -> None:
    assert luajit.run("hostile.lua", blob, 3, 2000, "cut") == ["2000", "0"]


def _check(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return "\t".join(luajit.run("check.lua", path))


@pytest.mark.parametrize("make", BLOBS.values(), ids=BLOBS)
def test_truncation_at_every_edge_of_a_section_is_refused(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    data = make()
    sections = Blob(data).sections
    for edge in {edge for s in sections for edge in (s.offset, s.offset + s.length)} - {len(data)}:
        sized = seal(patched(data[:edge], 16, edge.to_bytes(8, "little")))
        assert "refused" in _check(tmp_path / "cut.blob", sized)


@pytest.mark.parametrize(
    ("offset", "new", "problem"),
    [
        (0, b"X", "not an ipgeo blob: wrong magic"),
        (8, b"\1", "blob layout 1, this edge reads 2: build it again"),
        (8, b"\3", "blob layout 3, this edge reads 2"),
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


HUGE = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("word", "value", "problem"),
    [
        (COUNTS, 101, "section row does not fit the rows"),
        (COUNTS, HUGE, "shape has 4294967295 rows"),
        (COUNTS + 1, 13, "section row does not fit the rows"),
        (COUNTS + 1, 0, "section row is there, and shape has no bytes for a row"),
        (COUNTS + 2, 65, "shape has 65 columns"),
        (COUNTS + 2, 3, "shape does not have the length of its parts"),
        (COUNTS + 3, 257, "257 tables"),
        (COUNTS + 3, HUGE, "4294967295 tables"),
        (COUNTS + 4, 65, "65 forms"),
        (COUNTS + 4, 1, "1 forms"),
        (COUNTS + 5, 1025, "1025 pieces"),
        (COLUMNS, 2, "column 0 of shape is not valid"),
        (COLUMNS, 1, "column 0 of shape is not valid"),
        (COLUMNS + 1, 9, "column 0 of shape is not valid"),
        (COLUMNS + 1, HUGE, "column 0 of shape is not valid"),
        (COLUMNS + 1, 2, "columns 0 and 1 of shape overlap"),
        (COLUMNS + 2, 3, "column 0 of shape is not valid"),
        (COLUMNS + 2, 0, "column 0 of shape is not valid"),
        (COLUMNS + 3, 301, "table 0 of shape has more entries than there are texts"),
        (COLUMNS + 3, 0x80000000, "column 0 of shape is not valid"),
        (COLUMNS + 3, 250, "row 36 names an entry that is not there"),
        (COLUMNS + 4 * 2 + 2, 2, "column 2 of shape is not valid"),
        (COLUMNS + 4 * 2 + 3, 10, "column 2 of shape is not valid"),
        (COLUMNS + 4 * 3 + 3, 99, "row 99 names an entry that is not there"),
        (TABLES, 4, "table 0 of shape has no column of entries"),
        (TABLES, 2, "table 0 of shape has no column of entries"),
        (TABLES + 1, 7, "table 0 of shape has more entries than there are texts"),
        (TABLES + 1, HUGE, "table 0 of shape has more entries than there are texts"),
        (FORMS, 1, "form 0 of shape has no pieces of its own"),
        (FORMS + 1, 2, "form 1 of shape has no pieces of its own"),
        (FORMS + 1, 0, "form 0 of shape has no pieces of its own"),
        (FORMS + 3, 6, "a piece of shape belongs to no form"),
        (FORMS + 3, 8, "form 1 of shape has no pieces of its own"),
        (PIECES, 3, "piece 0 of shape is not valid"),
        (PIECES, 2, "piece 0 of shape is not valid"),
        (PIECES + 1, 306, "piece 0 of shape is not valid"),
        (PIECES + 1, HUGE, "piece 0 of shape is not valid"),
        (PIECES + 1, 2, "text 2 makes an answer that is not JSON"),
        (PIECES + 2 * 2 + 1, 0, "text 0 makes an answer that is not JSON"),
        (PIECES + 2 * 4 + 1, 3, "piece 4 of shape is not valid"),
        (PIECES + 2 * 6 + 1, 3, "piece 6 of shape is not valid"),
        (PIECES + 2 * 9, 1, "piece 9 of shape is not valid"),
    ],
)
def test_a_hostile_shape_is_named(tmp_path: Path, word: int, value: int, problem: str) -> None:
    data = shapes.reshaped(_of_each_width(), {word: value})
    assert problem in _check(tmp_path / "hostile.blob", data)


@cache
def _of_each_width() -> bytes:
    return write_blob(Runs4(array("I", [0]), array("I", [0])), shapes.of_each_width(100, 300), {})


def test_a_form_does_not_end_with_a_number(tmp_path: Path) -> None:
    data = shapes.reshaped(_of_each_width(), {PIECES + 2 * 2: 2, PIECES + 2 * 2 + 1: 2})
    assert "form 0 of shape begins or ends with a number" in _check(tmp_path / "end.blob", data)


def test_the_longest_answer(tmp_path: Path) -> None:
    right, wrong = (_of_length(length) for length in (65_535, 65_536))
    assert "sound" in _check(tmp_path / "longest.blob", right)
    assert "answers of 65536 bytes (limit 65535)" in _check(tmp_path / "longer.blob", wrong)


def _of_length(length: int) -> bytes:
    answers = [Answer(b"[]", b'"x":"%s"}' % (b"x" * (length - 7)))]
    return blobs.of_answers(array("I", [0]), array("I", [0]), answers)


SITE = 0x2001 << 48


@pytest.mark.parametrize(
    ("tag", "at", "new", "problem"),
    [
        ("v6index", 0, 1, "v6index does not span the runs"),
        ("v6index", 4, 0, "the first run of IPv6 does not start at ::"),
        ("v6index", 4 * 0x2002, 1, "a run of bucket 8194 of v6index does not start in it"),
        ("v6index", 4 * 0x2003, 0, "v6index descends"),
        ("v6high", 0, 1, "the first run of IPv6 does not start at ::"),
        ("v6high", 20, 0, "run 2 does not start after run 1"),
        ("v6low", 0, 1, "the first run of IPv6 does not start at ::"),
        ("v6low", 16, 7, "run 2 does not start after run 1"),
        ("v6record", 2, 0xFFFF0001, "run 2 names a row that is not there"),
    ],
)
def test_hostile_runs_of_ipv6(tmp_path: Path, tag: str, at: int, new: int, problem: str) -> None:
    runs = Runs6(array("Q", [0, SITE, SITE]), array("Q", [0, 7, 8]), array("I", [0, 1, 0]))
    answers = [Answer(b"[]", b'"x":1}')] * 2
    body = whole_answers(answers, ["x"])
    data = write_blob(Runs4(array("I", [0]), array("I", [0])), body, {}, runs)
    (section,) = (section for section in Blob(data).sections if section.tag == tag)
    assert "sound" in _check(tmp_path / "sound.blob", data)
    hostile = seal(patched(data, section.offset + at, new.to_bytes(4, "little")))
    assert problem in _check(tmp_path / "hostile.blob", hostile)


@pytest.mark.parametrize("tag", ["v6index", "v6high", "v6low", "v6record"])
def test_ipv6_is_there_whole_or_not_at_all(tmp_path: Path, tag: str) -> None:
    data = in_parts(rows=4, runs4=5, runs6=5).data
    unnamed = seal(data.replace(tag.encode().ljust(8, b"\0"), b"unknown\0", 1))
    assert f"section {tag} is missing" in _check(tmp_path / "half.blob", unnamed)


def test_memory_that_changes_while_it_is_checked(blob: Path, tmp_path: Path) -> None:
    """A process that shares it could overwrite it: nothing is read from outside even then."""
    memory = luajit.sparse(tmp_path / "memory", 2 << 20)
    results = luajit.run("changing.lua", blob, memory, 2 << 20)
    assert results == ["sound", "not opened"]


def test_memory_that_changes_after_the_check(tmp_path: Path) -> None:
    """No lookup reads or writes outside, whatever the sections are by then."""
    whole, parts = tmp_path / "whole.blob", tmp_path / "parts.blob"
    whole.write_bytes(blobs.fictional(gap=True))
    parts.write_bytes(in_parts().data)
    found, longest = map(int, luajit.run("overwritten.lua", 1, 300, whole, parts))
    assert found > 10_000
    assert longest == 65_535


@pytest.mark.parametrize("step", [1, 4000])
def test_a_check_pauses_after_little_work(tmp_path: Path, step: int) -> None:
    """Also where a few of the 65,536 buckets have all the runs."""
    count = 1_000_000
    starts = array("I", range(0, count * step, step))
    path = tmp_path / "large.blob"
    path.write_bytes(blobs.of_answers(starts, array("I", [0, 1] * (count // 2)), _answers()))
    (most,) = luajit.run("slices.lua", path)
    assert int(most) < 2500, "thousand instructions, some milliseconds without compiled code"


def _answers() -> list[Answer]:
    return [Answer(b'["%d"]' % n, b'"n":"%d"}' % n) for n in range(2)]
