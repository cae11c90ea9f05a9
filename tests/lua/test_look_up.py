"""Lookups and answers of the edge, under plain luajit, against what was written into the blobs."""

import random
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import blobs, luajit, shapes
from harness.parts import in_parts
from ipgeo.blob.body import Body, whole_answers
from ipgeo.blob.shape import Column, ColumnKind, Piece, PieceKind, Shape, Table
from ipgeo.blob.writer import write_blob
from ipgeo.places.answers import Answer
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.address import IPV4, IPV6, Family
from ipgeo.ranges.columns import IPV6_COUNT, LOW_BITS, Runs4, Runs6

ALL_IPV4 = Runs4(array("I", [0]), array("I", [0]))


def _answers(count: int) -> list[Answer]:
    return [Answer(b"[%d]" % n, b'"country":"%d"}' % n) for n in range(count)]


def _look_up(tmp_path: Path, data: bytes, digits: int, addresses: Sequence[int]) -> list[str]:
    """Look addresses up; return the lines of tests/lua/look_up.lua."""
    path = tmp_path / "look_up.blob"
    path.write_bytes(data)
    lines = "".join(f"{address:0{digits}x}\n" for address in addresses)
    return luajit.fed("look_up.lua", lines, path).splitlines()


def _edges(starts: Sequence[int], count: int) -> list[int]:
    """Return the addresses at, right before and right after each start, and the last one."""
    near = {start + step for start in starts for step in (-1, 0, 1)} | {count - 1}
    return sorted(address for address in near if 0 <= address < count)


def _runs6(starts: Sequence[int], ids: Sequence[int]) -> Runs6:
    highs = array("Q", (start >> 64 for start in starts))
    return Runs6(highs, array("Q", (start & LOW_BITS for start in starts)), array("I", ids))


SITE = 0x2001_0DB8_0000_0001 << 64


def _crowded(chance: random.Random) -> set[int]:
    """More runs in one bucket than 16 bits count."""
    return {0x2A02 << 112 | chance.getrandbits(48) << 64 for _ in range(70_000)}


def _tied(chance: random.Random) -> set[int]:
    """Thousands of runs in one /64, some of which differ in the last bit alone."""
    lows = {chance.getrandbits(64) for _ in range(3000)} | {0, LOW_BITS, 1 << 63, (1 << 63) - 1}
    return {SITE | low ^ bit for low in lows for bit in (0, 1)}


def _neighbours(_: random.Random) -> set[int]:
    """Upper halves that differ in the last bit alone, at both ends of a bucket and of all."""
    highs = {high ^ bit for high in (SITE >> 64, 0, 0x7FFF << 48, 0x8000 << 48) for bit in (0, 1)}
    highs |= {(1 << 64) - 1, (1 << 64) - 2, (1 << 63) - 1, 0x2001 << 48, (0x2001 << 48) - 1}
    return {high << 64 | low for high in highs for low in (0, 1, 1 << 63, LOW_BITS)}


def _scattered(chance: random.Random) -> set[int]:
    return {chance.getrandbits(128) for _ in range(5000)}


def _one(_: random.Random) -> set[int]:
    return set()


@pytest.mark.parametrize("make", [_crowded, _tied, _neighbours, _scattered, _one])
def test_ipv6_is_found_at_every_edge(tmp_path: Path, make: object) -> None:
    chance = random.Random(1)
    assert callable(make)
    starts = sorted({0, *make(chance)})
    ids = [n % 5 if n % 7 else NO_DATA for n in range(1, len(starts) + 1)]
    body = whole_answers(_answers(5), ["country"])
    data = write_blob(ALL_IPV4, body, {}, _runs6(starts, ids))
    addresses = _edges(starts, IPV6_COUNT)
    found = _look_up(tmp_path, data, 32, addresses)
    run = 0
    expected = []
    for address in addresses:  # both ascend
        while run + 1 < len(starts) and starts[run + 1] <= address:
            run += 1
        expected.append(-1 if ids[run] == NO_DATA else ids[run])
    assert [int(line.split("\t")[0]) for line in found] == expected


def test_without_ipv6_there_is_no_data(tmp_path: Path) -> None:
    found = _look_up(tmp_path, blobs.fictional(), 32, [0, 1, SITE, IPV6_COUNT - 1])
    assert found == ["-1"] * 4


@pytest.mark.parametrize(("family", "digits"), [(IPV4, 8), (IPV6, 32)])
@pytest.mark.parametrize(("rows", "max_arrays"), [(300, 0), (9000, 0), (300, 1 << 20)])
def test_answers_in_parts(
    tmp_path: Path, family: Family, digits: int, rows: int, max_arrays: int
) -> None:
    """The last ones have whole arrays, and only their objects in parts."""
    blob = in_parts(rows, max_arrays=max_arrays)
    runs = blob.v4 if family == IPV4 else blob.v6
    addresses = _edges([first for first, _, _ in runs], 1 << (4 * digits))
    expected = []
    for address in addresses:
        row = blob.row(family, address)
        if row is None:
            expected.append("-1")
            continue
        array_form, tail = blob.answer(row)
        expected.append(f'{row}\t{array_form.decode()}\t{{"ip":"A",{tail.decode()}')
    assert _look_up(tmp_path, blob.data, digits, addresses) == expected


def test_cells_of_each_width(tmp_path: Path) -> None:
    rows, entries = 1000, 70_000
    starts = array("I", range(0, rows * 65_000, 65_000))
    body = shapes.of_each_width(rows, entries)
    data = write_blob(Runs4(starts, array("I", range(rows))), body, {})
    expected = [
        f'{n}\t["{n * 7 % entries}"]\t{{"ip":"A","a":"{n * 5 % 256 + 1}",'
        f'"n":{(n * 1009 - 500_000) / 1000},"b":"{n % 256 + 2}"}}'
        for n in range(rows)
    ]
    assert _look_up(tmp_path, data, 8, starts) == expected


def test_the_row_number_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    """Rows without bytes, whose answers are not whole all the same."""
    constant, table = PieceKind.CONSTANT, PieceKind.TABLE
    shape = Shape(
        rows=3,
        row_size=0,
        columns=[Column(ColumnKind.ENTRY, 0, 0, 3)],
        tables=[Table(0, 3)],
        forms=[
            [Piece(constant, 0), Piece(table, 0), Piece(constant, 1)],
            [Piece(constant, 2), Piece(table, 0), Piece(constant, 6)],
        ],
    )
    texts = [b"[", b"]", b'"a":', b'"x"', b"1", b'"zzz"', b"}"]
    runs = Runs4(array("I", [0, 1, 2]), array("I", [0, 1, 2]))
    data = write_blob(runs, Body(shape, [], texts, ["a"]), {})
    expected = [f'{n}\t[{t}]\t{{"ip":"A","a":{t}}}' for n, t in enumerate(('"x"', 1, '"zzz"'))]
    assert _look_up(tmp_path, data, 8, [0, 1, 2]) == expected


EDGES = [0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 999_999, 1_000_000, 99_999_999]
EDGES += [100_000_000, 999_999_999, 1_000_000_000, 2_147_483_647]


def test_numbers() -> None:
    chance = random.Random(1)
    cells = {sign * (edge + step) for edge in EDGES for step in (-1, 0, 1) for sign in (-1, 1)}
    cells |= {chance.randrange(-1 << 31, 1 << 31) >> chance.randrange(32) for _ in range(20_000)}
    cells |= {number * 10**zeros for number in range(-99, 100) for zeros in range(8)}
    pairs = [
        (cell, decimals)
        for cell in sorted(cells | {-1 << 31})
        for decimals in range(10)
        if -1 << 31 <= cell < 1 << 31
    ]
    lines = "".join(f"{cell} {decimals}\n" for cell, decimals in pairs)
    found = luajit.fed("numbers.lua", lines).splitlines()
    assert found == [_number(cell, decimals) for cell, decimals in pairs]


def _number(cell: int, decimals: int) -> str:
    """Return the text that docs/blob-format.md wants, by decimal arithmetic on text."""
    if cell == -1 << 31:
        return "null"
    digits = str(abs(cell)).rjust(decimals + 1, "0")
    text = digits[: len(digits) - decimals]
    if decimals:
        text += "." + digits[len(digits) - decimals :]
        while text.endswith("0") and text[-2] != ".":
            text = text[:-1]
    return "-" + text if cell < 0 else text
