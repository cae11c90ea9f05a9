"""Names that databases use as a country's name, but that are not countries."""

import re
from collections.abc import Mapping
from functools import cache

from ipgeo.places.built_in import built_in, read_table

ORGANIZATION = "organization"

KINDS = ("reserved", "private", "shared", "multicast", "region", ORGANIZATION)
"""The kinds of such names: special addresses first, as in IANA's registries."""

_TABLE = "kinds.tsv"

# Backbones; domains; Latin capitals, in which databases write companies, but no country.
_ORGANIZATION_NAME = re.compile(
    r".*骨干网|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|(?=.*[A-Z])[A-Z0-9][A-Z0-9&. -]+"
)


def kind_of(name: str) -> str | None:
    """Return which of ``KINDS`` the ``name`` of a country has.

    None for a country, and for an unknown name.
    """
    if built_in().find((), name):
        return None
    kind = _kinds().get(name.casefold())
    return kind or (ORGANIZATION if _ORGANIZATION_NAME.fullmatch(name) else None)


@cache
def _kinds() -> Mapping[str, str]:
    return {row["name"].casefold(): row["kind"] for row in read_table(_TABLE)}
