"""The reader of a blob, which checks it whole."""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ipgeo.blob.check import (
    check_header,
    check_meta,
    check_present,
    check_seal,
    check_sections,
    read_column,
)
from ipgeo.blob.layout import HEADER, HEAP, META, OFFSET, ROW, SHAPE
from ipgeo.blob.members import Members, Value
from ipgeo.blob.parts import read_parts
from ipgeo.blob.runs import read_v4, read_v6
from ipgeo.blob.shape import ARRAY_FORM, OBJECT_FORM, decode_shape
from ipgeo.blob.texts import check_texts
from ipgeo.errors import BlobError
from ipgeo.files.reading import open_regular, read_exactly, size_of
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import IPV4, IPV6, Address, Family
from ipgeo.ranges.columns import LOW_BITS, Runs4, Runs6

MAX_KEPT_ANSWERS = 4096
"""How many rendered answers a blob keeps: a batch asks for the same rows again and again."""


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

    Raises BlobError if these two rule out a blob, OSError if the file cannot be read.
    """
    size = size_of(file)
    check_header(read_exactly(file, min(size, HEADER.size)), size)
    return read_exactly(file, size)


class Blob:
    """A blob in memory, checked: every lookup stays inside it and every answer is JSON.

    ``v4`` and ``v6`` are its runs, ``v6`` None of a blob without; their ids are row numbers, and
    ``rows`` where there is no data. ``fields`` are the names of the object answers' members. An
    answer is put together when it is asked for; the first ``MAX_KEPT_ANSWERS`` are kept.
    """

    def __init__(self, data: bytes) -> None:
        """Check ``data`` whole; raise BlobError for one that breaks the format."""
        self.build_id = check_header(data, len(data))
        check_seal(data)
        self.size = len(data)
        self.sections = check_sections(data)
        view = memoryview(data)
        content = {s.tag: view[s.offset : s.offset + s.length] for s in self.sections}
        check_present(content)
        self.meta: dict[str, Any] = check_meta(bytes(content[META]))
        self.fields: list[str] = self.meta["fields"]
        texts = check_texts(content[HEAP], read_column(OFFSET, "I", content[OFFSET]))
        self.shape = decode_shape(read_column(SHAPE, "I", content[SHAPE]), len(texts))
        self.rows = self.shape.rows
        self._answers: dict[int, Answer] = {}
        self._parts = read_parts(self.shape, content.get(ROW, view[:0]), texts)
        self._members = Members(self._parts, self.fields)
        self.v4: Runs4 = read_v4(content, self.rows)
        self.v6: Runs6 | None = read_v6(content, self.rows)

    @property
    def runs(self) -> int:
        """The number of runs of both families."""
        return sum(self.families.values())

    @property
    def families(self) -> dict[str, int]:
        """The number of runs by family, of those that the blob has."""
        found = {IPV4.name: len(self.v4)}
        return found | {IPV6.name: len(self.v6)} if self.v6 else found

    def find(self, address: int, family: Family = IPV4) -> int | None:
        """Return the row number of ``address``, or None where there is no data."""
        if family == IPV4:
            row = self.v4.ids[bisect_right(self.v4.starts, address) - 1]
        elif self.v6:
            row = self.v6.ids[_run6(self.v6, address)]
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

    def answers(self) -> Iterator[Answer]:
        """Yield the answers of all rows."""
        forms = (self._parts.answers(form) for form in (ARRAY_FORM, OBJECT_FORM))
        return itertools.starmap(Answer, zip(*forms, strict=True))

    def answer_to(self, address: Address) -> Answer | None:
        """Return both forms of the answer to an address, or None where there is no data."""
        answering = address.answering
        row = self.find(answering.number, answering.family)
        return None if row is None else self.answer(row)

    def member(self, field: str) -> list[Value]:
        """Return a member of the object answers by row: texts, numbers, or None for null.

        A member that the blob does not have is None in every row.
        """
        return self._members.of(field)

    def spans(self, family: Family = IPV4) -> Iterator[tuple[int, int, int | None]]:
        """Yield (first address, last address inclusive, row number or None) of every run."""
        for first, last, row in (self.v4 if family == IPV4 else self.v6) or ():
            yield first, last, None if row == self.rows else row


def _run6(runs: Runs6, address: int) -> int:
    """Return the run of an IPv6 address: the last that starts at or before it."""
    high, low = address >> 64, address & LOW_BITS
    begin = bisect_left(runs.highs, high)
    end = bisect_right(runs.highs, high, begin)
    return bisect_right(runs.lows, low, begin, end) - 1
