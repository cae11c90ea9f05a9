"""The answers of an MMDB, read a second time, as the step functions of both families.

It shares no code with the compiler. `maxminddb` reads the tree and the records
(``crosscheck.mmdb``), ``crosscheck.mmdb_records`` has what they stand for, and this module the
order and the form of answers, from docs/http.md (fields) and docs/command-line.md (sources).
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import maxminddb

from crosscheck import mmdb
from crosscheck.mmdb_records import Bytes, Record, completed, fields_of

ARRAY = (
    "country",
    "country_code",
    "province",
    "province_code",
    "city",
    "city_code",
    "organization",
    "isp",
)
FIELDS = (
    *ARRAY,
    "latitude",
    "longitude",
    "time_zone",
    "phone_prefix",
    "continent_code",
    "currency_code",
    "anycast",
    "is_eu",
    "continent",
    "postal_code",
    "accuracy_radius",
    "geoname_id",
    "asn",
    "as_organization",
    "kind",
)
"""The standard fields that an MMDB can have, in an object's order."""

ALWAYS = {*ARRAY, "phone_prefix", "continent_code", "currency_code", "is_eu", "kind"}
"""The fields of every answer; another one is in all objects if any record has it."""

NULLABLE = {
    "country_code",
    "province_code",
    "city_code",
    "latitude",
    "longitude",
    "is_eu",
    "accuracy_radius",
    "geoname_id",
    "asn",
    "kind",
}
"""The fields whose absence is null; that of the other standard ones is an empty string."""

ABSENT = (None, "")

_TAKEN = {
    "ip",
    "network",
    *FIELDS,
    "utc_offset",
    "china_admin_code",
    "source_country_code",
    "idc",
    "base_station",
    "country_code3",
    "european_union",
    "currency_name",
    "district",
}
"""Names that mean something else in an answer than a source's field."""

Steps = list[mmdb.Step]


def read(
    path: Path, languages: Sequence[str] = (), keep: Sequence[str] = ()
) -> tuple[Steps, Steps | None]:
    """Return the answers of IPv4 and of IPv6 as ``crosscheck.mmdb.read`` returns the records.

    An answer is the array form, a line feed, and the object form without ``ip``. ``languages`` and
    ``keep`` are what ``build`` was given.
    """
    ipv4, ipv6 = mmdb.read(path, _tagged)
    texts = {text for _, text in [*ipv4, *(ipv6 or ())] if text is not None}
    with maxminddb.open_database(path) as reader:
        languages = languages or _default_languages(reader.metadata().languages)
    answers = _answers(texts, languages, keep)
    return _answered(ipv4, answers), _answered(ipv6, answers) if ipv6 else None


def _tagged(record: object) -> str:
    """Return a record as JSON in which bytes are no text."""
    return mmdb.canonical(record, lambda data: {"": data.hex(), "is": "bytes"})


def _record(text: str) -> object:
    """Return the record that a text of ``_tagged`` is."""
    return json.loads(text, object_hook=_untagged)


def _untagged(value: Record) -> object:
    return Bytes(value[""]) if value.keys() == {"", "is"} else value


def _answered(steps: Steps, answers: dict[str, str]) -> Steps:
    """Return steps of answers; records that differ may have the same."""
    found: Steps = []
    for start, text in steps:
        answer = None if text is None else answers[text]
        if not found or answer != found[-1][1]:
            found.append((start, answer))
    return found


def _default_languages(known: Sequence[str]) -> Sequence[str]:
    return ("zh-CN", "en") if "zh-CN" in known or not known else known[:1]


def _answers(texts: Iterable[str], languages: Sequence[str], keep: Sequence[str]) -> dict[str, str]:
    """Return the answers by the texts of their records.

    A record is read once more rather than kept: a large file has hundreds of thousands.
    """
    standard = {text: completed(_fields(text), languages) for text in texts}
    known = {name for fields in standard.values() for name in fields if fields[name] not in ABSENT}
    whole = keep or not known
    own = {text: _own(_record(text), keep) if whole else {} for text in standard}
    names = sorted({name for fields in own.values() for name in fields})
    return {text: _answer(standard[text], known | ALWAYS, own[text], names) for text in standard}


def _fields(text: str) -> Record:
    record = _record(text)
    return fields_of(record) if isinstance(record, dict) else {}


def _answer(fields: Record, used: set[str], own: Record, own_names: Iterable[str]) -> str:
    standard = {name: _standard(name, fields.get(name)) for name in FIELDS if name in used}
    array = ('"None"' if standard[name] == "null" else standard[name] for name in ARRAY)
    members = standard | {name: _json(own.get(name)) for name in own_names}
    texts = (f"{_json(name)}:{value}" for name, value in members.items())
    return f"[{','.join(array)}]\n{{{','.join(texts)}}}"


def _standard(name: str, value: object) -> str:
    if value is None:
        return "null" if name in NULLABLE else '""'
    return str(value) if isinstance(value, Decimal) else _json(value)


def _json(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value, ensure_ascii=False)


def _own(record: object, keep: Sequence[str]) -> Record:
    """Return the scalars of a record, or those at and below the kept paths, by their fields."""
    return {
        f"source.{path}" if path in _TAKEN else path or "value": value
        for path, value in _scalars(record, "")
        if not keep or any(f"{path}.".startswith(f"{wanted}.") for wanted in keep)
    }


def _scalars(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        items: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield path, value
        return
    for key, item in items:
        yield from _scalars(item, f"{path}.{key}" if path else str(key))
