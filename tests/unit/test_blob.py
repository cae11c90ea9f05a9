"""The Python side of the blob format: what is written is read, what is broken is refused."""

import random
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import blobs
from harness.sources import patched
from ipgeo.blob.layout import seal
from ipgeo.blob.reader import Blob, read_blob
from ipgeo.errors import BlobError
from ipgeo.places.answers import Answer
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.address import LAST_ADDRESS


def _answers(count: int) -> list[Answer]:
    return [Answer(b"[%d]" % n, b'"country":"%d"}' % n) for n in range(count)]


@st.composite
def _columns(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    address = st.integers(1, LAST_ADDRESS) | st.integers(1, 0xFFFF).map(lambda high: high << 16)
    starts = [0, *sorted(draw(st.sets(address, max_size=40)))]
    location_ids = st.integers(0, 4) | st.just(NO_DATA)
    return starts, draw(st.lists(location_ids, min_size=len(starts), max_size=len(starts)))


@pytest.mark.slow
@given(_columns(), st.lists(st.integers(0, LAST_ADDRESS), max_size=20))
def test_every_run_is_found_again(columns: tuple[list[int], list[int]], more: list[int]) -> None:
    starts, location_ids = columns
    blob = Blob(blobs.of_answers(array("I", starts), array("I", location_ids), _answers(5)))
    edges = {edge for start in starts for edge in (start, max(start - 1, 0))}
    for address in (*edges, LAST_ADDRESS, *more):
        run = max(i for i, start in enumerate(starts) if start <= address)
        expected = None if location_ids[run] == NO_DATA else location_ids[run]
        assert blob.find(address) == expected
    assert [span[0] for span in blob.spans()] == starts


@pytest.mark.slow
def test_more_locations_than_16_bits_hold() -> None:
    count = 70_000
    starts = array("I", range(0, count * 1000, 1000))
    blob = Blob(blobs.of_answers(starts, array("I", range(count)), _answers(count)))
    assert blob.find(69_999_500) == 69_999
    assert blob.answer(69_999) == _answers(count)[-1]


def test_answers_have_both_forms() -> None:
    blob = Blob(blobs.fictional(gap=True))
    location = blob.find(0x01020304)
    assert location is not None
    assert blob.answer(location).array == blobs.ATLANTIS_ARRAY
    assert b'{"ip":"1.2.3.4",' + blob.answer(location).object_tail == blobs.ATLANTIS_OBJECT
    assert blob.find(0x05050505) is None


MAGIC, LAYOUT, COUNT, SIZE, BUILD_ID, TABLE = 0, 8, 12, 16, 32, 64


@pytest.mark.parametrize(
    ("offset", "new", "problem"),
    [
        (MAGIC, b"X", "wrong magic"),
        (LAYOUT, b"\1", "blob layout 1, this reader reads 2: build it again$"),
        (LAYOUT, b"\3", "blob layout 3, this reader reads 2$"),
        (SIZE, b"\1", "the header says"),
        (BUILD_ID, b"\xff\xff\xff", "checksum"),
        (TABLE + 3 * 24 + 100, b"\xff\xff\xff", "checksum"),
    ],
)
def test_damage_is_refused(offset: int, new: bytes, problem: str) -> None:
    with pytest.raises(BlobError, match=problem):
        Blob(patched(blobs.fictional(), offset, new))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_flipped_bits_are_refused(seed: int) -> None:
    data = blobs.fictional(gap=True)
    for mutant in mutants(data, 2500, seed):
        with pytest.raises(BlobError):
            Blob(mutant)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_flipped_bits_under_a_valid_seal_are_refused_or_harmless(seed: int) -> None:
    data = blobs.fictional(gap=True)
    accepted = 0
    for mutant in mutants(data, 2500, seed):
        try:
            blob = Blob(seal(mutant))
        except BlobError:
            continue
        accepted += 1
        for first, last, _ in blob.spans():
            for address in (first, last):
                location = blob.find(address)
                if location is not None:
                    answer = blob.answer(location)
                    assert answer.array.startswith(b"[")
                    assert answer.object_tail.endswith(b"}")
    assert accepted < 2500


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(b'["\\ud800"]', b'"x":1}'), "text 0 has half a character"),
        (Answer(b"[]", b'"x":"\\udc00\\ud800"}'), "text 1 has half a character"),
        (Answer(b"[]", b'"\\udc00":1}'), "text 1 has half a character"),
        (Answer(b"[\n]", b'"x":1}'), "byte 1 of the heap is a control character"),
        (Answer(b"[]", b'"x":\t1}'), "byte 6 of the heap is a control character"),
        (Answer(b'["\0"]', b'"x":1}'), "byte 2 of the heap is a control character"),
    ],
)
def test_an_answer_that_is_not_a_line_of_utf8_is_refused(answer: Answer, problem: str) -> None:
    with pytest.raises(BlobError, match=f"^{problem}$"):
        Blob(blobs.of_answers(array("I", [0]), array("I", [0]), [answer]))


def test_metadata_that_is_not_utf8_is_refused() -> None:
    data = blobs.fictional()
    meta = Blob(data).sections[0]
    half = b'{"fields":[],"x":"\\ud800"}'.ljust(meta.length)
    with pytest.raises(BlobError, match="the metadata"):
        Blob(seal(patched(data, meta.offset, half)))


def test_escapes_that_stand_for_utf8_are_accepted() -> None:
    answer = Answer(b'["\\ud83d\\ude00 \\\\ud800 \\u000a"]', b'"x":"\\u001b"}')
    assert Blob(blobs.of_answers(array("I", [0]), array("I", [0]), [answer])).answer(0) == answer


def mutants(data: bytes, count: int, seed: int) -> list[bytes]:
    """Return copies with one to three flipped bits, most of them where the structure lies."""
    chance = random.Random(seed)
    structure = [range(208), range(len(data) - 1024, len(data)), range(len(data))]
    flipped = []
    for _ in range(count):
        mutant = bytearray(data)
        for offset in chance.sample(chance.choice(structure), chance.choice((1, 1, 3))):
            mutant[offset] ^= 1 << chance.randrange(8)
        flipped.append(bytes(mutant))
    return flipped


@pytest.mark.slow
def test_truncations_are_refused(tmp_path: Path) -> None:
    data = blobs.fictional()
    edges = {edge for s in Blob(data).sections for edge in (s.offset, s.offset + s.length)}
    chance = random.Random(1)
    lengths = (edges - {len(data)}) | {chance.randrange(len(data)) for _ in range(2000)}
    path = tmp_path / "cut.blob"
    for length in lengths:
        path.write_bytes(data[:length])
        with pytest.raises(BlobError, match=r"cut\.blob"):
            read_blob(path)
        with pytest.raises(BlobError):
            Blob(seal(patched(data[:length], SIZE, length.to_bytes(8, "little"))[:length]))
