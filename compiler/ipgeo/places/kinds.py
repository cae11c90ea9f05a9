"""Names that databases put in a country's place and that are no country."""

import re
from collections.abc import Mapping
from functools import cache

from ipgeo.places.built_in import built_in, read_table

ORGANIZATION = "organization"

KINDS = ("reserved", "private", "shared", "multicast", "region", ORGANIZATION)
"""What such a name can stand for: special addresses first, as IANA's registries have them."""

_TABLE = "kinds.tsv"

# Backbones; domains; Latin capitals, in which databases write no country but companies.
_ORGANIZATION_NAME = re.compile(
    r".*骨干网|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|(?=.*[A-Z])[A-Z0-9][A-Z0-9&. -]+"
)


def kind_of(name: str) -> str | None:
    """Return which of ``KINDS`` a country's ``name`` stands for.

    None for a country, and for a name of which nothing is known.
    """
    if built_in().find((), name):
        return None
    kind = _kinds().get(name.casefold())
    return kind or (ORGANIZATION if _ORGANIZATION_NAME.fullmatch(name) else None)


@cache
def _kinds() -> Mapping[str, str]:
    return {row["name"].casefold(): row["kind"] for row in read_table(_TABLE)}
