"""A location as the JSON bytes that go out: the array and the object form."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import NamedTuple

from ipgeo.contract import ARRAY_FIELDS, FIELDS, NUMERIC_FIELDS
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
    def digest(self) -> bytes:
        """128 bits that equal answers share, and no others: to compare many in little memory."""
        return hashlib.blake2b(b"\n".join(self), digest_size=16).digest()

    @property
    def object_without_ip(self) -> bytes:
        """The object form of the location itself, whatever the address."""
        return b"{" + self.object_tail


Row = tuple[str, ...]
"""The value of each field of a blob, as JSON."""

_encode = json.JSONEncoder(ensure_ascii=False).encode
_NULL = "null"
_NO_CODE = _encode(NO_CODE)
_names = attrgetter(*NAME_FIELDS)
_in_order = itemgetter(*map((*CODE_FIELDS, *NAME_FIELDS).index, ARRAY_FIELDS))


def fields_of(locations: Iterable[Location]) -> tuple[str, ...]:
    """Return the fields of all locations: first those of the array form, then the contract's."""
    extra = {name for location in locations for name, _ in location.extra}
    known = [name for name in FIELDS if name in extra]
    return (*ARRAY_FIELDS, *known, *sorted(extra.difference(known)))


def row_of(location: Location, codes: Codes, fields: Sequence[str]) -> Row:
    """Return the row of ``location`` with its codes."""
    standard = _in_order((*codes.of(location), *_names(location)))
    extra = dict(location.extra)
    rest = map(extra.get, fields[len(ARRAY_FIELDS) :])
    return tuple(map(_json, fields, chain(standard, rest)))


@lru_cache(1 << 16)
def _json(name: str, text: str | None) -> str:
    """Return the JSON of a field's text, which is None for a field that is not there.

    The cache is as much for space as for time: equal values of many rows are one string.
    """
    if name in NUMERIC_FIELDS:
        return repr(float(text)) if text else _NULL
    if text is None:
        return _NULL if name in CODE_FIELDS else '""'
    return _encode(text)


def in_array(text: str) -> str:
    """Return what the array form has for a value: a source's names have no None among them."""
    return _NO_CODE if text == _NULL else text


def answer_of(row: Row, fields: Sequence[str]) -> Answer:
    """Return both forms of a row."""
    array = ",".join([in_array(text) for text in row[: len(ARRAY_FIELDS)]])
    return Answer(f"[{array}]".encode(), (_object_pattern(tuple(fields)) % row).encode())


@cache
def _object_pattern(fields: tuple[str, ...]) -> str:
    names = (_encode(name).replace("%", "%%") for name in fields)
    return ",".join(f"{name}:%s" for name in names) + "}"


def render(location: Location, codes: Codes, fields: Sequence[str]) -> Answer:
    """Render ``location`` with its codes."""
    return answer_of(row_of(location, codes, fields), fields)
