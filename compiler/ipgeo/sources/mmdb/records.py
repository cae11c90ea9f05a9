"""Records as standard fields: MaxMind's, DB-IP's, IPinfo's, and those of lists made like them.

They differ in how they write a place:

- MaxMind, DB-IP: ``country`` is a map with ``iso_code`` and ``names``, which may be missing.
- IPinfo: ``country`` is the name where there is a ``country_code``, otherwise the code, and
  ``country_name`` is the name. What it does not know is the empty string.

``continent`` is written in the same ways.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ipgeo.places.coordinates import MAX_LATITUDE, MAX_LONGITUDE, format_degrees
from ipgeo.sources.mmdb.decode import Value

Names: TypeAlias = Mapping[str, Value]
"""A name in several languages, by the language's tag (``en``, ``zh-CN``), as the file has it."""

Field: TypeAlias = str | int | Names | None
"""A name's text or languages, another text, a number or a boolean; None for an absent field."""

Record: TypeAlias = Mapping[str, Value]

MAX_PATH = 255
"""The longest path of a field in characters."""

MAX_ASN = (1 << 32) - 1

_NOWHERE = "ZZ"
_COUNTRY_CODE = re.compile(r"[A-Z]{2}")
_SUBDIVISION_CODE = re.compile(r"[A-Z0-9]{1,3}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_AS_NUMBER = re.compile(r"(?:AS)?([0-9]{1,10})")
_NOTHING: dict[str, Value] = {}


PLACE_KEYS = (
    "country",
    "registered_country",
    "country_code",
    "country_name",
    "subdivisions",
    "region",
    "region_code",
    "city",
    "continent",
    "continent_code",
    "continent_name",
    "geoname_id",
)
"""The members of a record that ``place_fields`` reads."""

NETWORK_KEYS = (
    "traits",
    "autonomous_system_number",
    "autonomous_system_organization",
    "asn",
    "as_name",
    "organization",
    "isp",
    "is_anycast",
)
"""The members of a record that ``network_fields`` reads."""


def names_in(names: str | Names, languages: Sequence[str]) -> str | None:
    """Return a name in the first of ``languages`` that it has, or None.

    A name without languages is what it is. What is empty or no text is no name.
    """
    if isinstance(names, str):
        return names
    for language in languages:
        name = names.get(language)
        if name and isinstance(name, str):
            return name
    return None


def place_fields(record: Record) -> dict[str, Field]:
    """Return the fields of a record's place; none is an empty text.

    ``country``, ``province``, ``city`` and ``continent`` are texts or ``Names``.
    ``country_code`` and ``province_code`` are ISO 3166 (``US``, ``US-CA``), ``list_name`` is what a
    list has in the place of a country's code (``PRIVATE``), ``geoname_id`` is an integer, ``is_eu``
    a boolean. A field of another type than sources write is no field.
    """
    country, code = _country(record)
    country_code = code if code and _COUNTRY_CODE.fullmatch(code) else None
    continent, continent_code = _place(record, "continent", "code")
    province, province_code = _province(record, country_code)
    return {
        "country": country,
        "country_code": country_code,
        "list_name": code if country_code is None else None,
        "province": province,
        "province_code": province_code,
        "city": _name(record.get("city")),
        "continent": continent,
        "continent_code": continent_code,
        "is_eu": _boolean(_country_map(record).get("is_in_european_union")),
        "geoname_id": _geoname_id(record),
    }


def position_fields(record: Record) -> dict[str, str | int | None]:
    """Return the fields of a record's position; none is an empty text.

    ``latitude`` and ``longitude`` are texts as ``format_degrees`` writes them,
    ``accuracy_radius`` (km) is an integer. Raises ValueError naming the field for an impossible
    value.
    """
    location = _map(record, "location") or record
    return {
        "latitude": _degrees(location, "latitude", "lat", MAX_LATITUDE),
        "longitude": _degrees(location, "longitude", "lng", MAX_LONGITUDE),
        "time_zone": _text(location.get("time_zone")) or _text(location.get("timezone")),
        "accuracy_radius": _integer(location.get("accuracy_radius")),
        "postal_code": _text(_map(record, "postal").get("code"))
        or _text(record.get("postal_code")),
    }


def network_fields(record: Record) -> dict[str, str | int | None]:
    """Return the fields of a record's network, which Enterprise has in ``traits``.

    ``asn`` is an integer. Raises ValueError naming the field for an impossible value.
    """
    fields = {**_map(record, "traits"), **record}
    as_organization = _text(fields.get("autonomous_system_organization"))
    as_organization = as_organization or _text(fields.get("as_name"))
    return {
        "asn": _asn(fields),
        "as_organization": as_organization,
        "organization": _text(fields.get("organization")) or as_organization,
        "isp": _text(fields.get("isp")),
        "anycast": "ANYCAST" if fields.get("is_anycast") is True else None,
    }


def flatten(record: Value) -> dict[str, str | int | float]:
    """Return all scalars of a record by their paths: ``subdivisions.0.names.en``.

    Bytes become hexadecimal digits. The path of a record that is a scalar is empty; empty maps and
    arrays have none. Raises ValueError for a path of over ``MAX_PATH`` characters, and for two
    scalars with one path, as keys with dots can make them.
    """
    fields: dict[str, str | int | float] = {}
    stack: list[tuple[str, Value]] = [("", record)]
    while stack:
        path, value = stack.pop()
        if len(path) > MAX_PATH:
            raise ValueError(f"{path[:40]}… is a path of over {MAX_PATH} characters")
        prefix = f"{path}." if path else ""
        if isinstance(value, dict):
            stack.extend((prefix + key, value[key]) for key in reversed(value))
        elif isinstance(value, list):
            items = list(enumerate(value))
            stack.extend((f"{prefix}{index}", item) for index, item in reversed(items))
        elif path in fields:
            raise ValueError(f"two values have the path {path}")
        else:
            fields[path] = value.hex() if isinstance(value, bytes) else value
    return fields


def _text(value: Value | None) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: Value | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _boolean(value: Value | None) -> bool | None:
    return value if isinstance(value, bool) else None


def _map(record: Mapping[str, Value], key: str) -> dict[str, Value]:
    value = record.get(key)
    return value if isinstance(value, dict) else _NOTHING


def _name(place: Value | None) -> str | Names | None:
    """Return the name of a place, which is a text or a map with ``names``."""
    if not isinstance(place, dict):
        return _text(place)
    return _map(place, "names") or None


def _place(record: Record, kind: str, code_key: str) -> tuple[str | Names | None, str | None]:
    """Return the name and the code of a country or continent, however it is written."""
    place = record.get(kind)
    if isinstance(place, dict):
        return _name(place), _text(place.get(code_key))
    if f"{kind}_code" in record:
        return _text(place), _text(record[f"{kind}_code"])
    return _text(record.get(f"{kind}_name")), _text(place)


def _country(record: Record) -> tuple[str | Names | None, str | None]:
    """Return the name and the code of the country, or of the list that is in its place."""
    name, code = _place(record, _country_key(record), "iso_code")
    return (None, None) if code == _NOWHERE else (name, code)


def _country_key(record: Record) -> str:
    """Return where a record has its country: the one of registration if it has no other."""
    missing = _place(record, "country", "iso_code") == (None, None)
    return "registered_country" if missing else "country"


def _country_map(record: Record) -> dict[str, Value]:
    return _map(record, _country_key(record))


def _subdivisions(record: Record) -> list[dict[str, Value]]:
    """Return the subdivisions, the largest one first."""
    found = record.get("subdivisions")
    subdivisions = found if isinstance(found, list) else []
    return [each if isinstance(each, dict) else _NOTHING for each in subdivisions]


def _province(record: Record, country_code: str | None) -> tuple[str | Names | None, str | None]:
    subdivision = next(iter(_subdivisions(record)), _NOTHING)
    name = _name(subdivision) or _text(record.get("region"))
    code = _text(subdivision.get("iso_code")) or _text(record.get("region_code"))
    if code is None or country_code is None:
        return name, None
    code = code.removeprefix(f"{country_code}-")
    return name, f"{country_code}-{code}" if _SUBDIVISION_CODE.fullmatch(code) else None


def _degrees(location: Record, name: str, short: str, limit: int) -> str | None:
    key = name if name in location else short
    value = location.get(key)
    if not isinstance(value, (float, int, str)) or isinstance(value, bool) or value == "":
        return None
    try:
        return format_degrees(value, limit)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _geoname_id(record: Record) -> int | None:
    """Return GeoNames' number of the smallest place that has one."""
    smallest_first = reversed(_subdivisions(record))
    for place in (record, _map(record, "city"), *smallest_first, _country_map(record)):
        number = place.get("geoname_id")
        if isinstance(number, str) and _NUMBER.fullmatch(number):  # IPinfo's
            number = int(number)
        if _integer(number):
            return _integer(number)
    return None


def _asn(fields: Record) -> int | None:
    key = "autonomous_system_number" if "autonomous_system_number" in fields else "asn"
    value = fields.get(key)
    if value == "" or isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    matched = _AS_NUMBER.fullmatch(str(value))
    number = int(matched[1]) if matched else MAX_ASN + 1
    if number > MAX_ASN:
        raise ValueError(f"{key}: {value!r:.40} is not a number of an autonomous system")
    return number
