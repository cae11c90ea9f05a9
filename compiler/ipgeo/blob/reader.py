"""The reader of a blob, which checks it whole."""

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ipgeo.blob.check import (
    check_answers,
    check_header,
    check_index,
    check_meta,
    check_offsets,
    check_present,
    check_seal,
    check_sections,
    read_column,
    read_location_ids,
    read_starts,
)
from ipgeo.blob.layout import HEADER
from ipgeo.errors import BlobError
from ipgeo.files.reading import open_regular, read_exactly, size_of
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import LAST_ADDRESS


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

    Run ``i`` begins at the address ``starts[i]`` and has the location ``location_ids[i]``, which is
    ``locations`` where there is no data. ``countries`` has the country of each location.
    """

    def __init__(self, data: bytes) -> None:
        """Check ``data`` whole; raise BlobError for one that breaks the format."""
        self.build_id = check_header(data, len(data))
        check_seal(data)
        self.size = len(data)
        self.sections = check_sections(data)
        content = {s.tag: data[s.offset : s.offset + s.length] for s in self.sections}
        check_present(content)
        self.meta: dict[str, Any] = check_meta(content["meta"])
        self._heap = content["heap"]
        self._offset = check_offsets(read_column("offset", "I", content["offset"]), len(self._heap))
        self.locations = len(self._offset) // 2
        low = read_column("v4low", "H", content["v4low"])
        index = check_index(read_column("v4index", "I", content["v4index"]), low)
        self.starts = read_starts(index, low)
        self.location_ids = read_location_ids(content["v4record"], len(low), self.locations)
        self.countries = check_answers(map(self.answer, range(self.locations)))

    @property
    def runs(self) -> int:
        """The number of runs."""
        return len(self.starts)

    def find(self, address: int) -> int | None:
        """Return the location id of ``address`` (0..2^32-1), or None where there is no data."""
        location = self.location_ids[bisect_right(self.starts, address) - 1]
        return None if location == self.locations else location

    def answer(self, location: int) -> Answer:
        """Return both forms of the answer of a location id."""
        return Answer(self._text(location), self._text(self.locations + location))

    def spans(self) -> Iterator[tuple[int, int, int | None]]:
        """Yield (first address, last address inclusive, location id or None) of every run."""
        lasts = itertools.chain((start - 1 for start in self.starts[1:]), (LAST_ADDRESS,))
        for first, last, location in zip(self.starts, lasts, self.location_ids, strict=True):
            yield first, last, None if location == self.locations else location

    def _text(self, entry: int) -> bytes:
        return self._heap[self._offset[entry] : self._offset[entry + 1]]
