"""A location as the JSON bytes that go out: the array and the object form."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from operator import attrgetter, itemgetter
from typing import NamedTuple

from ipgeo.contract import ARRAY_FIELDS, FIELDS, FILLED_FIELDS, NUMERIC_FIELDS
from ipgeo.places.built_in import countries
from ipgeo.places.codes import Codes
from ipgeo.places.coordinates import shortest
from ipgeo.places.kinds import kind_of
from ipgeo.places.location import Location, Value

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

KIND = "kind"
"""The field that tells what stands in a country's place but is none."""

_ABSENT = (None, "")

_encode = json.JSONEncoder(ensure_ascii=False).encode
_NULL = "null"
_NO_CODE = _encode(NO_CODE)
_PLACE_FIELDS = ARRAY_FIELDS[:6]
_names = attrgetter("country", "province", "city")
_in_order = itemgetter(3, 0, 4, 1, 5, 2)  # of three codes, then three names


def fields_of(extra: Sequence[str]) -> tuple[str, ...]:
    """Return the fields of a blob whose source has the ``extra`` ones.

    First those of the array form, then the contract's, then the source's own by name.
    """
    own = {*extra, *FILLED_FIELDS, KIND}
    known = [name for name in FIELDS if name in own]
    return (*ARRAY_FIELDS, *known, *sorted(own.difference(known)))


def rows_of(codes: Codes, extra: Sequence[str], fields: Sequence[str]) -> Callable[[Location], Row]:
    """Return the function that makes the row of a location whose source has the ``extra`` fields.

    ``fields`` are as of ``fields_of``. The row has the codes, and what follows from the country's
    code where the source lacks it.
    """
    names = fields[len(ARRAY_FIELDS) :]
    known = {name: number for number, name in enumerate(extra)}
    own_values = _picker([known.get(name, len(extra)) for name in names])
    may_follow = [(at, name) for at, name in enumerate(names) if name in (*FILLED_FIELDS, KIND)]
    place_texts = _cached_places(codes)

    def row_of(location: Location) -> Row:
        values = own_values((*location.extra, None))
        texts, derived = place_texts(location)
        for at, name in may_follow:
            if values[at] in _ABSENT:
                values[at] = derived.get(name, values[at])
        return (
            *texts,
            _json("organization", location.organization),
            _json("isp", location.isp),
            *map(_json, names, values),
        )

    return row_of


def _picker(numbers: Sequence[int]) -> Callable[[Sequence[Value]], list[Value]]:
    """Return the function that takes these of some values."""
    return lambda values: [*map(values.__getitem__, numbers)]


def _cached_places(codes: Codes) -> Callable[[Location], tuple[Row, dict[str, Value]]]:
    """Return the function for the JSON of a place's names and codes, and what follows from it."""
    known: dict[Sequence[object], tuple[Row, dict[str, Value]]] = {}

    def place_texts(location: Location) -> tuple[Row, dict[str, Value]]:
        place = location.place_key()
        if place not in known:
            found = codes.of(location)
            in_order = _in_order((*found, *_names(location)))
            texts = tuple(map(_json, _PLACE_FIELDS, in_order))
            known[place] = texts, _derived(found[0], location.country)
        return known[place]

    return place_texts


@lru_cache(1 << 12)
def _derived(country_code: str | None, country: str) -> dict[str, Value]:
    """Return what follows from a country's code, or from a name that is no country's."""
    if country_code is None:
        return {KIND: kind_of(country)}
    facts = countries().get(country_code)
    return {name: getattr(facts, name) for name in FILLED_FIELDS} if facts else {}


@lru_cache(1 << 16, typed=True)  # 1, 1.0 and True are equal
def _json(name: str, value: Value) -> str:
    """Return the JSON of a field's value, which is None for a field that is not there.

    The cache is as much for space as for time: equal values of many rows are one string.
    """
    if value is None:
        return '""' if FIELDS.get(name) == "string" else _NULL
    if name in NUMERIC_FIELDS:
        return _degrees(str(value))
    return _encode(value)


def _degrees(text: str) -> str:
    """Return the JSON of a number in a text, or of none."""
    return shortest(float(text)) if text else _NULL


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
