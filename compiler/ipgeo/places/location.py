"""The content of a source: locations, and the runs of addresses that have them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ipgeo.contract import ARRAY_FIELDS
from ipgeo.ranges.columns import Runs4, Runs6

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
class Source:
    """A source that has been read whole and found valid.

    The ids of its runs are indexes into ``locations``, or ``NO_DATA``. ``v6`` is None of a source
    that knows no IPv6. ``facts`` describes it for the blob's metadata: format, edition, records,
    bytes, sha256.
    """

    v4: Runs4
    locations: Sequence[Location]
    facts: dict[str, str | int]
    sample: bool = False
    v6: Runs6 | None = None
