"""The runs of both families in a blob, read and checked."""

import itertools
import operator
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence

from ipgeo.blob.check import read_column, require
from ipgeo.blob.layout import (
    BUCKETS,
    V4_INDEX,
    V4_LOW,
    V4_RECORD,
    V6_HIGH,
    V6_INDEX,
    V6_LOW,
    V6_RECORD,
)
from ipgeo.ranges.columns import Runs4, Runs6


def read_v4(content: Mapping[str, memoryview], rows: int) -> Runs4:
    """Return the IPv4 runs; their ids are row numbers, ``rows`` for no data."""
    low = read_column(V4_LOW, "H", content[V4_LOW])
    index = _read_index(V4_INDEX, content, len(low))
    require(index[1] > 0 and low[0] == 0, "the first run does not start at 0.0.0.0")
    starts = _starts(index, low)
    _check_ascent(map(operator.ge, starts[:-1], starts[1:]))
    return Runs4(starts, _read_records(V4_RECORD, content, len(low), rows))


def read_v6(content: Mapping[str, memoryview], rows: int) -> Runs6 | None:
    """Return the IPv6 runs, or None of a blob without; their ids are as those of IPv4."""
    if V6_INDEX not in content:
        return None
    highs = read_column(V6_HIGH, "Q", content[V6_HIGH])
    lows = read_column(V6_LOW, "Q", content[V6_LOW])
    require(len(highs) == len(lows), f"{V6_HIGH} and {V6_LOW} have different lengths")
    index = _read_index(V6_INDEX, content, len(highs))
    require(index[1] > 0 and highs[0] == lows[0] == 0, "the first run does not start at ::")
    these, next_ones = zip(highs, lows, strict=True), zip(highs[1:], lows[1:], strict=True)
    _check_ascent(map(operator.ge, these, next_ones))
    _check_buckets(index, highs)
    return Runs6(highs, lows, _read_records(V6_RECORD, content, len(highs), rows))


def _descends(column: Sequence[int]) -> bool:
    return any(map(operator.lt, column[1:], column[:-1]))


def _read_index(tag: str, content: Mapping[str, memoryview], runs: int) -> "array[int]":
    """Return an index, which never descends and spans the runs."""
    index = read_column(tag, "I", content[tag])
    require(len(index) == BUCKETS + 1, f"{tag} has {len(index)} entries")
    require(index[0] == 0 and index[-1] == runs, f"{tag} does not span the runs")
    require(not _descends(index), f"{tag} descends")
    return index


def _starts(index: "array[int]", low: "array[int]") -> "array[int]":
    """Return the first address of every run: its bucket, and its low half."""
    high = array("H")
    for bucket, (begin, end) in enumerate(itertools.pairwise(index)):
        if begin < end:
            high.extend(array("H", (bucket,)) * (end - begin))
    halves = array("H", bytes(4 * len(low)))
    halves[0::2], halves[1::2] = (low, high) if sys.byteorder == "little" else (high, low)
    return array("I", halves.tobytes())


def _check_ascent(falls: Iterable[bool]) -> None:
    """Refuse runs of which one starts after the next one, or where that does."""
    for run in itertools.compress(itertools.count(1), falls):
        require(False, f"run {run} does not start after run {run - 1}")  # noqa: FBT003


def _check_buckets(index: "array[int]", highs: "array[int]") -> None:
    """Refuse an index that does not have each IPv6 run in the bucket of its top 16 bits."""
    for bucket, (begin, end) in enumerate(itertools.pairwise(index)):
        if begin < end:
            right = highs[begin] >> 48 == highs[end - 1] >> 48 == bucket
            require(right, f"{V6_INDEX} has runs in bucket {bucket} that start elsewhere")


def _read_records(
    tag: str, content: Mapping[str, memoryview], runs: int, rows: int
) -> "array[int]":
    """Return the row number of every run, ``rows`` for no data; refuse a greater one."""
    ids = read_column(tag, record_code(tag, content, runs), content[tag])
    require(max(ids) <= rows, f"{tag} names a row that is not there")
    return ids


def record_code(tag: str, content: Mapping[str, memoryview], runs: int) -> str:
    """Return the type code of an array of records, of which there are as many as runs."""
    codes = {2 * runs: "H", 4 * runs: "I"}
    length = len(content[tag])
    require(length in codes, f"{tag} does not fit the runs")
    return codes[length]
