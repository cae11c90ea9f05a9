"""The writer of a blob."""

import itertools
import json
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ipgeo.blob.layout import (
    ALIGN,
    BUCKETS,
    BUILD_ID_SIZE,
    HEADER,
    HEAP,
    INDEX,
    LAYOUT,
    LOW,
    MAGIC,
    META,
    OFFSET,
    RECORD,
    SECTION,
    seal,
)
from ipgeo.places.answers import Answer
from ipgeo.places.location import NO_DATA


def write_blob(
    starts: "array[int]",
    location_ids: "array[int]",
    answers: Sequence[Answer],
    meta: Mapping[str, Any],
) -> bytes:
    """Return the blob in which run ``i`` has ``starts[i]`` and ``answers[location_ids[i]]``.

    The runs cover all addresses and are coalesced; ``location_ids`` may be ``NO_DATA``. The same
    arguments give the same bytes.
    """
    halves = array("H", starts.tobytes())  # low and high 16 bits of each start, in host order
    low = halves[0::2] if sys.byteorder == "little" else halves[1::2]
    index = array("I", (bisect_left(starts, bucket << 16) for bucket in range(BUCKETS)))
    index.append(len(starts))
    none = len(answers)
    record = array("H" if none < BUCKETS else "I")
    record.extend(none if location == NO_DATA else location for location in location_ids)
    heap = [answer.array for answer in answers] + [answer.object_tail for answer in answers]
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
    start = HEADER.size + SECTION.size * len(sections)
    for tag, content in sections.items():
        table += SECTION.pack(tag, start + len(body), len(content))
        body += content + bytes(-len(content) % ALIGN)
    size = start + len(body)
    header = HEADER.pack(MAGIC, LAYOUT, len(sections), size, 0, bytes(BUILD_ID_SIZE))
    return seal(header + bytes(table) + bytes(body))
