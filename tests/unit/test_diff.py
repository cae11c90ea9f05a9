"""The difference of two blobs, compared with one computed address by address."""

import itertools
import json
from array import array
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import blobs
from harness.compiler import compiler
from ipgeo.blob.reader import Blob
from ipgeo.places.answers import Answer
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.address import ADDRESS_COUNT, LAST_ADDRESS
from ipgeo.release.diff import MAX_RANGES_SHOWN, ChangedRange, diff

Runs = dict[int, str | None]
"""First addresses, ascending from 0, to the country that answers; None is no data."""


def answer(name: str) -> Answer:
    members = {"country": name.partition(" ")[0], "country_code": None, "note": name}
    return Answer(json.dumps([name]).encode(), json.dumps(members).encode()[1:])


def answer_or_none(name: str | None) -> Answer | None:
    return None if name is None else answer(name)


def blob_of(runs: Runs) -> bytes:
    names = [name for name in dict.fromkeys(runs.values()) if name is not None]
    ids = [NO_DATA if name is None else names.index(name) for name in runs.values()]
    return blobs.of_answers(array("I", runs), array("I", ids), [*map(answer, names)], {})


def merged(runs: Runs) -> Runs:
    """Return the runs without those that repeat the one before them."""
    kept: Runs = {}
    before: str | None = "nothing yet"
    for first, name in runs.items():
        if name != before:
            kept[first] = before = name
    return kept


def of(runs: Runs, address: int) -> str | None:
    return [name for first, name in runs.items() if first <= address][-1]


NAMES = st.sampled_from(["A", "B 1", "B 2", None])
# Few addresses, so that edges of both blobs often coincide; the last address is one of them.
ADDRESSES = st.sampled_from([1, 2, 3, 0xFFFF, 0x10000, 0x10001, 1 << 31, LAST_ADDRESS - 1])


@st.composite
def runs_of(draw: st.DrawFn) -> Runs:
    firsts = sorted({0, *draw(st.sets(ADDRESSES | st.just(LAST_ADDRESS)))})
    return merged({first: draw(NAMES) for first in firsts})


@pytest.mark.slow
@given(runs_of(), runs_of())
def test_diff_equals_a_comparison_piece_by_piece(old: Runs, new: Runs) -> None:
    edges = sorted({*old, *new, ADDRESS_COUNT})
    pieces = [
        (first, end, of(old, first), of(new, first)) for first, end in itertools.pairwise(edges)
    ]
    changed = [piece for piece in pieces if piece[2] != piece[3]]
    found = diff(Blob(blob_of(old)), Blob(blob_of(new)))
    assert found.v4.changed == sum(end - first for first, end, *_ in changed)
    assert found.v4.ranges == len(changed)
    changed.sort(key=lambda piece: (piece[0] - piece[1], piece[0]))
    assert found.v4.largest == [
        ChangedRange(first, end - 1, answer_or_none(was), answer_or_none(now))
        for first, end, was, now in changed[:MAX_RANGES_SHOWN]
    ]
    countries: Counter[tuple[str | None, str | None]] = Counter()
    for first, end, was, now in changed:
        countries[was and was[0], now and now[0]] += end - first
    assert found.v4.countries == countries


def test_equal_answers_with_other_ids_are_equal() -> None:
    """A blob may hold one answer twice; clients cannot notice that."""
    answers = [answer("A"), answer("B"), answer("A")]
    twice = blobs.of_answers(array("I", [0, 5, 9]), array("I", [0, 2, 1]), answers, {})
    assert diff(Blob(twice), Blob(blob_of({0: "A", 9: "B"}))).v4.changed == 0


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.blob", tmp_path / "new.blob"
    old.write_bytes(blob_of({0: "A", 256: "B 1", 512: "A", 1 << 31: None}))
    new.write_bytes(blob_of({0: "A", 256: "B 2", 512: "A", 600: "C", 700: "A"}))
    return old, new


def test_diff_as_text(pair: tuple[Path, Path]) -> None:
    old, new = (Blob(path.read_bytes()).build_id for path in pair)
    done = compiler("diff", *pair)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"old  build id {old}, 4 runs",
        f"new  build id {new}, 5 runs",
        "2,147,484,004 addresses changed, 50.000008 % of all, in 3 ranges",
        "by country:",
        "  2,147,483,648  no data → A",
        "            256  B → B",
        "            100  A → C",
        "the largest changed ranges:",
        '  2,147,483,648  128.0.0.0 - 255.255.255.255  null → ["A"]',
        '            256  0.0.1.0 - 0.0.1.255  ["B 1"] → ["B 2"]',
        '            100  0.0.2.88 - 0.0.2.187  ["A"] → ["C"]',
    ]


def test_diff_as_json(pair: tuple[Path, Path]) -> None:
    done = compiler("diff", *reversed(pair), "--json")
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out)
    new, old = (Blob(path.read_bytes()).build_id for path in pair)
    largest = found.pop("largest")
    assert largest[0] == {
        "first": "128.0.0.0",
        "last": "255.255.255.255",
        "addresses": 1 << 31,
        "old": ["A"],
        "new": None,
    }
    assert len(largest) == 3
    assert found == {
        "old": old,
        "new": new,
        "addresses": (1 << 31) + 356,
        "share": pytest.approx(50.0000083),
        "ranges": 3,
        "countries": [
            {"old": "A", "new": None, "addresses": 1 << 31},
            {"old": "B", "new": "B", "addresses": 256},
            {"old": "C", "new": "A", "addresses": 100},
        ],
        "ipv6": None,
    }


def test_diff_of_a_blob_and_itself_is_empty(pair: tuple[Path, Path]) -> None:
    done = compiler("diff", pair[0], pair[0])
    assert done.out.splitlines()[2:] == ["no address changed"]
    found = json.loads(compiler("diff", pair[0], pair[0], "--json").out)
    assert (found["addresses"], found["share"], found["ranges"]) == (0, 0, 0)
    assert (found["countries"], found["largest"]) == ([], [])


def test_only_the_largest_ranges_are_shown(tmp_path: Path) -> None:
    old, new = tmp_path / "old.blob", tmp_path / "new.blob"
    old.write_bytes(blob_of({0: "A"}))
    new.write_bytes(blob_of({n << 20: f"C{n} {n}" for n in range(31)}))
    text = compiler("diff", old, new).out
    assert "\nby country, 20 of 31:\n" in text
    assert "\nthe largest changed ranges, 10 of 31:\n" in text
    assert len([line for line in text.splitlines() if line.startswith("  ")]) == 30
    found = json.loads(compiler("diff", old, new, "--json").out)
    assert (len(found["largest"]), found["ranges"]) == (MAX_RANGES_SHOWN, 31)


def test_objects_are_shown_where_only_they_differ(tmp_path: Path) -> None:
    old, new = tmp_path / "old.blob", tmp_path / "new.blob"
    for path, latitude in ((old, b"1.5"), (new, b"2.5")):
        only = Answer(b'["A"]', b'"country":"A","latitude":' + latitude + b"}")
        path.write_bytes(blobs.of_answers(array("I", [0]), array("I", [0]), [only], {}))
    shown = '{"country":"A","latitude":1.5} → {"country":"A","latitude":2.5}'
    assert shown in compiler("diff", old, new).out
    assert json.loads(compiler("diff", old, new, "--json").out)["largest"][0]["new"] == {
        "country": "A",
        "latitude": 2.5,
    }


ODD = {
    "control characters": Answer(
        b'["\\u001b[2J \xc2\x9b \x7f"]', b'"country":"\\u001b]0;\xc2\x9b\\n","country_code":null}'
    ),
    "a country that is no text": Answer(b"[1]", b'"country":1,"country_code":false}'),
    "no country": Answer(b"[]", b'"x":1}'),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_are_shown(pair: tuple[Path, Path], name: str) -> None:
    pair[1].write_bytes(blobs.of_answers(array("I", [0]), array("I", [0]), [ODD[name]], {}))
    for arguments in (pair, (*reversed(pair), "--json")):
        done = compiler("diff", *arguments)
        assert (done.status, done.err) == (0, "")
        done.out.encode()
        assert not [c for c in done.out if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "0 bytes"),
        (blob_of({0: "A"})[:-1], "the header says"),
        (blob_of({0: "A"})[:8] + b"\1" + blob_of({0: "A"})[9:], "blob layout 1"),
    ],
)
@pytest.mark.parametrize("index", [0, 1])
def test_a_file_that_is_not_a_blob_is_named(
    pair: tuple[Path, Path], index: int, content: bytes | None, problem: str
) -> None:
    if content is None:
        pair[index].unlink()
    else:
        pair[index].write_bytes(content)
    done = compiler("diff", *pair)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"Error: {pair[index]}: {problem}")
    assert done.err.count("\n") == 1
