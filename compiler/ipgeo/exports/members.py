"""The records of an export: a location's members by name.

A record is the object answer without its ``ip``. MMDB leaves out a name without a code, as it does
not know null; CSV has an empty cell. Addresses without data are in neither.
"""

import json

from ipgeo.blob.reader import Blob

Members = dict[str, str | float | None]
"""A location's members by name; latitude and longitude are floats, a missing code is None."""


def location_members(blob: Blob) -> list[Members]:
    """Return the members of every location, by its id."""
    return [json.loads(blob.answer(n).object_without_ip) for n in range(blob.locations)]
