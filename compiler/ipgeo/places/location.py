"""The content of a source: locations, and the runs of addresses that have them."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ipgeo.contract import ARRAY_FIELDS

NO_DATA = 0xFFFFFFFF
"""The location id of a run for which the source has nothing."""

CODE_FIELDS = ("country_code", "province_code", "city_code")
"""The standard fields that come from the code tables, not from a source."""

NAME_FIELDS = tuple(name for name in ARRAY_FIELDS if name not in CODE_FIELDS)
"""The standard fields that every location has as text, and their order in a source."""


@dataclass(frozen=True, slots=True)
class Location:
    """One place as its source writes it; an absent name is the empty string.

    The names are ``NAME_FIELDS``. ``extra`` holds what larger editions add, as (standard name,
    text) in the source's order.
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

    Run ``i`` begins at ``starts[i]`` (u32, strictly ascending, ``starts[0] == 0``) and ends
    before ``starts[i + 1]``; the last one ends at 255.255.255.255. ``location_ids[i]`` is an index
    into ``locations``, or ``NO_DATA``.
    """

    starts: "array[int]"
    location_ids: "array[int]"
    locations: Sequence[Location]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Source:
    """A source that has been read whole and found valid.

    ``facts`` describes it for the blob's metadata: format, edition, records, bytes, sha256.
    """

    runs: Runs
    facts: dict[str, str | int]
    sample: bool = False
