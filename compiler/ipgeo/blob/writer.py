"""The writer of a blob."""

import itertools
import json
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ipgeo.blob.body import Body
from ipgeo.blob.layout import (
    ALIGN,
    BUCKETS,
    BUILD_ID_SIZE,
    HEADER,
    HEAP,
    LAYOUT,
    MAGIC,
    MAX_SIZE,
    META,
    OFFSET,
    ROW,
    SECTION,
    SHAPE,
    V4_INDEX,
    V4_LOW,
    V4_RECORD,
    V6_HIGH,
    V6_INDEX,
    V6_LOW,
    V6_RECORD,
    seal,
)
from ipgeo.blob.shape import Shape, encode_shape
from ipgeo.errors import BlobError
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.columns import Runs4, Runs6


def write_blob(v4: Runs4, body: Body, meta: Mapping[str, Any], v6: Runs6 | None = None) -> bytes:
    """Return the blob in which the ids of the runs are row numbers of ``body``, or ``NO_DATA``.

    The runs are coalesced. The same arguments give the same bytes. Raises BlobError if that is more
    than a blob may have.
    """
    heap_size = sum(map(len, body.texts))
    if heap_size > MAX_SIZE:
        raise BlobError(f"{heap_size} bytes of answers, a blob has at most {MAX_SIZE}")
    rows = body.shape.rows
    sections = {META: _meta(meta, body.fields), **_v4(v4, rows)}
    if v6:
        sections |= _v6(v6, rows)
    sections[SHAPE] = _little(array("I", encode_shape(body.shape)))
    if body.shape.row_size:
        sections[ROW] = _row_bytes(body.shape, body.cells)
    sections[OFFSET] = _little(array("I", itertools.accumulate(map(len, body.texts), initial=0)))
    sections[HEAP] = b"".join(body.texts)
    return _assemble(sections)


def _meta(meta: Mapping[str, Any], fields: Sequence[str]) -> bytes:
    whole = {**meta, "fields": list(fields)}
    return json.dumps(whole, ensure_ascii=False, sort_keys=True).encode()


def _v4(runs: Runs4, rows: int) -> dict[str, bytes]:
    halves = array("H", runs.starts.tobytes())  # low and high 16 bits of each, in host order
    low = halves[0::2] if sys.byteorder == "little" else halves[1::2]
    index = _index(runs.starts, 16)
    return {V4_INDEX: index, V4_LOW: _little(low), V4_RECORD: _records(runs.ids, rows)}


def _v6(runs: Runs6, rows: int) -> dict[str, bytes]:
    return {
        V6_INDEX: _index(runs.highs, 48),
        V6_HIGH: _little(runs.highs),
        V6_LOW: _little(runs.lows),
        V6_RECORD: _records(runs.ids, rows),
    }


def _index(starts: "array[int]", low_bits: int) -> bytes:
    """Return for each bucket how many runs start before it, and the number of runs."""
    index = array("I", (bisect_left(starts, bucket << low_bits) for bucket in range(BUCKETS)))
    index.append(len(starts))
    return _little(index)


def _records(ids: "array[int]", rows: int) -> bytes:
    """Return the row number of each run, ``rows`` where there is no data."""
    typecode = "H" if rows < BUCKETS else "I"
    return _little(array(typecode, (rows if row == NO_DATA else row for row in ids)))


def _row_bytes(shape: Shape, cells: Sequence["array[int]"]) -> bytes:
    """Return the rows: byte by byte of a cell, all rows at once."""
    row_bytes = bytearray(shape.rows * shape.row_size)
    for column, its_cells in zip(shape.columns, cells, strict=True):
        content = _little(its_cells)
        for byte in range(column.width):
            row_bytes[column.at + byte :: shape.row_size] = content[byte :: column.width]
    return bytes(row_bytes)


def _little(column: "array[int]") -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _assemble(sections: Mapping[str, bytes]) -> bytes:
    table_end = HEADER.size + SECTION.size * len(sections)
    size = table_end + sum(len(content) + -len(content) % ALIGN for content in sections.values())
    if size > MAX_SIZE:
        raise BlobError(f"{size} bytes, a blob has at most {MAX_SIZE}")
    header = HEADER.pack(MAGIC, LAYOUT, len(sections), size, 0, bytes(BUILD_ID_SIZE))
    table = bytearray()
    offset = table_end
    for tag, content in sections.items():
        table += SECTION.pack(tag.encode(), offset, len(content))
        offset += len(content) + -len(content) % ALIGN
    padded = (part for c in sections.values() for part in (c, bytes(-len(c) % ALIGN)))
    return seal(b"".join((header, table, *padded)))
