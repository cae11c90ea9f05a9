"""A location as the JSON bytes that go out: the array and the object form."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from ipgeo.contract import ARRAY_FIELDS, NUMERIC_FIELDS
from ipgeo.places.codes import Codes
from ipgeo.places.location import CODE_FIELDS, NAME_FIELDS, Location

NO_CODE = "None"
"""What the array form has for a name without a code, as the original service did."""


class Answer(NamedTuple):
    """Both forms of one location, UTF-8.

    ``object_tail`` is the object form after its ``ip`` member, with the closing brace: a server
    puts ``{"ip":"A",`` before it.
    """

    array: bytes
    object_tail: bytes

    def object_form(self, ip: str) -> bytes:
        """Return the object form for ``ip``, an address as text."""
        return b'{"ip":"' + ip.encode() + b'",' + self.object_tail

    @property
    def object_without_ip(self) -> bytes:
        """The object form of the location itself, whatever the address."""
        return b"{" + self.object_tail


@dataclass(frozen=True, slots=True)
class Country:
    """A country as answers name it; ``code`` is None without one."""

    name: str
    code: str | None


def render(location: Location, codes: Codes) -> Answer:
    """Render ``location`` with its codes."""
    values: dict[str, str | None] = dict(zip(CODE_FIELDS, codes.of(location), strict=True))
    values |= {name: getattr(location, name) for name in NAME_FIELDS}
    members = {name: values[name] for name in ARRAY_FIELDS}
    # A source's names have no None among them, so only codes become NO_CODE.
    array = [NO_CODE if value is None else value for value in members.values()]
    extra = {name: _value(name, text) for name, text in location.extra}
    return Answer(_json(array), _json(members | extra)[1:])


def _value(name: str, text: str) -> str | float | None:
    if name not in NUMERIC_FIELDS:
        return text
    return float(text) if text else None


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
