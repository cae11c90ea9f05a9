"""Blobs whose answers are in parts, and of both families: what is written is read."""

import json
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.parts import InParts, in_parts
from ipgeo.blob.body import Body
from ipgeo.blob.layout import seal
from ipgeo.blob.numbers import NULL, number_text
from ipgeo.blob.reader import Blob
from ipgeo.blob.shape import (
    Column,
    ColumnKind,
    Piece,
    Shape,
    Table,
    decode_shape,
    encode_shape,
)
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.plan import plan_body
from ipgeo.contract import ARRAY_FIELDS
from ipgeo.errors import BlobError
from ipgeo.places.answers import answer_of
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.address import FAMILIES, IPV6
from ipgeo.ranges.columns import Runs4, Runs6

ALL = Runs4(array("I", [0]), array("I", [0]))


@pytest.fixture(scope="module", params=[500, 20_000], ids=["small tables", "large tables"])
def made(request: pytest.FixtureRequest) -> InParts:
    return in_parts(request.param)


def test_every_answer_is_put_together(made: InParts) -> None:
    blob = Blob(made.data)
    expected = [made.answer(row) for row in range(len(made.rows))]
    assert [blob.answer(row) for row in range(blob.rows)] == expected
    assert list(blob.answers()) == expected


def test_every_member_is_found(made: InParts) -> None:
    blob = Blob(made.data)
    objects = [json.loads(made.answer(row).object_without_ip) for row in range(blob.rows)]
    for field in blob.fields:
        assert blob.member(field) == [members[field] for members in objects]
    assert blob.member("nothing") == [None] * blob.rows


def test_every_run_of_both_families_is_found(made: InParts) -> None:
    blob = Blob(made.data)
    for family in FAMILIES:
        spans = list(blob.spans(family))
        assert spans[0][0] == 0
        assert spans[-1][1] == family.last
        for first, last, row in random.Random(1).sample(spans, 400):
            assert made.row(family, first) == made.row(family, last) == row
            assert blob.find(first, family) == blob.find(last, family) == row


def test_the_same_rows_give_the_same_bytes() -> None:
    assert in_parts().data == in_parts().data


def test_a_blob_without_ipv6_has_none() -> None:
    blob = Blob(write_blob(ALL, _body(), {}))
    assert blob.v6 is None
    assert blob.find(1 << 127, IPV6) is None
    assert list(blob.spans(IPV6)) == []


@given(st.sets(st.integers(1, IPV6.last) | st.integers(1, 1 << 66)), st.integers(0, IPV6.last))
def test_an_ipv6_address_has_the_run_before_it(starts: set[int], asked: int) -> None:
    ordered = sorted({0, *starts})
    highs = array("Q", (start >> 64 for start in ordered))
    lows = array("Q", (start % (1 << 64) for start in ordered))
    ids = array("I", (n % 2 for n in range(len(ordered))))
    blob = Blob(write_blob(ALL, _body(), {}, Runs6(highs, lows, ids)))
    for address in {asked, *starts, *(start - 1 for start in starts)}:
        run = max(n for n, start in enumerate(ordered) if start <= address)
        assert blob.find(address, IPV6) == run % 2


# Numbers


@pytest.mark.parametrize(
    ("cell", "decimals", "text"),
    [
        (0, 0, b"0"),
        (-7, 0, b"-7"),
        (0, 1, b"0.0"),
        (340, 1, b"34.0"),
        (340_000, 4, b"34.0"),
        (-5, 1, b"-0.5"),
        (-1, 9, b"-0.000000001"),
        (1_080_000_001, 7, b"108.0000001"),
        ((1 << 31) - 1, 9, b"2.147483647"),
        (1 - (1 << 31), 9, b"-2.147483647"),
        ((1 << 31) - 1, 0, b"2147483647"),
        (NULL, 0, b"null"),
        (NULL, 9, b"null"),
    ],
)
def test_numbers(cell: int, decimals: int, text: bytes) -> None:
    assert number_text(cell, decimals) == text
    assert len(text) <= 16


# Planning


def _rows(count: int, **texts: Callable[[int], str]) -> tuple[list[tuple[str, ...]], list[str]]:
    fields = [*ARRAY_FIELDS, *texts]
    rows = [tuple(texts[f](n) if f in texts else '""' for f in fields) for n in range(count)]
    return rows, fields


def _body() -> Body:
    rows, fields = _rows(2, time_zone=lambda n: f'"{n}"')
    return plan_body(rows, fields, max_arrays=0)


def _kinds(body: Body) -> list[tuple[int, int, int]]:
    return [(column.kind, column.width, column.limit) for column in body.shape.columns]


def test_few_answers_are_whole() -> None:
    rows, fields = _rows(100, time_zone=lambda n: f'"{n}"')
    shape = plan_body(rows, fields).shape
    assert (shape.row_size, list(shape.columns)) == (0, [Column(ColumnKind.ENTRY, 0, 0, 100)])


@pytest.mark.parametrize(
    ("max_whole", "max_arrays", "columns"),
    [
        (25 + 134, 25, [(ColumnKind.ENTRY, 0, 300)]),
        (25 + 133, 25, [(ColumnKind.ENTRY, 2, 300), (ColumnKind.ENTRY, 0, 300)]),
        (25 + 133, 24, [(ColumnKind.ENTRY, 2, 300)]),
    ],
)
def test_arrays_stay_whole_longer_than_objects(
    max_whole: int, max_arrays: int, columns: list[tuple[int, int, int]]
) -> None:
    """Limits in bytes of an answer: an array has 25, an object 134."""
    rows, fields = _rows(300, time_zone=lambda n: f'"{n:03}"')
    answers = [answer_of(row, fields) for row in rows]
    assert {tuple(map(len, answer)) for answer in answers} == {(25, 134)}
    limits = {"max_whole": max_whole * 300, "max_arrays": max_arrays * 300}
    body = plan_body(rows, fields, **limits)
    assert _kinds(body) == columns
    assert list(Blob(write_blob(ALL, body, {})).answers()) == answers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (lambda n: f"{n}.5", (ColumnKind.NUMBER, 4, 1)),
        (lambda n: f"-{n}.25" if n else "null", (ColumnKind.NUMBER, 4, 2)),
        (lambda n: f"{n}.0000001", (ColumnKind.ENTRY, 2, 300)),
        (lambda n: f"{n}e-5", (ColumnKind.ENTRY, 2, 300)),
        (lambda n: f"{n}.5" if n else "0", (ColumnKind.ENTRY, 2, 300)),
        (lambda n: f"{n}.5" if n else "-0.0", (ColumnKind.ENTRY, 2, 300)),
        (lambda n: f"{n + 1}00000000.5", (ColumnKind.ENTRY, 2, 300)),
    ],
)
def test_degrees_are_numbers_if_each_is_written_so(
    text: Callable[[int], str], expected: tuple[int, int, int]
) -> None:
    rows, fields = _rows(300, latitude=text)
    body = plan_body(rows, fields, max_arrays=0)
    assert _kinds(body) == [expected]
    blob = Blob(write_blob(ALL, body, {}))
    assert list(blob.answers()) == [answer_of(row, fields) for row in rows]


def test_what_follows_from_a_place_shares_its_column() -> None:
    rows, fields = _rows(
        1000,
        country=lambda n: f'"{n % 10}"',
        continent_code=lambda n: f'"{n % 10 % 3}"',
        time_zone=lambda n: f'"{n}"',
    )
    assert _kinds(plan_body(rows, fields, max_arrays=0)) == [
        (ColumnKind.ENTRY, 2, 1000),
        (ColumnKind.ENTRY, 1, 10),
    ]


# Shapes that lead out of the blob

SHAPE = Shape(
    rows=2,
    row_size=7,
    columns=[Column(1, 0, 4, 3), Column(0, 4, 2, 3), Column(0, 6, 1, 2)],
    tables=[Table(1, 0), Table(2, 3)],
    forms=[
        [Piece(0, 5), Piece(1, 0), Piece(0, 6)],
        [Piece(0, 7), Piece(1, 0), Piece(0, 8), Piece(2, 0), Piece(0, 9), Piece(1, 1)],
    ],
)
CELLS = [array("i", [1500, NULL]), array("H", [2, 0]), array("B", [1, 0])]
TEXTS = [b'"a"', b'"b"', b'"\\n"', b'"c":1}', b'"c":null}', b"[", b"]", b'"a":', b',"b":', b","]


def _blob(shape: Shape = SHAPE, texts: Sequence[bytes] = TEXTS) -> bytes:
    return write_blob(ALL, Body(shape, CELLS, texts, ["a", "b", "c"]), {})


def test_a_shape_made_by_hand() -> None:
    blob = Blob(_blob())
    assert [tuple(answer) for answer in blob.answers()] == [
        (b'["\\n"]', b'"a":"\\n","b":1.5,"c":null}'),
        (b'["a"]', b'"a":"a","b":null,"c":1}'),
    ]
    assert decode_shape(encode_shape(SHAPE), len(TEXTS)) == SHAPE


def _changed(data: bytes, tag: str, word: int, value: int) -> bytes:
    """Return a blob in whose section one u32 is another one, sealed."""
    section = next(s for s in Blob(data).sections if s.tag == tag)
    changed = bytearray(data)
    at = section.offset + 4 * word
    changed[at : at + 4] = value.to_bytes(4, "little")
    return seal(bytes(changed))


WORDS = encode_shape(SHAPE)
HOSTILE = {
    "more rows": (0, 3, "section row has 14 bytes, the rows have 21"),
    "wider rows": (1, 8, "section row has 14 bytes, the rows have 16"),
    "no bytes a row": (1, 0, "column 0 passes the row's end"),
    "no bytes in a column": (12, 0, "column 1 has a kind"),
    "65 columns": (2, 65, "65 columns, a blob has at most 64"),
    "257 tables": (3, 257, "257 tables, a blob has at most 256"),
    "65 forms": (4, 65, "65 forms, a blob has at most 64"),
    "1025 pieces": (5, 1025, "1025 pieces, a blob has at most 1024"),
    "a column less": (2, 2, "the shape has"),
    "a piece less": (5, 8, "the shape has"),
    "a third kind of column": (6, 2, "column 0 has a kind"),
    "a number of 2 bytes": (8, 2, "column 0 has a kind"),
    "ten decimals": (9, 10, "column 0 has a kind"),
    "an entry of 3 bytes": (12, 3, "column 1 has a kind"),
    "a column past the row": (15, 7, "column 2 passes the row's end"),
    "a column far past the row": (15, 0xFFFFFFFF, "column 2 passes the row's end"),
    "overlapping columns": (15, 5, "column 2 overlaps another one"),
    "more entries": (13, 11, "table 0 passes the last text"),
    "fewer entries": (13, 2, "column 1 names an entry that is not there"),
    "no entries": (17, 0, "column 2 names an entry that is not there"),
    "a table of no column": (18, 3, "table 0 is of no column of entries"),
    "a table of numbers": (18, 0, "table 0 is of no column of entries"),
    "a table past the texts": (21, 9, "table 1 passes the last text"),
    "a table far past the texts": (21, 0xFFFFFFFF, "table 1 passes the last text"),
    "a form that begins late": (22, 1, "form 0 is not the next pieces"),
    "a form without pieces": (23, 0, "form 0 is not the next pieces"),
    "forms that overlap": (24, 2, "form 1 is not the next pieces"),
    "a form past the pieces": (25, 7, "form 1 is not the next pieces"),
    "a piece too many": (25, 5, "the forms have 8 pieces of 9"),
    "a fourth kind of piece": (26, 3, "a piece of kind 3"),
    "a text that is not there": (27, 10, "a piece of kind 0 is number 10, which is not there"),
    "a table that is not there": (29, 2, "a piece of kind 1 is number 2, which is not there"),
    "a number of entries": (39, 1, "a piece of kind 2 is number 1, which is not there"),
    "an array that is not closed": (31, 9, "the array answers are not JSON arrays of values"),
    "a value without a member": (37, 9, "the object answers are not JSON objects of values"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_shape_is_refused(name: str) -> None:
    word, value, problem = HOSTILE[name]
    assert WORDS[word] != value
    with pytest.raises(BlobError, match=problem):
        Blob(_changed(_blob(), "shape", word, value))


def test_every_word_of_the_shape_changed_is_refused_or_stays_inside() -> None:
    data = _blob()
    for word, before in enumerate(WORDS):
        for value in {0, 1, 2, 3, 5, before + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF} - {before}:
            try:
                blob = Blob(_changed(data, "shape", word, value))
            except BlobError:
                continue
            for answer in blob.answers():
                json.loads(answer.array)
                json.loads(answer.object_form("1.2.3.4"))


@pytest.mark.parametrize(
    ("number", "text", "problem"),
    [
        (1, b'"b', "text 1 is no JSON as text 0 is"),
        (1, b'"b","c"', "text 1 is no JSON as text 0 is"),
        (1, b"", "text 1 is no JSON as text 0 is"),
        (1, b"01", "text 1 is no JSON as text 0 is"),
        (1, b"-", "text 1 is no JSON as text 0 is"),
        (1, b"NaN", "text 1 is no JSON as text 0 is"),
        (1, b'"\\x"', "text 1 is no JSON as text 0 is"),
        (1, b"1" * 5000, "text 1 is no JSON as text 0 is"),
        (1, b'"\\ud800"', "text 1 has half a character"),
        (1, b'"\n"', "byte 4 of the heap is a control character"),
        (1, b'"\xff"', "byte 4 of the heap is not UTF-8"),
        (4, b'"d":null}', "text 4 is no JSON as text 3 is"),
        (0, b"a", "text 0 is not JSON at byte 0"),
        (5, b"", "the array answers are not JSON arrays"),
        (5, b" [", "the array answers are not JSON arrays"),
        (5, b"[[", "the array answers are not JSON arrays"),
        (5, b"[" * 40_000, "the array answers are not JSON arrays"),
        (7, b'"b":', "the object answers have other members than the metadata"),
        (7, b"1:", "the object answers are not JSON objects"),
        (7, b'{"a":', "the object answers are not JSON objects"),
        (7, b'"a":' + b"[" * 40_000, "the object answers are not JSON objects"),
        (1, b'"' + b"x" * 65_532 + b'"', r"answers of 65536 bytes \(limit 65535\)"),
    ],
)
def test_a_hostile_text_is_refused(number: int, text: bytes, problem: str) -> None:
    texts = [text if n == number else known for n, known in enumerate(TEXTS)]
    with pytest.raises(BlobError, match=problem):
        Blob(_blob(texts=texts))


def test_two_values_side_by_side_are_no_value() -> None:
    """1 and 2 would be 12, but a text after a text is no JSON: what a row has must not matter."""
    texts = [b"1", b"2", b"3", *TEXTS[3:]]
    array_form = [Piece(0, 5), Piece(1, 0), Piece(1, 0), Piece(0, 6)]
    with pytest.raises(BlobError, match="the array answers are not JSON arrays of values"):
        Blob(_blob(replace(SHAPE, forms=[array_form, SHAPE.forms[1]]), texts))


def test_a_member_that_occurs_twice_is_refused() -> None:
    texts = [*TEXTS[:8], b',"a":', TEXTS[9]]
    data = write_blob(ALL, Body(SHAPE, CELLS, texts, ["a", "a", "c"]), {})
    with pytest.raises(BlobError, match="a member occurs twice"):
        Blob(data)


# Runs of IPv6


def _both() -> bytes:
    starts = [0, 0x2001 << 112, (0x2001 << 112) + 1, 0x2001 << 112 | 1 << 64, 0x2A02 << 112]
    highs = array("Q", (start >> 64 for start in starts))
    lows = array("Q", (start % (1 << 64) for start in starts))
    return write_blob(ALL, _body(), {}, Runs6(highs, lows, array("I", [NO_DATA, 0, 1, 0, NO_DATA])))


@pytest.mark.parametrize(
    ("tag", "word", "value", "problem"),
    [
        ("v6high", 0, 1, "the first run does not start at ::"),
        ("v6low", 0, 1, "the first run does not start at ::"),
        ("v6low", 4, 0, "run 2 does not start after run 1"),
        ("v6high", 3, 0x2001_0001, "run 2 does not start after run 1"),
        ("v6high", 3, 0x2002_0000, "run 2 does not start after run 1"),
        ("v6high", 9, 0x2A03_0000, "v6index has runs in bucket 10754 that start elsewhere"),
        ("v6index", 1, 0, "the first run does not start at ::"),
        ("v6index", 0x2001, 2, "v6index has runs in bucket 8192 that start elsewhere"),
        ("v6index", 0x2002, 0, "v6index descends"),
        ("v6index", 65_536, 4, "v6index does not span the runs"),
        ("v6record", 0, 3, "v6record names a row that is not there"),
    ],
)
def test_hostile_runs_are_refused(tag: str, word: int, value: int, problem: str) -> None:
    assert Blob(_both()).families == {"IPv4": 1, "IPv6": 5}
    with pytest.raises(BlobError, match=problem):
        Blob(_changed(_both(), tag, word, value))


def test_some_sections_of_ipv6_are_not_enough() -> None:
    data = _both().replace(b"v6low\0\0\0", b"v7low\0\0\0", 1)
    with pytest.raises(BlobError, match="section v6low is missing"):
        Blob(seal(data))


# Flipped bits


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bits_under_a_valid_seal_are_refused_or_harmless(seed: int) -> None:
    made = in_parts(40, 60, 60)
    chance = random.Random(seed)
    places = [range(s.offset, s.offset + s.length) for s in Blob(made.data).sections]
    accepted = 0
    for _ in range(400):
        mutant = bytearray(made.data)
        for offset in chance.sample(chance.choice(places), chance.choice((1, 1, 3))):
            mutant[offset] ^= 1 << chance.randrange(8)
        try:
            blob = Blob(seal(bytes(mutant)))
        except BlobError:
            continue
        accepted += 1
        for answer in blob.answers():
            assert isinstance(json.loads(answer.array), list)
            assert isinstance(json.loads(answer.object_form("::1")), dict)
        for family in FAMILIES:
            for first, last, row in blob.spans(family):
                assert blob.find(first, family) == blob.find(last, family) == row
    assert 0 < accepted < 400
