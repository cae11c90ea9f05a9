"""The reader of a blob, which checks it whole."""

import itertools
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path
from typing import BinaryIO

from ipgeo.blob.check import check_header, check_seal
from ipgeo.blob.layout import HEADER
from ipgeo.blob.members import Members, Value
from ipgeo.blob.parts import check_parts
from ipgeo.blob.runs import read_v4, read_v6
from ipgeo.blob.shape import ARRAY_FORM, OBJECT_FORM
from ipgeo.blob.texts import check_texts
from ipgeo.blob.view import BlobView
from ipgeo.errors import BlobError
from ipgeo.files.reading import open_regular, read_exactly, size_of
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import IPV4, Family


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


class Blob(BlobView):
    """A blob that was checked whole: every lookup stays inside it and every answer is JSON.

    ``v4`` and ``v6`` are its runs, ``v6`` None of a blob without; their ids are row numbers, and
    ``rows`` where there is no data.
    """

    def __init__(self, data: bytes | mmap) -> None:
        """Check ``data`` whole; raise BlobError for one that breaks the format."""
        check_header(memoryview(data), len(data))
        check_seal(memoryview(data))
        super().__init__(data)
        check_texts(self._parts.texts)
        check_parts(self._parts)
        self._members = Members(self._parts, self.fields)
        self.v4 = read_v4(self._content, self.rows)
        self.v6 = read_v6(self._content, self.rows)

    def answers(self) -> Iterator[Answer]:
        """Yield the answers of all rows."""
        forms = (self._parts.answers(form) for form in (ARRAY_FORM, OBJECT_FORM))
        return itertools.starmap(Answer, zip(*forms, strict=True))

    def member(self, field: str) -> list[Value]:
        """Return a member of the object answers by row: texts, numbers, or None for null.

        A member that the blob does not have is None in every row.
        """
        return self._members.of(field)

    def spans(self, family: Family = IPV4) -> Iterator[tuple[int, int, int | None]]:
        """Yield (first address, last address inclusive, row number or None) of every run."""
        for first, last, row in (self.v4 if family == IPV4 else self.v6) or ():
            yield first, last, None if row == self.rows else row
