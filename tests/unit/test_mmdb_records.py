"""Records of several makers as standard fields."""

import json
from pathlib import Path
from typing import Any

import pytest

from ipgeo.sources.mmdb.reader import parse
from ipgeo.sources.mmdb.records import (
    MAX_PATH,
    Field,
    flatten,
    names_in,
    network_fields,
    place_fields,
    position_fields,
)

US = {"geoname_id": 6252001, "iso_code": "US", "names": {"en": "United States", "zh-CN": "美国"}}
FR = {
    "geoname_id": 3017382,
    "iso_code": "FR",
    "is_in_european_union": True,
    "names": {"en": "France"},
}
CITY = {
    "city": {"geoname_id": 5375480, "names": {"en": "Mountain View"}},
    "continent": {"code": "NA", "geoname_id": 6255149, "names": {"en": "North America"}},
    "country": US,
    "location": {
        "accuracy_radius": 20,
        "latitude": 37.419200000000004,
        "longitude": -122.0574,
        "time_zone": "America/Los_Angeles",
    },
    "postal": {"code": "94043"},
    "registered_country": FR,
    "subdivisions": [
        {"geoname_id": 5332921, "iso_code": "CA", "names": {"en": "California"}},
        {"iso_code": "X", "names": {"en": "smaller"}},
    ],
}


def standard_fields(record: Any) -> dict[str, Field]:
    fields = {**place_fields(record), **position_fields(record), **network_fields(record)}
    return {name: value for name, value in fields.items() if value is not None}


RECORDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "GeoLite2-City": (
        CITY,
        {
            "country": US["names"],
            "country_code": "US",
            "province": {"en": "California"},
            "province_code": "US-CA",
            "city": {"en": "Mountain View"},
            "continent": {"en": "North America"},
            "continent_code": "NA",
            "postal_code": "94043",
            "geoname_id": 5375480,
            "latitude": "37.4192",
            "longitude": "-122.0574",
            "time_zone": "America/Los_Angeles",
            "accuracy_radius": 20,
        },
    ),
    "country of registration": (
        {"registered_country": FR},
        {
            "country": {"en": "France"},
            "country_code": "FR",
            "is_eu": True,
            "geoname_id": 3017382,
        },
    ),
    "country without names": ({"country": {"iso_code": "CN"}}, {"country_code": "CN"}),
    "country with names alone": ({"country": {"names": {"en": "Sea"}}}, {"country": {"en": "Sea"}}),
    "a list's name": ({"country": {"iso_code": "PRIVATE"}}, {"list_name": "PRIVATE"}),
    "a list's name and names": (
        {"country": {"iso_code": "CLOUDFLARE", "names": {"en": "Cloudflare"}}},
        {"country": {"en": "Cloudflare"}, "list_name": "CLOUDFLARE"},
    ),
    "a number for the smallest place that has one": (
        {
            "country": FR,
            "subdivisions": [
                {"geoname_id": 3012874, "iso_code": "IDF"},
                {"geoname_id": 2988506, "iso_code": "75"},
                {"iso_code": "751"},
            ],
        },
        {
            "country": {"en": "France"},
            "country_code": "FR",
            "is_eu": True,
            "province_code": "FR-IDF",
            "geoname_id": 2988506,
        },
    ),
    "nowhere": ({"country": {"iso_code": "ZZ", "names": {"en": "nowhere"}}}, {}),
    "GeoLite2-ASN": (
        {"autonomous_system_number": 1221, "autonomous_system_organization": "Telstra"},
        {"asn": 1221, "as_organization": "Telstra", "organization": "Telstra"},
    ),
    "GeoIP2-ISP": (
        {
            "autonomous_system_number": 7018,
            "autonomous_system_organization": "AT&T Services",
            "isp": "AT&T",
            "organization": "STREAM",
        },
        {"asn": 7018, "as_organization": "AT&T Services", "organization": "STREAM", "isp": "AT&T"},
    ),
    "GeoIP2-Enterprise": (
        {
            "country": FR,
            "traits": {"autonomous_system_number": 3215, "isp": "Orange", "is_anycast": True},
        },
        {
            "country": {"en": "France"},
            "country_code": "FR",
            "is_eu": True,
            "geoname_id": 3017382,
            "asn": 3215,
            "isp": "Orange",
            "anycast": "ANYCAST",
        },
    ),
    "DBIP-City-Lite": (
        {
            "city": {"names": {"en": "Chiyoda, Tokyo"}},
            "country": {"iso_code": "JP"},
            "location": {"latitude": 0.0, "longitude": -0.5},
            "subdivisions": [{"names": {"en": "Tokyo"}}],
        },
        {
            "country_code": "JP",
            "province": {"en": "Tokyo"},
            "city": {"en": "Chiyoda, Tokyo"},
            "latitude": "0.0",
            "longitude": "-0.5",
        },
    ),
    "IPinfo lite": (
        {
            "as_domain": "cloudflare.com",
            "as_name": "Cloudflare, Inc.",
            "asn": "AS13335",
            "continent": "Oceania",
            "continent_code": "OC",
            "country": "Australia",
            "country_code": "AU",
        },
        {
            "country": "Australia",
            "country_code": "AU",
            "continent": "Oceania",
            "continent_code": "OC",
            "asn": 13335,
            "as_organization": "Cloudflare, Inc.",
            "organization": "Cloudflare, Inc.",
        },
    ),
    "IPinfo country_asn": (
        {
            "as_name": "",
            "asn": "",
            "continent": "AS",
            "continent_name": "Asia",
            "country": "IN",
            "country_name": "India",
        },
        {
            "country": "India",
            "country_code": "IN",
            "continent": "Asia",
            "continent_code": "AS",
        },
    ),
    "IPinfo location of before": (
        {
            "city": "El Paso",
            "country": "US",
            "geoname_id": "5520993",
            "lat": "31.75872",
            "lng": "-106.48693",
            "postal_code": "",
            "region": "Texas",
            "region_code": "TX",
            "timezone": "America/Denver",
        },
        {
            "country_code": "US",
            "province": "Texas",
            "province_code": "US-TX",
            "city": "El Paso",
            "geoname_id": 5520993,
            "latitude": "31.75872",
            "longitude": "-106.48693",
            "time_zone": "America/Denver",
        },
    ),
    "nothing known": ({"country": "", "country_code": "", "city": "", "lat": "", "lng": ""}, {}),
    "other types": (
        {
            "country": [1],
            "city": 5,
            "location": {"latitude": True, "accuracy_radius": "x"},
            "subdivisions": ["x"],
            "asn": False,
            "geoname_id": "many",
        },
        {},
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_these_standard_fields(name: str) -> None:
    record, fields = RECORDS[name]
    assert standard_fields(record) == fields


IMPOSSIBLE = {
    "latitude": ({"location": {"latitude": 90.5}}, "latitude: 90.5 is not within"),
    "longitude": ({"location": {"longitude": float("nan")}}, "longitude: nan is not within"),
    "lat": ({"lat": "north"}, "lat: 'north' is not a decimal number"),
    "asn": ({"asn": "ASX"}, "asn: 'ASX' is not a number of an autonomous system"),
    "asn of 33 bits": ({"autonomous_system_number": 1 << 32}, "autonomous_system_number: 42949"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_value_is_refused_with_its_field(name: str) -> None:
    record: Any
    record, message = IMPOSSIBLE[name]
    with pytest.raises(ValueError, match=message):
        standard_fields(record)


NAMES = {"en": "Shanghai", "zh-CN": "上海"}


@pytest.mark.parametrize(
    ("names", "languages", "name"),
    [
        (NAMES, ["zh-CN", "en"], "上海"),
        ({"en": "Putian"}, ["zh-CN", "en"], "Putian"),
        (NAMES, ["de"], None),
        (NAMES, [], None),
        ("Texas", ["de"], "Texas"),
    ],
)
def test_a_name_is_in_the_first_language_it_has(
    names: str | dict[str, str], languages: list[str], name: str | None
) -> None:
    assert names_in(names, languages) == name


def test_an_empty_name_is_none() -> None:
    record: Any = {"city": {"names": {"zh-CN": "", "en": "Putian", "de": 5}}}
    names = standard_fields(record)["city"]
    assert isinstance(names, dict)
    assert names_in(names, ("zh-CN", "de", "en")) == "Putian"
    assert names_in(names, ("zh-CN", "de")) is None


def test_a_record_is_flattened_in_its_order() -> None:
    record: Any = {
        "b": {"names": {"en": "x"}},
        "a": [1, {"c": True}],
        "d": {},
        "e": b"\x00\xff",
        "f": 0.5,
    }
    expected = {"b.names.en": "x", "a.0": 1, "a.1.c": True, "e": "00ff", "f": 0.5}
    assert list(flatten(record).items()) == list(expected.items())
    assert flatten("x") == {"": "x"}


def test_two_values_have_two_paths() -> None:
    record: Any = {"a.b": 1, "a": {"b": 2}}
    with pytest.raises(ValueError, match=r"two values have the path a\.b"):
        flatten(record)


def test_a_path_has_a_limit() -> None:
    assert flatten({"x" * MAX_PATH: 1})
    nested: Any = 1
    for _ in range(512):
        nested = [nested]
    long: Any = {"x" * (MAX_PATH + 1): 1}
    for record in (long, nested):
        with pytest.raises(ValueError, match="is a path of over 255 characters"):
            flatten(record)


@pytest.mark.parametrize(
    "name",
    [
        "formats/ipinfo-ip_geolocation_standard_sample.mmdb",
        "formats/ipinfo_lite_sample.mmdb",
        "formats/loyal-cn-private.mmdb",
        "mmdb/GeoIP2-City-Test.mmdb",
        "mmdb/GeoIP2-ISP-Test.mmdb",
    ],
)
def test_real_records_keep_all_they_have(real_data: Path, name: str) -> None:
    records = parse(name, (real_data / name).read_bytes()).records
    fields = [standard_fields(record) for record in records]
    names = {field for found in fields for field in found}
    assert ("isp" in names) if "ISP" in name else ("country_code" in names)
    for record, found in zip(records, fields, strict=True):
        text = json.dumps(record, ensure_ascii=False)
        for value in found.values():
            if isinstance(value, dict):
                assert json.dumps(value, ensure_ascii=False) in text
    assert all(flatten(record) for record in records)
