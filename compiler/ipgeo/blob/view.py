"""Lookup in the bytes of a blob, where they lie: only what leads to the sections is read."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from ipgeo.blob.check import (
    check_header,
    check_meta,
    check_present,
    check_sections,
    column_of,
)
from ipgeo.blob.layout import (
    HEAP,
    META,
    OFFSET,
    ROW,
    SHAPE,
    V4_INDEX,
    V4_LOW,
    V4_RECORD,
    V6_HIGH,
    V6_INDEX,
    V6_LOW,
    V6_RECORD,
)
from ipgeo.blob.parts import Parts
from ipgeo.blob.runs import record_code
from ipgeo.blob.shape import ARRAY_FORM, OBJECT_FORM, decode_shape
from ipgeo.blob.texts import Texts
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import IPV4, IPV6, Address, Family
from ipgeo.ranges.columns import LOW_BITS

MAX_KEPT_ANSWERS = 4096
"""How many rendered answers a view keeps: a batch asks for the same rows again and again."""


class BlobView:
    """Lookups in a blob that ``Blob`` has accepted, for as long as its bytes do not change.

    ``rows`` is the number of different answers; ``fields`` are the names of the object answers'
    members. An answer is put together when it is asked for; the first ``MAX_KEPT_ANSWERS`` are
    kept.
    """

    def __init__(self, data: bytes | mmap) -> None:
        """Open a blob. Raises BlobError for what cannot be one, and accepts more than ``Blob``."""
        view = memoryview(data)
        self.size = len(view)
        self.build_id = check_header(view, self.size)
        self.sections = check_sections(view)
        self._content = {s.tag: view[s.offset : s.offset + s.length] for s in self.sections}
        check_present(self._content)
        self.meta: dict[str, Any] = check_meta(bytes(self._content[META]))
        self.fields: list[str] = self.meta["fields"]
        texts = Texts(self._content[HEAP], column_of(OFFSET, "I", self._content))
        self.shape = decode_shape(column_of(SHAPE, "I", self._content), len(texts))
        self.rows = self.shape.rows
        self._parts = Parts(self.shape, self._content.get(ROW, view[:0]), texts)
        self._answers: dict[int, Answer] = {}
        self._finder4 = _finder4(self._content)
        self._finder6 = _finder6(self._content) if V6_INDEX in self._content else None

    @property
    def runs(self) -> int:
        """The number of runs of both families."""
        return sum(self.families.values())

    @property
    def families(self) -> dict[str, int]:
        """The number of runs by family, of those that the blob has."""
        found = {IPV4.name: len(self._finder4.lows)}
        return found | {IPV6.name: len(self._finder6.lows)} if self._finder6 else found

    def find(self, address: int, family: Family = IPV4) -> int | None:
        """Return the row number of ``address``, or None where there is no data."""
        if family == IPV4:
            row = self._finder4.find(address)
        elif self._finder6:
            row = self._finder6.find(address)
        else:
            return None
        return None if row == self.rows else row

    def answer(self, row: int) -> Answer:
        """Return both forms of the answer of a row."""
        known = self._answers.get(row)
        if known is None:
            forms = (self._parts.answer(form, row) for form in (ARRAY_FORM, OBJECT_FORM))
            known = Answer(*forms)
            if len(self._answers) < MAX_KEPT_ANSWERS:
                self._answers[row] = known
        return known

    def answer_to(self, address: Address) -> Answer | None:
        """Return both forms of the answer to an address, or None where there is no data."""
        answering = address.answering
        row = self.find(answering.number, answering.family)
        return None if row is None else self.answer(row)


@dataclass(frozen=True, slots=True)
class _Finder4:
    """The IPv4 runs: run ``i`` of bucket ``b`` begins at ``b << 16 | lows[i]``."""

    index: Sequence[int]
    lows: Sequence[int]
    records: Sequence[int]

    def find(self, address: int) -> int:
        """Return the record of the last run that starts at or before ``address``."""
        bucket = address >> 16
        begin, end = self.index[bucket], self.index[bucket + 1]
        return self.records[bisect_right(self.lows, address & 0xFFFF, begin, end) - 1]


@dataclass(frozen=True, slots=True)
class _Finder6:
    """The IPv6 runs: run ``i`` begins at ``highs[i] << 64 | lows[i]``, in the bucket of its /16."""

    index: Sequence[int]
    highs: Sequence[int]
    lows: Sequence[int]
    records: Sequence[int]

    def find(self, address: int) -> int:
        """Return the record of the last run that starts at or before ``address``."""
        high, low = address >> 64, address & LOW_BITS
        bucket = high >> 48
        begin, end = self.index[bucket], self.index[bucket + 1]
        begin = bisect_left(self.highs, high, begin, end)
        end = bisect_right(self.highs, high, begin, end)
        return self.records[bisect_right(self.lows, low, begin, end) - 1]


def _finder4(content: Mapping[str, memoryview]) -> _Finder4:
    lows = column_of(V4_LOW, "H", content)
    records = column_of(V4_RECORD, record_code(V4_RECORD, content, len(lows)), content)
    return _Finder4(column_of(V4_INDEX, "I", content), lows, records)


def _finder6(content: Mapping[str, memoryview]) -> _Finder6:
    highs, lows = (column_of(tag, "Q", content) for tag in (V6_HIGH, V6_LOW))
    records = column_of(V6_RECORD, record_code(V6_RECORD, content, len(highs)), content)
    return _Finder6(column_of(V6_INDEX, "I", content), highs, lows, records)
