"""The 17mon / IPIP.net ``.dat`` format, every edition.

Layout (offsets in bytes; ``N`` is the number in the first four bytes):

====================  =========================================================================
0..3                  ``N``, u32 big-endian
4..1027               256 hints, u32 little-endian: the first record whose bound >= b.0.0.0
1028..N-1025          records of 8 bytes: upper bound (u32 big-endian, inclusive), offset of the
                      content in the text (u24 little-endian), length of the content (u8)
N-1024..              the text: contents, UTF-8, tab-separated fields
====================  =========================================================================

A record's lower bound is the previous record's upper bound + 1, and 0 for the first one.
"""

import hashlib
import operator
import re
import struct
import sys
from array import array
from bisect import bisect_left
from pathlib import Path

from ipgeo.contract import NUMERIC_FIELDS
from ipgeo.errors import InputError
from ipgeo.places.location import NAME_FIELDS, Location, Source
from ipgeo.ranges.address import LAST_ADDRESS, format_ipv4
from ipgeo.ranges.columns import Runs4
from ipgeo.sources.options import ReadOptions

FORMAT = "17mon-dat"
"""The format's name in a blob's metadata."""

SAMPLE_MARK = "IPGEO.SAMPLE"
"""The first field of the last record of a source that the project made itself."""

RECORDS_START = 4 + 256 * 4
RECORD_SIZE = 8
TEXT_OVERLAP = 1024
"""The text begins this many bytes before ``N``: the official readers count it as index."""
MAX_TEXT = 0xFFFFFF + 0xFF
"""How many bytes of text a record can reach: the highest offset and the greatest length."""

_DEGREES = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]*)?")

_GEOGRAPHY = (*NUMERIC_FIELDS, "time_zone", "utc_offset")
_CODES = ("china_admin_code", "phone_prefix", "source_country_code", "continent_code")
_NETWORK = ("idc", "base_station", "country_code3", "european_union")
_COMMERCE = ("currency_code", "currency_name", "anycast")
ALL_FIELDS = NAME_FIELDS + _GEOGRAPHY + _CODES + _NETWORK + _COMMERCE
"""The standard names of the largest edition's fields."""

EDITIONS = {count: ALL_FIELDS[:count] for count in (2, 3, 4, 5, 9, 13, 17, 20)}
"""The standard names of an edition's fields, by how many it has."""


def recognises(data: bytes) -> bool:
    """Whether ``data`` is a ``.dat`` file, whole or damaged: by its hints or its last bound."""
    index_end = int.from_bytes(data[:4], "big")
    records, rest = _records_before(index_end)
    if len(data) < RECORDS_START or records < 1 or rest:
        return False
    last = index_end - TEXT_OVERLAP - RECORD_SIZE
    if data[last : last + 4] == b"\xff" * 4:
        return True
    hints = _hints(data)
    return hints == sorted(hints) and 0 < hints[-1] < records


def read(path: Path | str, data: bytes, options: ReadOptions) -> Source:
    """Read and check a whole ``.dat`` file.

    Raises InputError, naming the offset, for a file that breaks the format in any way that could
    change an answer.
    """
    options.refuse(path, FORMAT)
    count = _record_count(path, data)
    bounds, keys = _records(data, count)
    _check_bounds(path, bounds)
    _check_hints(path, data, bounds)
    starts = array("I", [0])
    starts.extend(bound + 1 for bound in bounds[:-1])
    fields, locations, location_ids = _contents(path, data, keys)
    facts: dict[str, str | int] = {
        "format": FORMAT,
        "fields": fields,
        "records": count,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    sample = locations[location_ids[-1]].country == SAMPLE_MARK
    extra = EDITIONS[fields][len(NAME_FIELDS) :]
    return Source(Runs4(starts, location_ids), locations, facts, sample, extra=extra)


def _records_before(index_end: int) -> tuple[int, int]:
    """Return the count of records that ``N`` stands for, and how many bytes are left over."""
    return divmod(index_end - RECORDS_START - TEXT_OVERLAP, RECORD_SIZE)


def _record_count(path: Path | str, data: bytes) -> int:
    size = len(data)
    if size < RECORDS_START:
        problem = f"{size} bytes, the head of a .dat file alone has {RECORDS_START}"
        raise InputError(path, "", problem)
    index_end = int.from_bytes(data[:4], "big")
    records, rest = _records_before(index_end)
    if records < 1 or rest:
        raise InputError(path, "offset 0", f"{index_end} is not 2052 + 8 x a count of records")
    text_start = index_end - TEXT_OVERLAP
    if text_start > size:
        raise InputError(path, "offset 0", f"the index ends at {text_start}, the file at {size}")
    if size > text_start + MAX_TEXT:
        problem = f"the text has {size - text_start} bytes, records reach {MAX_TEXT}"
        raise InputError(path, f"offset {text_start}", problem)
    return records


def _records(data: bytes, count: int) -> tuple["array[int]", "array[int]"]:
    """Return the upper bounds, and the content keys ``offset | length << 24``."""
    words = array("I")
    words.frombytes(memoryview(data)[RECORDS_START : RECORDS_START + count * RECORD_SIZE])
    bounds, keys = words[0::2], words[1::2]
    foreign = bounds if sys.byteorder == "little" else keys
    foreign.byteswap()
    return bounds, keys


def _record_position(record: int) -> str:
    return f"offset {RECORDS_START + record * RECORD_SIZE} (record {record})"


def _check_bounds(path: Path | str, bounds: "array[int]") -> None:
    for record, ascends in enumerate(map(operator.lt, bounds, bounds[1:]), start=1):
        if not ascends:
            this, before = format_ipv4(bounds[record]), format_ipv4(bounds[record - 1])
            problem = f"upper bound {this} does not ascend from {before}"
            raise InputError(path, _record_position(record), problem)
    if bounds[-1] != LAST_ADDRESS:
        problem = f"the last upper bound is {format_ipv4(bounds[-1])}, not 255.255.255.255"
        raise InputError(path, _record_position(len(bounds) - 1), problem)


def _hints(data: bytes) -> list[int]:
    return [hint for (hint,) in struct.iter_unpack("<I", data[4:RECORDS_START])]


def _check_hints(path: Path | str, data: bytes, bounds: "array[int]") -> None:
    for octet, hint in enumerate(_hints(data)):
        record = bisect_left(bounds, octet << 24)
        if hint != record:
            problem = f"the hint of {octet}.0.0.0 is record {hint}, its first record is {record}"
            raise InputError(path, f"offset {4 + octet * 4}", problem)


def _contents(
    path: Path | str, data: bytes, keys: "array[int]"
) -> tuple[int, list[Location], "array[int]"]:
    """Return the field count, the distinct locations and each record's location id."""
    text = memoryview(data)[RECORDS_START + len(keys) * RECORD_SIZE :]
    ids: dict[int, int] = {}
    locations: list[Location] = []
    count = 0
    # dict.fromkeys keeps the order of appearance and visits each distinct content once.
    for key in dict.fromkeys(keys):
        try:
            fields = _fields(text, key & 0xFFFFFF, key >> 24)
            count = count or len(fields)
            locations.append(_location(count, fields))
        except ValueError as error:
            raise InputError(path, _record_position(keys.index(key)), str(error)) from None
        ids[key] = len(ids)
    return count, locations, array("I", map(ids.__getitem__, keys))


def _fields(text: memoryview, offset: int, length: int) -> list[str]:
    where = f"content {offset}+{length}"
    if not length:
        raise ValueError(f"{where} is empty")
    if offset + length > len(text):
        raise ValueError(f"{where} passes the text's end at {len(text)}")
    try:
        content = str(text[offset : offset + length], "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8: {error.reason}") from None
    if "\0" in content:
        raise ValueError(f"{where} has a NUL")
    return content.split("\t")


def _location(count: int, fields: list[str]) -> Location:
    edition = EDITIONS.get(count)
    if edition is None:
        known = ", ".join(map(str, EDITIONS))
        raise ValueError(f"{count} fields; the known editions have {known}")
    if len(fields) != count:
        raise ValueError(f"{len(fields)} fields, the file's first content has {count}")
    named = dict(zip(edition, fields, strict=True))
    for name in NUMERIC_FIELDS:
        if named.get(name) and not _DEGREES.fullmatch(named[name]):
            raise ValueError(f"{name} {named[name]!r} is not a decimal number of degrees")
    at = len(NAME_FIELDS)
    country, province, city, organization, isp = (named.get(name, "") for name in NAME_FIELDS)
    return Location(country, province, city, organization, isp, tuple(fields[at:]))
