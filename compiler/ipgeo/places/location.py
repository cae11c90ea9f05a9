"""The content of a source: locations, and the runs of addresses that have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ipgeo.contract import ARRAY_FIELDS
from ipgeo.ranges.columns import Runs4, Runs6

NO_DATA = 0xFFFFFFFF
"""The location id of a run for which the source has nothing."""

CODE_FIELDS = ("country_code", "province_code", "city_code")
"""The standard fields that are codes: a source's own ISO codes, or those of the code tables."""

NAME_FIELDS = tuple(name for name in ARRAY_FIELDS if name not in CODE_FIELDS)
"""The standard fields that every location has as text, and their order in a source."""

NamePath: TypeAlias = tuple[str, ...]
"""A name within its country and province: one to three names, the country first."""

Value: TypeAlias = str | int | float | bool | None
"""The value of a field; None if a location does not have it."""


class Location(NamedTuple):
    """One place as its source writes it; an absent name is the empty string.

    The names are ``NAME_FIELDS``. ``extra`` holds the values of the fields that the source adds,
    in the order of its ``Source.extra``. ``iso_codes`` are the source's own ISO codes of the
    country (3166-1 alpha-2) and of the largest subdivision (3166-2, with the country), as far as
    it has them. ``known_as`` are country, province and city in Chinese, for the code tables, if
    the names are in another language.
    """

    country: str
    province: str = ""
    city: str = ""
    organization: str = ""
    isp: str = ""
    extra: tuple[Value, ...] = ()
    iso_codes: tuple[str | None, str | None] = (None, None)
    known_as: NamePath | None = None

    def place_key(self) -> tuple[object, ...]:
        """Return a key that locations share if their codes must be the same."""
        return self[:3] + self[6:]


@dataclass(frozen=True, slots=True)
class Source:
    """A source that has been read whole and found valid.

    The ids of its runs are indexes into ``locations``, or ``NO_DATA``. ``v6`` is None of a source
    that knows no IPv6. ``extra`` are the names of the fields that it adds to ``NAME_FIELDS``.
    ``facts`` describes it for the blob's metadata: format, edition, records, bytes, sha256.
    ``languages`` are those of its names, the preferred one first; none if it does not tell.
    ``keep`` are the fields that were kept beside the standard ones.
    """

    v4: Runs4
    locations: Sequence[Location]
    facts: dict[str, str | int]
    sample: bool = False
    v6: Runs6 | None = None
    extra: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
