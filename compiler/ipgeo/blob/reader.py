"""The blob: its writer and its checked reader.

The layout is in docs/blob-format.md; lua/ipgeo/blob.lua reads the same bytes. All integers are
little-endian and unsigned, all sections begin at a multiple of 8.
"""

import hashlib
import itertools
import json
import operator
import re
import struct
import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from ipgeo.errors import BlobError
from ipgeo.files.reading import open_regular, read_exactly, size_of
from ipgeo.places.answers import Answer
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.address import LAST_ADDRESS
from ipgeo.text import printable

MAGIC = b"\x89IPGEO\r\n"
LAYOUT = 1

_HEADER = struct.Struct("<8sIIQI4x16s16x")  # magic, layout, sections, size, crc, build id
_CRC_AT, _BUILD_ID_AT, _BUILD_ID_SIZE = 24, 32, 16
_SECTION = struct.Struct("<8sQQ")  # tag, offset, length: both in bytes
_MOST_SECTIONS = 64
MAX_SIZE = 0x7FFFFFFF
"""The largest blob in bytes that every reader takes."""
_ALIGN = 8
_BUCKETS = 1 << 16
_CONTROL = re.compile(rb"[\x00-\x1f]")  # a line feed would break answers apart that are lines

META, INDEX, LOW, RECORD = b"meta", b"v4index", b"v4low", b"v4record"
OFFSET, HEAP = b"offset", b"heap"
_REQUIRED = (META, INDEX, LOW, RECORD, OFFSET, HEAP)


class Section(NamedTuple):
    """One row of the section table; ``offset`` and ``length`` in bytes."""

    tag: str
    offset: int
    length: int


def write_blob(
    first: "array[int]",
    number: "array[int]",
    answers: Sequence[Answer],
    meta: Mapping[str, Any],
) -> bytes:
    """Return the blob in which run ``i`` starts at ``first[i]`` and answers ``answers[number[i]]``.

    The runs cover all addresses and are coalesced; ``number`` may be ``NO_DATA``. The same
    arguments give the same bytes.
    """
    halves = array("H", first.tobytes())  # low and high 16 bits of each start, in host order
    low = halves[0::2] if sys.byteorder == "little" else halves[1::2]
    index = array("I", (bisect_left(first, bucket << 16) for bucket in range(_BUCKETS)))
    index.append(len(first))
    none = len(answers)
    record = array("H" if none < _BUCKETS else "I", (none if n == NO_DATA else n for n in number))
    heap = [answer.array for answer in answers] + [answer.members for answer in answers]
    offset = array("I", itertools.accumulate(map(len, heap), initial=0))
    return _assemble(
        {
            META: json.dumps(meta, ensure_ascii=False, sort_keys=True).encode(),
            INDEX: _little(index),
            LOW: _little(low),
            RECORD: _little(record),
            OFFSET: _little(offset),
            HEAP: b"".join(heap),
        }
    )


def _little(column: "array[int]") -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _assemble(sections: Mapping[bytes, bytes]) -> bytes:
    table = bytearray()
    body = bytearray()
    start = _HEADER.size + _SECTION.size * len(sections)
    for tag, content in sections.items():
        table += _SECTION.pack(tag, start + len(body), len(content))
        body += content + bytes(-len(content) % _ALIGN)
    size = start + len(body)
    header = _HEADER.pack(MAGIC, LAYOUT, len(sections), size, 0, bytes(_BUILD_ID_SIZE))
    return seal(header + bytes(table) + bytes(body))


def seal(blob: bytes) -> bytes:
    """Return ``blob`` with the build id and the checksum that belong to its content."""
    sealed = bytearray(blob)
    sealed[_CRC_AT : _CRC_AT + 4] = bytes(4)
    sealed[_BUILD_ID_AT : _BUILD_ID_AT + _BUILD_ID_SIZE] = bytes(_BUILD_ID_SIZE)
    digest = hashlib.sha256(sealed).digest()[:_BUILD_ID_SIZE]
    sealed[_BUILD_ID_AT : _BUILD_ID_AT + _BUILD_ID_SIZE] = digest
    struct.pack_into("<I", sealed, _CRC_AT, zlib.crc32(sealed))
    return bytes(sealed)


def read_blob(path: Path) -> "Blob":
    """Read a blob whole and check it.

    Raises BlobError naming the file and what is wrong, OSError if it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return Blob(read_content(file))
    except BlobError as error:
        raise BlobError(f"{path}: {error}") from None


def read_content(file: BinaryIO) -> bytes:
    """Return the bytes of an opened blob, having looked at its size and header first.

    Raises BlobError for what those two show to be no blob, OSError if it cannot be read.
    """
    size = size_of(file)
    _check_header(read_exactly(file, min(size, _HEADER.size)), size)
    return read_exactly(file, size)


class Blob:
    """A blob in memory, checked: every lookup stays inside it and every answer is JSON."""

    def __init__(self, data: bytes) -> None:
        """Check ``data`` whole; raise BlobError for one that breaks the format."""
        self.build_id = _check_header(data, len(data))
        _check_seal(data)
        self.size = len(data)
        self.sections = _check_sections(data)
        content = {s.tag: data[s.offset : s.offset + s.length] for s in self.sections}
        missing = [tag.decode() for tag in _REQUIRED if tag.decode() not in content]
        _require(not missing, f"section {', '.join(missing)} is missing")
        self.meta: dict[str, Any] = _check_meta(content["meta"])
        self._heap = content["heap"]
        self._offset = _check_offsets(_column("offset", "I", content["offset"]), len(self._heap))
        self.locations = len(self._offset) // 2
        low = _column("v4low", "H", content["v4low"])
        index = _check_index(_column("v4index", "I", content["v4index"]), low)
        self.first = _starts(index, low)
        self.record = _check_records(content["v4record"], len(low), self.locations)
        _check_answers(self)

    @property
    def runs(self) -> int:
        """The number of runs."""
        return len(self.first)

    def find(self, address: int) -> int | None:
        """Return the location number of ``address`` (0..2^32-1), or None where there is no data."""
        number = self.record[bisect_right(self.first, address) - 1]
        return None if number == self.locations else number

    def answer(self, location: int) -> Answer:
        """Return both forms of the answer of a location number."""
        return Answer(self._text(location), self._text(self.locations + location))

    def spans(self) -> Iterator[tuple[int, int, int | None]]:
        """Yield (first address, last address inclusive, location number or None) of every run."""
        lasts = itertools.chain((first - 1 for first in self.first[1:]), (LAST_ADDRESS,))
        for first, last, number in zip(self.first, lasts, self.record, strict=True):
            yield first, last, None if number == self.locations else number

    def _text(self, entry: int) -> bytes:
        return self._heap[self._offset[entry] : self._offset[entry + 1]]


def _require(condition: bool, problem: str) -> None:  # noqa: FBT001 - an assertion's own form
    if not condition:
        raise BlobError(problem)


def _check_header(head: bytes, length: int) -> str:
    """Return the build id, 32 hexadecimal digits, of a blob of ``length`` bytes."""
    _require(length >= _HEADER.size, f"{length} bytes, shorter than a blob's header")
    _require(length <= MAX_SIZE, f"{length} bytes, a blob has at most {MAX_SIZE}")
    magic, layout, _, size, _, build_id = _HEADER.unpack_from(head)
    _require(magic == MAGIC, "not an ipgeo blob: wrong magic")
    _require(layout == LAYOUT, f"blob layout {layout}, this reader reads {LAYOUT}")
    _require(size == length, f"the header says {size} bytes, there are {length}")
    return str(build_id.hex())


def _check_seal(data: bytes) -> None:
    (crc,) = struct.unpack_from("<I", data, _CRC_AT)
    zeroed = data[:_CRC_AT] + bytes(4) + data[_CRC_AT + 4 :]
    _require(crc == zlib.crc32(zeroed), "the checksum does not match: the blob is damaged")
    _require(seal(data) == data, "the build id does not match the content")


def _check_sections(data: bytes) -> tuple[Section, ...]:
    count = _HEADER.unpack_from(data)[2]
    end = _HEADER.size + _SECTION.size * count
    _require(count <= _MOST_SECTIONS and end <= len(data), f"{count} sections")
    sections = []
    for raw, offset, length in _SECTION.iter_unpack(data[_HEADER.size : end]):
        tag = printable(raw.rstrip(b"\0").decode("ascii", "replace"))
        _require(offset == end, f"section {tag} is at {offset} instead of {end}")
        _require(length <= len(data) - offset, f"section {tag} passes the blob's end")
        end = offset + length + -length % _ALIGN
        _require(not any(data[offset + length : end]), f"section {tag} has padding that is not 0")
        sections.append(Section(tag, offset, length))
    _require(end == len(data), f"the sections end at {end}, the blob at {len(data)}")
    _require(len({s.tag for s in sections}) == len(sections), "a section occurs twice")
    return tuple(sections)


def _check_meta(content: bytes) -> dict[str, Any]:
    meta = _load_json(content)
    if not isinstance(meta, dict):
        raise BlobError("the metadata is not a JSON object")
    sources = meta.get("sources", [])
    listed = isinstance(sources, list) and all(isinstance(source, dict) for source in sources)
    _require(listed, "the metadata's sources are not a list of objects")
    return meta


def _load_json(content: bytes) -> object:
    """Return the value, or None for what is not JSON in UTF-8: json.loads would guess others.

    An escape may be half a surrogate pair, which is a string that UTF-8 cannot hold: refused too.
    """
    try:
        value: object = json.loads(content.decode(), parse_constant=_refuse_constant)
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _column(tag: str, typecode: str, content: bytes) -> "array[int]":
    column = array(typecode)
    _require(len(content) % column.itemsize == 0, f"section {tag} has half an element")
    column.frombytes(content)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _descents(column: Sequence[int]) -> Iterator[int]:
    """Yield every position whose value is below the one before it."""
    falls = map(operator.lt, column[1:], column[:-1])
    return itertools.compress(range(1, len(column)), falls)


def _check_offsets(offset: "array[int]", heap_size: int) -> "array[int]":
    _require(len(offset) % 2 == 1, "offset does not hold two answers a location")
    _require(offset[0] == 0 and offset[-1] == heap_size, "offset does not span the heap")
    _require(not any(_descents(offset)), "offset descends")
    return offset


def _check_index(index: "array[int]", low: "array[int]") -> "array[int]":
    _require(len(index) == _BUCKETS + 1, f"v4index has {len(index)} entries")
    _require(index[0] == 0 and index[-1] == len(low), "v4index does not span the runs")
    _require(not any(_descents(index)), "v4index descends")
    _require(index[1] > 0 and low[0] == 0, "the first run does not start at 0.0.0.0")
    return index


def _starts(index: "array[int]", low: "array[int]") -> "array[int]":
    first = array("I")
    for bucket, (start, end) in enumerate(itertools.pairwise(index)):
        if start < end:
            first.extend((bucket << 16) + value for value in low[start:end])
    rises = map(operator.lt, first[:-1], first[1:])
    for run, ascends in enumerate(rises, start=1):
        _require(ascends, f"run {run} does not start after run {run - 1}")
    return first


def _check_records(content: bytes, runs: int, locations: int) -> "array[int]":
    width, rest = divmod(len(content), runs)
    _require(rest == 0 and width in (2, 4), "v4record does not fit the runs")
    record = _column("v4record", "H" if width == 2 else "I", content)
    _require(max(record) <= locations, "v4record names a location that is not there")
    return record


def _check_answers(blob: Blob) -> None:
    for location in range(blob.locations):
        answer = blob.answer(location)
        clean = not any(map(_CONTROL.search, answer))
        _require(clean, f"the answer of location {location} has a control character")
        array_form = _load_json(answer.array)
        object_form = _load_json(b'{"ip":"",' + answer.members)
        sound = isinstance(array_form, list) and isinstance(object_form, dict)
        _require(sound, f"the answer of location {location} is not JSON")
