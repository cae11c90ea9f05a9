"""Records of an MMDB as answers: names, codes, what follows from them, and kept fields."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from crosscheck import mmdb_answers
from harness.mmdb import of_records
from ipgeo.compiling.compile import compile_blob
from ipgeo.errors import InputError
from ipgeo.places.codes import Codes
from ipgeo.sources.mmdb.source import MAX_OWN_FIELDS, read_mmdb
from ipgeo.sources.options import ReadOptions

Object = dict[str, Any]

JP = {"iso_code": "JP", "names": {"en": "Japan", "ja": "日本国", "zh-CN": "日本"}}
CN = {"iso_code": "CN"}
HENAN = {"iso_code": "HA", "names": {"en": "Henan", "zh-CN": "河南省"}}
ALL = {"latitude": None, "is_eu": None, "asn": None}


def objects(
    records: Sequence[Any],
    languages: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    metadata: Mapping[str, Any] | None = None,
) -> list[Object]:
    """Return the object answers of records, of which no two are equal."""
    source = read_mmdb("made.mmdb", of_records(records, metadata), ReadOptions(languages, keep))
    blob = compile_blob(source, Codes()).blob
    return [json.loads(blob.answer(row).object_without_ip) for row in range(blob.rows)]


RECORDS: dict[str, tuple[Any, tuple[str, ...], Object]] = {
    "names in the language": (
        {"country": JP, "continent": {"code": "AS", "names": {"ja": "アジア"}}},
        ("ja", "en"),
        {"country": "日本国", "country_code": "JP", "continent": "アジア", "continent_code": "AS"},
    ),
    "a name that the record has in the second language alone": (
        {"country": JP, "city": {"names": {"en": "Fussa"}}},
        ("ja", "en"),
        {"country": "日本国", "city": "Fussa"},
    ),
    "a country's name by its code": ({"country": JP}, ("de",), {"country": "Japan"}),
    "a city has a name in the languages or none": (
        {"country": JP, "city": {"names": {"en": "Fussa"}}},
        ("de",),
        {"country": "Japan", "city": ""},
    ),
    "what follows from a country's code": (
        {"country": {"iso_code": "FR"}},
        ("fr",),
        {
            "country": "France",
            "continent_code": "EU",
            "is_eu": True,
            "currency_code": "EUR",
            "phone_prefix": "33",
            "kind": None,
        },
    ),
    "the source's own word on the European Union": (
        {"country": {"iso_code": "GB", "is_in_european_union": True}},
        ("en",),
        {"is_eu": True, "currency_code": "GBP"},
    ),
    "the country of registration": (
        {"country": {"geoname_id": 1}, "registered_country": {"iso_code": "FR"}},
        ("en",),
        {"country_code": "FR", "country": "France"},
    ),
    "a province of China by its ISO code": (
        {"country": CN, "subdivisions": [{"iso_code": "HA"}]},
        ("zh-CN",),
        {"country": "中国", "province": "河南", "province_code": "410000"},
    ),
    "a province of China by its name": (
        {"country": CN, "subdivisions": [{"iso_code": "99", "names": {"zh-CN": "河南"}}]},
        ("zh-CN",),
        {"province": "河南", "province_code": "410000"},
    ),
    "a city of China by its Chinese name": (
        {
            "country": CN,
            "subdivisions": [HENAN],
            "city": {"names": {"en": "Shangqiu", "zh-CN": "商丘市"}},
        },
        ("en",),
        {
            "province": "Henan",
            "province_code": "410000",
            "city": "Shangqiu",
            "city_code": "411400",
        },
    ),
    "a city of another province": (
        {
            "country": CN,
            "subdivisions": [{"iso_code": "GD"}],
            "city": {"names": {"zh-CN": "商丘"}},
        },
        ("zh-CN",),
        {"province_code": "440000", "city": "商丘", "city_code": None},
    ),
    "Hong Kong as the source says": (
        {"country": {"iso_code": "HK"}, "subdivisions": [{"iso_code": "HCW"}]},
        ("zh-CN",),
        {"country_code": "HK", "province_code": "HK-HCW", "province": ""},
    ),
    "a list's name": (
        {"country": {"iso_code": "PRIVATE"}},
        ("zh-CN",),
        {"country": "PRIVATE", "country_code": None, "kind": "private", "phone_prefix": ""},
    ),
    "a list's name in a language that it lacks": (
        {"country": {"iso_code": "CLOUDFLARE", "names": {"en": "Cloudflare"}}},
        ("zh-CN",),
        {"country": "CLOUDFLARE", "country_code": None, "kind": "organization"},
    ),
    "nowhere": (
        {"country": {"iso_code": "ZZ", "names": {"en": "Unknown"}}, "city": "Sea"},
        ("en",),
        {"country": "", "country_code": None, "city": "Sea"},
    ),
    "IPinfo lite": (
        {"country": "Australia", "country_code": "AU", "asn": "AS13335", "as_name": "Cloudflare"},
        ("zh-CN",),
        {
            "country": "Australia",
            "country_code": "AU",
            "asn": 13335,
            "organization": "Cloudflare",
        },
    ),
    "IPinfo country_asn": (
        {"country": "KR", "country_name": "South Korea", "continent": "AS"},
        ("zh-CN",),
        {"country": "South Korea", "country_code": "KR", "continent_code": "AS"},
    ),
    "IPinfo location of before": (
        {"country": "US", "region": "Texas", "region_code": "TX", "lat": "31.50", "lng": "-106.4"},
        ("zh-CN",),
        {
            "country": "美国",
            "province": "Texas",
            "province_code": "US-TX",
            "latitude": 31.5,
            "longitude": -106.4,
        },
    ),
    "degrees": (
        {"location": {"latitude": 37.419200000000004, "longitude": -0.0000004}},
        (),
        {"latitude": 37.4192, "longitude": 0.0},
    ),
    "degrees half way": (
        {"location": {"latitude": 0.0009765625 / 2, "longitude": "0.0000025"}},
        (),
        {"latitude": 0.000488, "longitude": 0.000002},
    ),
    "anycast": ({"traits": {"is_anycast": True}}, (), {"anycast": "ANYCAST"}),
    "no map, among maps": ("text", (), ALL),
    "bytes where a text is expected": ({"city": b"Fussa"}, (), {"city": ""}),
    "two values without a name": ({"city": {"names": {"en": ""}}, "asn": ""}, (), {"city": ""}),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_gives_this_answer(name: str) -> None:
    record, languages, expected = RECORDS[name]
    other: Any = {"city": "other", "location": {"latitude": 1.0, "longitude": 2.0}, "asn": 1}
    found, _ = objects([record, other], languages)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("languages", [(), ("de",), ("zh-CN", "en"), ("ja", "en")])
def test_all_of_them_are_what_the_second_reading_reads(
    tmp_path: Path, languages: tuple[str, ...]
) -> None:
    path = tmp_path / "made.mmdb"
    path.write_bytes(of_records([record for record, _, _ in RECORDS.values()]))
    blob = compile_blob(read_mmdb(path, path.read_bytes(), ReadOptions(languages)), Codes()).blob
    answers = [f"{a.array.decode()}\n{a.object_without_ip.decode()}" for a in blob.answers()]
    expected, _ = mmdb_answers.read(path, languages)
    ids = [None if row is None else answers[row] for _, _, row in blob.spans()]
    assert [(first, answer) for (first, _, _), answer in zip(blob.spans(), ids, strict=True)] == (
        expected
    )


DEFAULT_LANGUAGES: dict[str, tuple[list[str] | None, str]] = {
    "zh-CN is listed": (["de", "zh-CN"], "日本"),
    "none is listed": (None, "日本"),
    "an empty list": ([], "日本"),
    "others are listed": (["ja", "en"], "日本国"),
}


@pytest.mark.parametrize("case", DEFAULT_LANGUAGES)
def test_the_default_language_is_chinese_if_the_source_may_have_it(case: str) -> None:
    languages, country = DEFAULT_LANGUAGES[case]
    (found,) = objects([{"country": JP}], metadata={"languages": languages})
    assert found["country"] == country


# Kept fields

KEPT: dict[str, tuple[str, Object]] = {
    "a scalar": ("traits.user_type", {"traits.user_type": "isp"}),
    "a subtree": ("traits", {"traits.user_type": "isp", "traits.is_satellite": False}),
    "an element of an array": ("subdivisions.1", {"subdivisions.1.iso_code": "X"}),
    "a standard field's name": ("postal_code", {"source.postal_code": "123"}),
    "a server's own name": ("network", {"source.network": "1.2.3.0/24"}),
    "bytes": ("raw", {"raw": "00ff"}),
    "no finite number": ("nan", {"nan": None}),
    "an empty text": ("empty", {"empty": ""}),
}
RECORD = {
    "city": "here",
    "traits": {"user_type": "isp", "is_satellite": False},
    "traits_of_others": 1,
    "subdivisions": [{"iso_code": "Y"}, {"iso_code": "X"}],
    "postal_code": "123",
    "network": "1.2.3.0/24",
    "raw": b"\x00\xff",
    "nan": float("nan"),
    "empty": "",
}


@pytest.mark.parametrize("case", KEPT)
def test_a_field_is_kept(case: str) -> None:
    path, expected = KEPT[case]
    own = objects([RECORD], keep=(path,))[0]
    standard = objects([RECORD])[0]
    assert {name: value for name, value in own.items() if name not in standard} == expected


def test_a_record_without_a_kept_field_has_null() -> None:
    _, found = objects([RECORD, {"city": "there"}], keep=("traits.user_type",))
    assert found["traits.user_type"] is None


NO_STANDARD_FIELD: dict[str, tuple[list[Any], list[Object]]] = {
    "maps": (
        [{"list": "a", "score": {"low": 0.5}}, {"list": "b"}],
        [{"list": "a", "score.low": 0.5}, {"list": "b", "score.low": None}],
    ),
    "scalars": (["x", 7, True], [{"value": "x"}, {"value": 7}, {"value": True}]),
}


@pytest.mark.parametrize("case", NO_STANDARD_FIELD)
def test_a_source_without_a_standard_field_keeps_all(case: str) -> None:
    records, expected = NO_STANDARD_FIELD[case]
    standard = objects([{"city": "here"}])[0]
    found = [
        {name: value for name, value in each.items() if name not in standard}
        for each in objects(records)
    ]
    assert found == expected


REFUSED: dict[str, tuple[list[Any], tuple[str, ...], str]] = {
    "an unknown field": ([RECORD], ("traits", "nosuch"), "made.mmdb: no record has nosuch"),
    "the beginning of a name": ([RECORD], ("trait",), "made.mmdb: no record has trait"),
    "too many": (
        [{f"field{number}": number for number in range(MAX_OWN_FIELDS + 1)}],
        (),
        "made.mmdb: 41 fields to keep (limit 40): --keep chooses",
    ),
    "two of one name": (
        ["x", {"value": "y"}],
        (),
        "made.mmdb: a value without a name, and a field named value",
    ),
    "two of one path": (
        [{"a.b": 1, "a": {"b": 2}}],
        (),
        "offset 22 (record 0): two values have the path a.b",
    ),
    "an impossible value": (
        [{"city": "here"}, {"location": {"latitude": 91.0}}],
        (),
        "(record 1): latitude: 91.0 is not within -90 and 90 degrees",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_is_refused_with_its_name(case: str) -> None:
    records, keep, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        objects(records, keep=keep)
    assert str(caught.value).endswith(message)


def test_as_many_fields_as_the_limit_are_kept() -> None:
    record = {f"field{number}": number for number in range(MAX_OWN_FIELDS)}
    (found,) = objects([record])
    assert record.items() <= found.items()
