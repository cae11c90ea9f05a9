"""A location as the JSON bytes that go out: the array and the object form."""

import json
from typing import NamedTuple

from ipgeo.places.codes import Codes
from ipgeo.places.location import NUMERIC, Location

NO_CODE = "None"
"""What the array form says for a name without a code, as the original service did."""


class Answer(NamedTuple):
    """Both forms of one location, UTF-8.

    ``members`` is the object form from behind its ``ip`` member on, with the closing brace: the
    server puts ``{"ip":"A",`` before it.
    """

    array: bytes
    members: bytes


def render(location: Location, codes: Codes) -> Answer:
    """Render ``location`` with its codes."""
    country_code, province_code, city_code = codes.of(location)
    members = {
        "country": location.country,
        "country_code": country_code,
        "province": location.province,
        "province_code": province_code,
        "city": location.city,
        "city_code": city_code,
        "organization": location.organization,
        "isp": location.isp,
    }
    # A source's names have no None among them, so only codes become NO_CODE.
    array = [NO_CODE if value is None else value for value in members.values()]
    extra = {name: _value(name, text) for name, text in location.extra}
    return Answer(_json(array), _json(members | extra)[1:])


def _value(name: str, text: str) -> str | float | None:
    if name not in NUMERIC:
        return text
    return float(text) if text else None


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
