"""What a source says: locations, and the runs of addresses that have them."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

NO_DATA = 0xFFFFFFFF
"""The location number of a run for which the source has nothing."""


NUMERIC = frozenset({"latitude", "longitude"})
"""The names in ``Location.extra`` whose text is a decimal number (degrees; may be empty)."""


@dataclass(frozen=True, slots=True)
class Location:
    """One place as its source writes it; an absent name is the empty string.

    ``extra`` holds what larger editions add, as (standard name, text) in the source's order.
    """

    country: str
    province: str = ""
    city: str = ""
    organization: str = ""
    isp: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Runs:
    """All 2^32 addresses as consecutive runs, in columns.

    Run ``i`` begins at ``first[i]`` (u32, strictly ascending, ``first[0] == 0``) and ends
    before ``first[i + 1]``; the last one ends at 255.255.255.255. ``number[i]`` is an index into
    ``locations``, or ``NO_DATA``.
    """

    first: "array[int]"
    number: "array[int]"
    locations: Sequence[Location]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.first)


@dataclass(frozen=True, slots=True)
class Source:
    """A source that has been read whole and found valid.

    ``facts`` describes it for the blob's metadata: format, edition, records, bytes, sha256.
    """

    runs: Runs
    facts: dict[str, str | int]
    sample: bool = False
