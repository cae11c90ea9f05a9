"""All addresses of a family as consecutive runs, in columns."""

import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from ipgeo.ranges.address import ADDRESS_COUNT
from ipgeo.ranges.runs import changes, coalesce

IPV6_COUNT = 1 << 128
LOW_BITS = (1 << 64) - 1

Run = tuple[int, int, int]
"""First address, last address (inclusive), id."""


@dataclass(frozen=True, slots=True)
class Runs4:
    """All 2^32 IPv4 addresses.

    Run ``i`` begins at ``starts[i]`` (u32, inclusive, strictly ascending, ``starts[0] == 0``) and
    ends before ``starts[i + 1]``; the last one ends at 255.255.255.255. ``ids[i]`` (u32) is what
    the addresses have: an index into a list that the reader keeps, or its value for no data.
    """

    starts: "array[int]"
    ids: "array[int]"

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.ids)

    def __iter__(self) -> Iterator[Run]:
        """Yield each run, ascending: first address, last address (inclusive), id."""
        ends = itertools.chain(itertools.islice(self.starts, 1, None), (ADDRESS_COUNT,))
        for start, end, number in zip(self.starts, ends, self.ids, strict=True):
            yield start, end - 1, number

    def coalesced(self) -> "Runs4":
        """Return the same addresses without the runs that repeat the id of the run before them."""
        return Runs4(*coalesce(self.starts, self.ids))


@dataclass(frozen=True, slots=True)
class Runs6:
    """All 2^128 IPv6 addresses.

    Run ``i`` begins at ``highs[i] << 64 | lows[i]`` (two u64, inclusive, strictly ascending from
    ``::``) and ends before the next one; the last one ends at ffff:…:ffff. ``ids`` is as in
    ``Runs4``.
    """

    highs: "array[int]"
    lows: "array[int]"
    ids: "array[int]"

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.ids)

    def __iter__(self) -> Iterator[Run]:
        """Yield each run, ascending: first address, last address (inclusive), id."""
        pairs = itertools.pairwise(itertools.chain(self._starts(), (IPV6_COUNT,)))
        for (start, end), number in zip(pairs, self.ids, strict=True):
            yield start, end - 1, number

    @property
    def starts(self) -> list[int]:
        """The first address of each run."""
        return list(self._starts())

    def _starts(self) -> Iterator[int]:
        return (high << 64 | low for high, low in zip(self.highs, self.lows, strict=True))

    def coalesced(self) -> "Runs6":
        """Return the same addresses without the runs that repeat the id of the run before them."""
        keep = changes(self.ids)
        return Runs6(
            array("Q", itertools.compress(self.highs, keep)),
            array("Q", itertools.compress(self.lows, keep)),
            array("I", itertools.compress(self.ids, keep)),
        )
