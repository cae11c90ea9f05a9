"""An MMDB as a source: its records as locations, with names in the languages asked for."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ipgeo.contract import FIELDS
from ipgeo.errors import InputError
from ipgeo.garbage import without_collecting
from ipgeo.places.location import NAME_FIELDS, Location, Source, Value
from ipgeo.places.names import country_name, province_name
from ipgeo.sources.mmdb.decode import Value as Decoded
from ipgeo.sources.mmdb.reader import MmdbFile, parse
from ipgeo.sources.mmdb.records import (
    NETWORK_KEYS,
    PLACE_KEYS,
    Field,
    Record,
    flatten,
    names_in,
    network_fields,
    place_fields,
    position_fields,
)
from ipgeo.sources.options import ReadOptions

CHINESE = "zh-CN"

_PLACE = ("continent_code", "continent", "is_eu", "geoname_id")
_POSITION = tuple(position_fields({}))
_NETWORK = ("asn", "as_organization", "anycast")
EXTRA = (*_PLACE, *_POSITION, *_NETWORK)
"""The standard fields that records may have, beside names and codes."""

MAX_OWN_FIELDS = 40
"""How many fields of its own a source may add to the standard ones: a blob has 64 columns."""

_T = TypeVar("_T")
_NO_RECORD: dict[str, Decoded] = {}


def read_mmdb(path: Path | str, data: bytes, options: ReadOptions) -> Source:
    """Read and check the MMDB ``data`` of the file ``path``.

    ``options.keep`` are paths in the records (``traits.user_type``); all scalars at and below them
    become fields. A source without any standard field keeps all. Raises InputError, naming the
    offset, for a file that breaks the format or has an impossible value.
    """
    with without_collecting():
        return _source(parse(path, data), options)


def _source(file: MmdbFile, options: ReadOptions) -> Source:
    languages = options.languages or _default_languages(file.languages)
    locations = _locations(file, languages)
    extra = [name for at, name in enumerate(EXTRA) if _is_used(locations, at)]
    own: dict[str, list[Value]] = {}
    if options.keep or not (extra or any(map(_is_place, locations))):
        own = _own_fields(file, options.keep)
    keep = [EXTRA.index(name) for name in extra]
    return Source(
        file.v4,
        [
            location._replace(extra=(*map(location.extra.__getitem__, keep), *values))
            for location, *values in zip(locations, *own.values(), strict=True)
        ],
        file.facts,
        v6=file.v6,
        extra=(*extra, *own),
        languages=languages,
        keep=options.keep,
    )


def _default_languages(known: Sequence[str]) -> tuple[str, ...]:
    if known and CHINESE not in known:
        return (known[0],)
    return (CHINESE, "en")


def _locations(file: MmdbFile, languages: tuple[str, ...]) -> list[Location]:
    """Return a location for each record; the ``extra`` of each has all of ``EXTRA``."""
    place_of = _shared(PLACE_KEYS, partial(_place, languages=languages))
    network_of = _shared(NETWORK_KEYS, _network)
    locations = []
    for number, value in enumerate(file.records):
        record = value if isinstance(value, dict) else _NO_RECORD
        try:
            place, network = place_of(record), network_of(record)
            position = position_fields(record)
        except ValueError as error:
            raise InputError(file.path, file.records.position(number), str(error)) from None
        extra = (*place.extra, *position.values(), *network.extra)
        locations.append(
            place._replace(organization=network.organization, isp=network.isp, extra=extra)
        )
    return locations


def _shared(keys: Sequence[str], compute: Callable[[Record], _T]) -> Callable[[Record], _T]:
    """Return ``compute``, which reads the ``keys`` of a record, but once for all that share them.

    Records share the maps that the file has once.
    """
    known: dict[tuple[int, ...], tuple[_T, Sequence[object]]] = {}
    nothing = compute(_NO_RECORD)
    has_none = frozenset(keys).isdisjoint

    def of(record: Record) -> _T:
        if has_none(record):
            return nothing
        values = [*map(record.get, keys)]
        key = tuple(map(id, values))
        if key not in known:
            # With the values, so that no other object has their ids later.
            known[key] = compute(record), values
        return known[key][0]

    return of


def _place(record: Record, languages: tuple[str, ...]) -> Location:
    """Return the part of a location that is a place."""
    fields = place_fields(record)
    country, province, city = names = _names(fields, languages)
    in_chinese = languages[0] == CHINESE
    known_as = names if in_chinese else _names(fields, (CHINESE, *languages))
    return Location(
        country,
        province,
        city,
        extra=tuple(_value(fields.get(name), languages) for name in _PLACE),
        iso_codes=(_text(fields, "country_code"), _text(fields, "province_code")),
        known_as=None if known_as == names else known_as,
    )


def _names(fields: dict[str, Field], languages: tuple[str, ...]) -> tuple[str, str, str]:
    """Return the names of country, province and city; tables have some that a record lacks."""
    country, province, city = (
        str(_value(fields.get(name), languages) or "") for name in ("country", "province", "city")
    )
    country = country or country_name(_text(fields, "country_code") or "", languages)
    country = country or _text(fields, "list_name") or ""
    province = province or province_name(_text(fields, "province_code") or "", languages)
    return country, province, city


def _network(record: Record) -> Location:
    """Return the part of a location that is a network."""
    fields = network_fields(record)
    organization, isp = (str(fields[name] or "") for name in ("organization", "isp"))
    extra = tuple(map(fields.get, _NETWORK))
    return Location("", organization=organization, isp=isp, extra=extra)


def _value(field: Field | None, languages: Sequence[str]) -> Value:
    if field is None or isinstance(field, (str, int)):
        return field
    return names_in(field, languages)


def _text(fields: dict[str, Field], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _is_used(locations: Sequence[Location], at: int) -> bool:
    return any(location.extra[at] is not None for location in locations)


def _is_place(location: Location) -> bool:
    return any(location[: len(NAME_FIELDS)]) or location.iso_codes != (None, None)


def _own_fields(file: MmdbFile, keep: Sequence[str]) -> dict[str, list[Value]]:
    """Return the values of the kept fields by name, for each record; without ``keep`` all."""
    records = [_own_values(file, number, keep) for number in range(len(file.records))]
    paths = {path: None for record in records for path in record}
    for path in keep:
        if not any(_is_below(known, path) for known in paths):
            raise InputError(file.path, "", f"no record has {path}")
    if len(paths) > MAX_OWN_FIELDS:
        problem = f"{len(paths)} fields to keep (limit {MAX_OWN_FIELDS}): --keep chooses"
        raise InputError(file.path, "", problem)
    names = {path: _own_name(path) for path in paths}
    if len(set(names.values())) < len(names):
        raise InputError(file.path, "", "a value without a name, and a field named value")
    return {name: [record.get(path) for record in records] for path, name in names.items()}


def _own_values(file: MmdbFile, number: int, keep: Sequence[str]) -> dict[str, Value]:
    try:
        values = flatten(file.records[number])
        return {
            path: _in_json(value)
            for path, value in values.items()
            if not keep or any(_is_below(path, wanted) for wanted in keep)
        }
    except ValueError as error:
        raise InputError(file.path, file.records.position(number), str(error)) from None


def _in_json(value: Value) -> Value:
    """Return what JSON has for a value: null for infinity and not-a-number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_below(path: str, wanted: str) -> bool:
    return path == wanted or path.startswith(f"{wanted}.")


def _own_name(path: str) -> str:
    """Return the name of a field that has this path: not one that an answer has already."""
    if not path:
        return "value"
    return f"source.{path}" if path in FIELDS or path in _RESERVED else path


_RESERVED = ("ip", "network")
"""Members that a server itself puts into an answer."""
