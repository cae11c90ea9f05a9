"""The fields that a record of an MMDB stands for, read a second time.

Deliberately written only from the descriptions: the records of MaxMind, DB-IP and IPinfo,
docs/http.md (fields) and docs/codes.md (codes). It shares no code with the compiler, and must not
repeat a misunderstanding of it. The tables of codes are the same files.
"""

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache

from babel import Locale, UnknownLocaleError

from crosscheck.reading import built_in_codes, countries, followed_from, kind_of, table

Record = dict[str, object]

Name = str | dict[str, str]
"""What something is called: in any language, or by language."""

CHINESE = ("zh-CN", "zh", "zh-Hans")

_CODES = built_in_codes()


class Bytes(str):
    """Data of the type bytes, in hexadecimal digits; no text."""

    __slots__ = ()


def fields_of(record: Record) -> Record:
    """Return the fields that a record has by itself; ``Decimal`` for degrees.

    Names are in all their languages. ``division_code`` is ISO 3166-2 without the country, ``list``
    is what a list has in place of a country's code.
    """
    found = _country(record) | _division(record) | _network(record) | _position(record)
    found |= _continent(record) | {"city": _named(record, "city"), "geoname_id": _geoname(record)}
    return {name: value for name, value in found.items() if value is not None}


def completed(fields: Record, languages: Sequence[str]) -> Record:
    """Return the fields of an answer: with one name each, and with what the tables know."""
    own_code, division = fields.get("country_code"), fields.get("division_code")
    known = {level: fields.get(level) for level in ("country", "province", "city")}
    chinese = {level: _said(name, ("zh-CN", *languages)) for level, name in known.items()}
    code = own_code or _code(chinese["country"] or fields.get("list"))
    in_china = {"CN": _code("CN", f"CN-{division}") or _code("CN", chinese["province"])}
    elsewhere = f"{own_code}-{division}" if own_code and division else None
    province_code = in_china.get(str(code), elsewhere)
    city_code = _code("CN", province_code, chinese["city"]) if code == "CN" else None
    names: Record = {level: _said(name, languages) for level, name in known.items()}
    names["country"] = (
        names["country"] or fields.get("list") or _country_name(own_code, tuple(languages))
    )
    names["province"] = names["province"] or _chinese_province(own_code, division, languages)
    codes: Record = {"country_code": code, "province_code": province_code, "city_code": city_code}
    said = {"continent": _said(fields.get("continent"), languages)}
    followed = followed_from(str(code))
    kind = None if code else kind_of(str(names["country"] or ""))
    return {**followed, **fields, **names, **codes, **said, "kind": kind}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and not isinstance(value, Bytes) and value else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _map(value: object) -> Record:
    return value if isinstance(value, dict) else {}


def _named(record: Record, key: str) -> Name | None:
    """Return the name that a member has or is."""
    place = record.get(key)
    names = {
        tag: text for tag, name in _map(_map(place).get("names")).items() if (text := _text(name))
    }
    return names or _text(place)


def _three_ways(record: Record, key: str, code_key: str) -> tuple[Name | None, str | None]:
    """Return the name and code of a country or continent.

    MaxMind has a map; IPinfo a name beside a code, or a code beside a name.
    """
    if isinstance(record.get(key), dict):
        return _named(record, key), _text(_map(record[key]).get(code_key))
    if f"{key}_code" in record:
        return _text(record.get(key)), _text(record[f"{key}_code"])
    return _text(record.get(f"{key}_name")), _text(record.get(key))


def _country(record: Record) -> Record:
    key = "country"
    name, code = _three_ways(record, key, "iso_code")
    if not name and not code:
        key = "registered_country"
        name, code = _three_ways(record, key, "iso_code")
    is_eu = _map(record.get(key)).get("is_in_european_union")
    found: Record = {"is_eu": is_eu if isinstance(is_eu, bool) else None}
    if code == "ZZ":
        return found
    if code and not re.fullmatch("[A-Z][A-Z]", code):
        return found | {"country": name, "list": code}
    return found | {"country": name, "country_code": code}


def _division(record: Record) -> Record:
    """Return the first subdivision; its code is of ISO 3166-2, without the country."""
    divisions = record.get("subdivisions")
    first = divisions[0] if isinstance(divisions, list) and divisions else None
    name = _named({"first": _map(first)}, "first") or _text(record.get("region"))
    code = _text(_map(first).get("iso_code")) or _text(record.get("region_code"))
    country = _country(record).get("country_code")
    code = code.removeprefix(f"{country}-") if code and country else None
    is_code = code and re.fullmatch("[A-Z0-9]{1,3}", code)
    return {"province": name, "division_code": code if is_code else None}


def _continent(record: Record) -> Record:
    name, code = _three_ways(record, "continent", "code")
    return {"continent": name, "continent_code": code}


def _geoname(record: Record) -> int | None:
    """Return the number of the smallest place that has one."""
    divisions = record.get("subdivisions")
    smallest_first = reversed(divisions) if isinstance(divisions, list) else []
    country = "country" if any(_three_ways(record, "country", "iso_code")) else "registered_country"
    for place in (record, record.get("city"), *smallest_first, record.get(country)):
        number = _map(place).get("geoname_id")
        if (text := _text(number)) and re.fullmatch("[0-9]{1,10}", text):
            number = int(text)
        if _integer(number):
            return _integer(number)
    return None


def _position(record: Record) -> Record:
    place = _map(record.get("location")) or record
    latitude, longitude = (
        _degrees(place.get(name, place.get(short)))
        for name, short in (("latitude", "lat"), ("longitude", "lng"))
    )
    zone = _text(place.get("time_zone")) or _text(place.get("timezone"))
    postal = _text(_map(record.get("postal")).get("code")) or _text(record.get("postal_code"))
    radius = _integer(place.get("accuracy_radius"))
    return {
        "latitude": latitude,
        "longitude": longitude,
        "time_zone": zone,
        "postal_code": postal,
        "accuracy_radius": radius,
    }


def _degrees(value: object) -> Decimal | None:
    """Round the exact value to six decimals, half to even, and keep at least one of them."""
    if isinstance(value, (bool, Bytes)) or not isinstance(value, (int, float, str)) or value == "":
        return None
    rounded = Decimal(value).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)
    text = f"{abs(rounded) if rounded.is_zero() else rounded:f}".rstrip("0")
    return Decimal(text + "0" if text.endswith(".") else text)


def _network(record: Record) -> Record:
    own = _map(record.get("traits")) | record
    number = own.get("autonomous_system_number", own.get("asn"))
    if text := _text(number):
        number = int(text.removeprefix("AS"))
    as_organization = _text(own.get("autonomous_system_organization")) or _text(own.get("as_name"))
    return {
        "asn": _integer(number),
        "as_organization": as_organization,
        "organization": _text(own.get("organization")) or as_organization,
        "isp": _text(own.get("isp")),
        "anycast": "ANYCAST" if own.get("is_anycast") is True else None,
    }


def _said(name: object, languages: Sequence[str]) -> str | None:
    if isinstance(name, dict):
        return next((name[tag] for tag in languages if tag in name), None)
    return _text(name)


def _code(*path: object) -> str | None:
    """Return the code of a name or ISO code below the codes of its parents."""
    *above, name = path
    if not name or None in above:
        return None
    exact = tuple(map(str, path))
    return _CODES.get(exact) or _CODES.get((*exact[:-1], exact[-1].casefold()))


@cache
def _country_name(code: object, languages: Sequence[str]) -> str | None:
    known = countries().get(str(code), {})
    in_tables = dict.fromkeys(CHINESE, known.get("chinese")) | {"en": known.get("english")}
    for tag in languages:
        if name := in_tables.get(tag) or _in_cldr(str(code), tag):
            return name
    return None


def _in_cldr(code: str, tag: str) -> str | None:
    try:
        return Locale.parse(tag, sep="-").territories.get(code)
    except (ValueError, UnknownLocaleError):  # in a file's metadata
        return None


def _chinese_province(country: object, division: object, languages: Sequence[str]) -> str | None:
    if country != "CN" or not division or not set(languages) & set(CHINESE):
        return None
    names = {line["iso3166_2"]: line["name"] for line in table("divisions.tsv")}
    return names.get(f"CN-{division}")
