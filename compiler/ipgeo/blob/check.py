"""What makes a file a blob: header, seal, sections and metadata. Each check raises BlobError."""

import json
import struct
import sys
from array import array
from collections.abc import Container, Mapping, Sequence
from typing import Any, NoReturn

from ipgeo.blob.layout import (
    ALIGN,
    BUILD_ID_AT,
    BUILD_ID_SIZE,
    CRC_AT,
    HEADER,
    LAYOUT,
    MAGIC,
    MAX_SIZE,
    REQUIRED,
    SECTION,
    V6_SECTIONS,
    Section,
    build_id,
    checksum,
)
from ipgeo.errors import BlobError
from ipgeo.text import printable

_MAX_SECTIONS = 64


def require(condition: bool, problem: str) -> None:  # noqa: FBT001 - an assertion's own form
    """Raise BlobError with ``problem`` unless ``condition`` holds."""
    if not condition:
        raise BlobError(problem)


def check_header(head: bytes | memoryview, length: int) -> str:
    """Return the build id, 32 hexadecimal digits, of a blob of ``length`` bytes."""
    require(length >= HEADER.size, f"{length} bytes, shorter than a blob's header")
    require(length <= MAX_SIZE, f"{length} bytes, a blob has at most {MAX_SIZE}")
    magic, layout, _, size, _, its_id = HEADER.unpack_from(head)
    require(magic == MAGIC, "not an ipgeo blob: wrong magic")
    advice = ": build it again" if layout < LAYOUT else ""
    require(layout == LAYOUT, f"blob layout {layout}, this reader reads {LAYOUT}{advice}")
    require(size == length, f"the header says {size} bytes, there are {length}")
    return str(its_id.hex())


def check_seal(data: memoryview) -> None:
    """Refuse a blob whose checksum or build id does not belong to its content."""
    (crc,) = struct.unpack_from("<I", data, CRC_AT)
    require(crc == checksum(data), "the checksum does not match: the blob is damaged")
    its_id = data[BUILD_ID_AT : BUILD_ID_AT + BUILD_ID_SIZE]
    require(its_id == build_id(data), "the build id does not match the content")


def check_sections(data: memoryview) -> tuple[Section, ...]:
    """Return the rows of the section table; refuse one that does not tile the blob."""
    count = HEADER.unpack_from(data)[2]
    end = HEADER.size + SECTION.size * count
    require(count <= _MAX_SECTIONS and end <= len(data), f"{count} sections")
    sections = []
    for raw, offset, length in SECTION.iter_unpack(data[HEADER.size : end]):
        tag = printable(raw.rstrip(b"\0").decode("ascii", "replace"))
        require(offset == end, f"section {tag} is at {offset} instead of {end}")
        require(length <= len(data) - offset, f"section {tag} passes the blob's end")
        end = offset + length + -length % ALIGN
        require(not any(data[offset + length : end]), f"section {tag} has padding that is not 0")
        sections.append(Section(tag, offset, length))
    require(end == len(data), f"the sections end at {end}, the blob at {len(data)}")
    require(len({s.tag for s in sections}) == len(sections), "a section occurs twice")
    return tuple(sections)


def check_present(tags: Container[str]) -> None:
    """Refuse a blob without a section that every blob has, or with some of those of IPv6."""
    missing = [tag for tag in REQUIRED if tag not in tags]
    lacking = [tag for tag in V6_SECTIONS if tag not in tags]
    if len(lacking) < len(V6_SECTIONS):
        missing += lacking
    require(not missing, f"section {', '.join(missing)} is missing")


def check_meta(content: bytes) -> dict[str, Any]:
    """Return the metadata, a JSON object: ``fields`` are names, ``sources``, if any, objects."""
    meta = load_json(content)
    if not isinstance(meta, dict):
        raise BlobError("the metadata is not a JSON object")
    sources = meta.get("sources", [])
    listed = isinstance(sources, list) and all(isinstance(source, dict) for source in sources)
    require(listed, "the metadata's sources are not a list of objects")
    fields = meta.get("fields")
    named = isinstance(fields, list) and all(isinstance(name, str) for name in fields)
    require(named, "the metadata's fields are not a list of names")
    return meta


def load_json(content: bytes) -> object:
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


def column_of(tag: str, typecode: str, content: Mapping[str, memoryview]) -> Sequence[int]:
    """Return the numbers of a section, where they lie if this machine has their order of bytes."""
    if sys.byteorder == "big":
        return read_column(tag, typecode, content[tag])
    _check_elements(tag, typecode, content[tag])
    return content[tag].cast(typecode)  # type: ignore[call-overload, no-any-return]


def read_column(tag: str, typecode: str, content: memoryview) -> "array[int]":
    """Return a copy of the numbers of a section, in the order of bytes of this machine."""
    _check_elements(tag, typecode, content)
    column = array(typecode)
    column.frombytes(content)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _check_elements(tag: str, typecode: str, content: memoryview) -> None:
    size = struct.calcsize(f"={typecode}")
    require(len(content) % size == 0, f"section {tag} has half an element")
