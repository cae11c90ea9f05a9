"""The texts of a blob, of which answers are put together."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ipgeo.blob.check import require

_CONTROL = re.compile(rb"[\x00-\x1f]")  # a line feed would break answers apart that are lines


@dataclass(frozen=True, slots=True)
class Texts:
    """Text ``n`` is ``heap[offsets[n] : offsets[n + 1]]``."""

    heap: memoryview
    offsets: Sequence[int]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> bytes:
        """Return a text."""
        return bytes(self.heap[self.offsets[number] : self.offsets[number + 1]])

    def longest(self, numbers: range) -> int:
        """Return the length of the longest of these texts, 0 if there are none."""
        begins = self.offsets[numbers.start : numbers.stop]
        ends = self.offsets[numbers.start + 1 : numbers.stop + 1]
        return max(map(operator.sub, ends, begins), default=0)


def check_texts(texts: Texts) -> None:
    """Check that texts span their heap, which is UTF-8 without control characters."""
    heap, offsets = texts.heap, texts.offsets
    require(len(offsets) > 0, "offset has no entries")
    require(offsets[0] == 0 and offsets[-1] == len(heap), "offset does not span the heap")
    require(not any(map(operator.lt, offsets[1:], offsets[:-1])), "offset descends")
    found = _CONTROL.search(heap)
    require(not found, f"byte {found.start() if found else 0} of the heap is a control character")
    _check_utf8(heap)


def _check_utf8(heap: memoryview) -> None:
    try:
        str(heap, "utf-8")
    except UnicodeDecodeError as error:
        require(False, f"byte {error.start} of the heap is not UTF-8")  # noqa: FBT003
