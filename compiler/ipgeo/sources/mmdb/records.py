"""Records as standard fields: MaxMind's, DB-IP's, IPinfo's, and those of lists made like them.

They differ in how they write a place:

- MaxMind, DB-IP: ``country`` is a map with ``iso_code`` and ``names``, which may be missing.
- IPinfo: ``country`` is the name where there is a ``country_code``, otherwise the code, and
  ``country_name`` is the name. What it does not know is the empty string.

``continent`` is written in the same ways.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from ipgeo.places.coordinates import MAX_LATITUDE, MAX_LONGITUDE, format_degrees
from ipgeo.sources.mmdb.decode import Value

Names: TypeAlias = Mapping[str, str]
"""A name in several languages, by the language's tag (``en``, ``zh-CN``)."""

Field: TypeAlias = str | int | Names
"""A name's text or languages, another text, a number or a boolean."""

MAX_PATH = 255
"""The longest path of a field in characters."""

MAX_ASN = (1 << 32) - 1

_COUNTRY_CODE = re.compile(r"(?!ZZ)[A-Z]{2}")  # ZZ is nowhere
_SUBDIVISION_CODE = re.compile(r"[A-Z0-9]{1,3}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_AS_NUMBER = re.compile(r"(?:AS)?([0-9]{1,10})")
_NOTHING: dict[str, Value] = {}


def names_in(names: str | Names, languages: Sequence[str]) -> str | None:
    """Return a name in the first of ``languages`` that it has, or None.

    A name without languages is what it is.
    """
    if isinstance(names, str):
        return names
    return next((names[language] for language in languages if language in names), None)


def standard_fields(record: Value) -> dict[str, Field]:
    """Return the standard fields that a record has; none is empty.

    ``country``, ``province``, ``city`` and ``continent`` are texts or ``Names``.
    ``province_code`` is ISO 3166-2 (``US-CA``). ``latitude`` and ``longitude`` are texts as
    ``format_degrees`` writes them. ``asn``, ``geoname_id`` and ``accuracy_radius`` (km) are
    integers, ``european_union`` and ``anycast`` booleans. A field of another type than sources
    write is not a standard field. Raises ValueError naming the field for an impossible value.
    """
    if not isinstance(record, dict):
        return {}
    country, country_code = _country(record)
    continent, continent_code = _place(record, "continent", "code")
    province, province_code = _province(record, country_code)
    fields: dict[str, Field | None] = {
        "country": country,
        "country_code": country_code,
        "province": province,
        "province_code": province_code,
        "city": _name(record.get("city")),
        "continent": continent,
        "continent_code": continent_code,
        "european_union": _boolean(_country_map(record).get("is_in_european_union")),
        "postal_code": _text(_map(record, "postal").get("code"))
        or _text(record.get("postal_code")),
        "geoname_id": _geoname_id(record),
        **_position(record),
        **_network(record),
    }
    return {name: value for name, value in fields.items() if value is not None}


def flatten(record: Value) -> dict[str, str | int | float]:
    """Return all scalars of a record by their paths: ``subdivisions.0.names.en``.

    Bytes become hexadecimal digits. The path of a record that is a scalar is empty; empty maps and
    arrays have none. Raises ValueError for a path of over ``MAX_PATH`` characters.
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
    names = _map(place, "names")
    kept = {tag: name for tag, name in names.items() if isinstance(name, str) and name}
    # Records share their names' maps: so do their fields, where no name is left out.
    return (cast("Names", names) if len(kept) == len(names) else kept) or None


def _place(
    record: dict[str, Value], kind: str, code_key: str
) -> tuple[str | Names | None, str | None]:
    """Return the name and the code of a country or continent, however it is written."""
    place = record.get(kind)
    if isinstance(place, dict):
        return _name(place), _text(place.get(code_key))
    if f"{kind}_code" in record:
        return _text(place), _text(record[f"{kind}_code"])
    return _text(record.get(f"{kind}_name")), _text(place)


def _country(record: dict[str, Value]) -> tuple[str | Names | None, str | None]:
    name, code = _place(record, _country_key(record), "iso_code")
    if code is not None and not _COUNTRY_CODE.fullmatch(code):
        return None, None  # a list's name (PRIVATE, CLOUDFLARE)
    return name, code


def _country_key(record: dict[str, Value]) -> str:
    """Return where a record has its country: the one of registration if it has no other."""
    missing = _place(record, "country", "iso_code") == (None, None)
    return "registered_country" if missing else "country"


def _country_map(record: dict[str, Value]) -> dict[str, Value]:
    return _map(record, _country_key(record))


def _subdivision(record: dict[str, Value]) -> dict[str, Value]:
    """Return the largest subdivision, which is the first one."""
    subdivisions = record.get("subdivisions")
    first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
    return first if isinstance(first, dict) else _NOTHING


def _province(
    record: dict[str, Value], country_code: str | None
) -> tuple[str | Names | None, str | None]:
    subdivision = _subdivision(record)
    name = _name(subdivision) or _text(record.get("region"))
    code = _text(subdivision.get("iso_code")) or _text(record.get("region_code"))
    if code is None or country_code is None:
        return name, None
    code = code.removeprefix(f"{country_code}-")
    return name, f"{country_code}-{code}" if _SUBDIVISION_CODE.fullmatch(code) else None


def _position(record: dict[str, Value]) -> dict[str, Field | None]:
    location = _map(record, "location") or record
    return {
        "latitude": _degrees(location, ("latitude", "lat"), MAX_LATITUDE),
        "longitude": _degrees(location, ("longitude", "lng"), MAX_LONGITUDE),
        "time_zone": _text(location.get("time_zone")) or _text(location.get("timezone")),
        "accuracy_radius": _integer(location.get("accuracy_radius")),
    }


def _degrees(location: dict[str, Value], keys: tuple[str, str], limit: int) -> str | None:
    key = keys[0] if keys[0] in location else keys[1]
    value = location.get(key)
    if not isinstance(value, (float, int, str)) or isinstance(value, bool) or value == "":
        return None
    try:
        return format_degrees(value, limit)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _geoname_id(record: dict[str, Value]) -> int | None:
    """Return GeoNames' number of the smallest place that has one."""
    places = (record, _map(record, "city"), _subdivision(record), _country_map(record))
    for place in places:
        number = place.get("geoname_id")
        if isinstance(number, str) and _NUMBER.fullmatch(number):  # IPinfo's
            number = int(number)
        if _integer(number):
            return _integer(number)
    return None


def _network(record: dict[str, Value]) -> dict[str, Field | None]:
    """Return the fields of the network, which Enterprise has in ``traits``."""
    fields = {**_map(record, "traits"), **record}
    as_organization = _text(fields.get("autonomous_system_organization"))
    as_organization = as_organization or _text(fields.get("as_name"))
    return {
        "asn": _asn(fields),
        "as_organization": as_organization,
        "organization": _text(fields.get("organization")) or as_organization,
        "isp": _text(fields.get("isp")),
        "anycast": _boolean(fields.get("is_anycast")),
    }


def _asn(fields: dict[str, Value]) -> int | None:
    key = "autonomous_system_number" if "autonomous_system_number" in fields else "asn"
    value = fields.get(key)
    if value == "" or isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    matched = _AS_NUMBER.fullmatch(str(value))
    number = int(matched[1]) if matched else MAX_ASN + 1
    if number > MAX_ASN:
        raise ValueError(f"{key}: {value!r:.40} is not a number of an autonomous system")
    return number
