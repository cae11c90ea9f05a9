"""What makes a blob sound: each check raises BlobError for what breaks the format."""

import itertools
import json
import operator
import re
import struct
import sys
import zlib
from array import array
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from ipgeo.blob.layout import (
    ALIGN,
    BUCKETS,
    CRC_AT,
    HEADER,
    LAYOUT,
    MAGIC,
    MAX_SIZE,
    REQUIRED,
    SECTION,
    Section,
    seal,
)
from ipgeo.errors import BlobError
from ipgeo.places.answers import Answer, Country
from ipgeo.text import printable

_MAX_SECTIONS = 64
_CONTROL = re.compile(rb"[\x00-\x1f]")  # a line feed would split an answer in a batch of lines


def _require(condition: bool, problem: str) -> None:  # noqa: FBT001 - an assertion's own form
    if not condition:
        raise BlobError(problem)


def check_header(head: bytes, length: int) -> str:
    """Return the build id, 32 hexadecimal digits, of a blob of ``length`` bytes."""
    _require(length >= HEADER.size, f"{length} bytes, shorter than a blob's header")
    _require(length <= MAX_SIZE, f"{length} bytes, a blob has at most {MAX_SIZE}")
    magic, layout, _, size, _, build_id = HEADER.unpack_from(head)
    _require(magic == MAGIC, "not an ipgeo blob: wrong magic")
    _require(layout == LAYOUT, f"blob layout {layout}, this reader reads {LAYOUT}")
    _require(size == length, f"the header says {size} bytes, there are {length}")
    return str(build_id.hex())


def check_seal(data: bytes) -> None:
    """Refuse a blob whose checksum or build id does not belong to its content."""
    (crc,) = struct.unpack_from("<I", data, CRC_AT)
    zeroed = data[:CRC_AT] + bytes(4) + data[CRC_AT + 4 :]
    _require(crc == zlib.crc32(zeroed), "the checksum does not match: the blob is damaged")
    _require(seal(data) == data, "the build id does not match the content")


def check_sections(data: bytes) -> tuple[Section, ...]:
    """Return the rows of the section table; refuse one that does not tile the blob."""
    count = HEADER.unpack_from(data)[2]
    end = HEADER.size + SECTION.size * count
    _require(count <= _MAX_SECTIONS and end <= len(data), f"{count} sections")
    sections = []
    for raw, offset, length in SECTION.iter_unpack(data[HEADER.size : end]):
        tag = printable(raw.rstrip(b"\0").decode("ascii", "replace"))
        _require(offset == end, f"section {tag} is at {offset} instead of {end}")
        _require(length <= len(data) - offset, f"section {tag} passes the blob's end")
        end = offset + length + -length % ALIGN
        _require(not any(data[offset + length : end]), f"section {tag} has padding that is not 0")
        sections.append(Section(tag, offset, length))
    _require(end == len(data), f"the sections end at {end}, the blob at {len(data)}")
    _require(len({s.tag for s in sections}) == len(sections), "a section occurs twice")
    return tuple(sections)


def check_present(tags: Container[str]) -> None:
    """Refuse a blob without a section that every blob has."""
    missing = [tag.decode() for tag in REQUIRED if tag.decode() not in tags]
    _require(not missing, f"section {', '.join(missing)} is missing")


def check_meta(content: bytes) -> dict[str, Any]:
    """Return the metadata: a JSON object whose ``sources``, if any, are objects."""
    meta = _load_json(content)
    if not isinstance(meta, dict):
        raise BlobError("the metadata is not a JSON object")
    sources = meta.get("sources", [])
    listed = isinstance(sources, list) and all(isinstance(source, dict) for source in sources)
    _require(listed, "the metadata's sources are not a list of objects")
    return meta


def _load_json(content: bytes) -> object:
    """Return the value, or None if it is not JSON in UTF-8: json.loads guesses other encodings.

    An escaped half of a surrogate pair is refused too: UTF-8 cannot encode such a string.
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


def read_column(tag: str, typecode: str, content: bytes) -> "array[int]":
    """Return the numbers of a section, in this machine's byte order."""
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


def check_offsets(offset: "array[int]", heap_size: int) -> "array[int]":
    """Return the offsets, which never descend and span the heap."""
    _require(len(offset) % 2 == 1, "offset does not hold two answers a location")
    _require(offset[0] == 0 and offset[-1] == heap_size, "offset does not span the heap")
    _require(not any(_descents(offset)), "offset descends")
    return offset


def check_index(index: "array[int]", low: "array[int]") -> "array[int]":
    """Return the index, which never descends and spans the runs from 0.0.0.0 on."""
    _require(len(index) == BUCKETS + 1, f"v4index has {len(index)} entries")
    _require(index[0] == 0 and index[-1] == len(low), "v4index does not span the runs")
    _require(not any(_descents(index)), "v4index descends")
    _require(index[1] > 0 and low[0] == 0, "the first run does not start at 0.0.0.0")
    return index


def read_starts(index: "array[int]", low: "array[int]") -> "array[int]":
    """Return the first address of every run; refuse one that does not ascend."""
    starts = array("I")
    for bucket, (begin, end) in enumerate(itertools.pairwise(index)):
        if begin < end:
            starts.extend((bucket << 16) + value for value in low[begin:end])
    rises = map(operator.lt, starts[:-1], starts[1:])
    for run, ascends in enumerate(rises, start=1):
        _require(ascends, f"run {run} does not start after run {run - 1}")
    return starts


def read_location_ids(content: bytes, runs: int, locations: int) -> "array[int]":
    """Return the location id of every run, ``locations`` for no data; refuse a greater one."""
    width, rest = divmod(len(content), runs)
    _require(rest == 0 and width in (2, 4), "v4record does not fit the runs")
    location_ids = read_column("v4record", "H" if width == 2 else "I", content)
    _require(max(location_ids) <= locations, "v4record names a location that is not there")
    return location_ids


def check_answers(answers: Iterable[Answer]) -> list[Country]:
    """Return the country of each answer; refuse one that is not JSON or has a control character.

    Equal countries are one object: a blob has many locations and few countries.
    """
    countries: list[Country] = []
    known: dict[Country, Country] = {}
    for location, answer in enumerate(answers):
        clean = not any(map(_CONTROL.search, answer))
        _require(clean, f"the answer of location {location} has a control character")
        object_form = _load_json(answer.object_form(""))
        if not isinstance(_load_json(answer.array), list) or not isinstance(object_form, dict):
            raise BlobError(f"the answer of location {location} is not JSON")
        country = _country_of(object_form)
        countries.append(known.setdefault(country, country))
    return countries


def _country_of(members: dict[str, Any]) -> Country:
    code = members.get("country_code")
    return Country(str(members.get("country", "")), None if code is None else str(code))
