"""What other readers counted and looked up in the MMDBs of the real data."""

from dataclasses import dataclass, field
from typing import Any

AU = {"country": "澳大利亚", "country_code": "AU", "continent": "大洋洲", "geoname_id": 2077456}
CN = {"country": "中国", "country_code": "CN", "is_eu": False, "geoname_id": 1814991, "kind": None}
US = {"country": "美国", "country_code": "US", "continent_code": "NA", "geoname_id": 6252001}
PRIVATE = {"country": "PRIVATE", "country_code": None, "is_eu": None, "kind": "private"}
SIFY = {"country": "India", "country_code": "IN", "asn": 9583, "organization": "Sify Limited"}
CHINA_LITE = {"country": "China", "country_code": "CN", "continent": "Asia", "asn": None}
DECODED = {
    "array.0": 1,
    "array.1": 2,
    "array.2": 3,
    "boolean": True,
    "bytes": "0000002a",
    "double": 42.123456,
    "float": 1.100000023841858,
    "int32": -268435456,
    "map.mapX.arrayX.0": 7,
    "map.mapX.arrayX.1": 8,
    "map.mapX.arrayX.2": 9,
    "map.mapX.utf8_stringX": "hello",
    "uint128": 1329227995784915872903807060280344576,
    "uint16": 100,
    "uint32": 268435456,
    "uint64": 1152921504606846976,
    "utf8_string": "unicode! ☯ - ♫",
}
NETWORK = "::/64"

Members = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was counted and looked up in a file by other readers.

    ``records`` are networks; ``ipv4`` and ``ipv6`` are the first and the last address with data.
    ``answers`` are members of object answers, None where there is no data.
    """

    records: int
    ipv4: tuple[str, str] | None
    ipv6: tuple[str, str] | None
    answers: dict[str, Members | None] = field(default_factory=dict)


def named(name: str, answers: dict[str, str | None]) -> dict[str, Members | None]:
    return {ip: None if value is None else {name: value} for ip, value in answers.items()}


FACTS = {
    "GeoLite2-Country-20191224.mmdb.xz": Facts(
        345846 + 102011,
        ("1.0.0.0", "223.255.255.255"),
        ("9c:1e::95:69:9d:41", "2c0f:fff0:ffff:ffff:ffff:ffff:ffff:ffff"),
        {
            "1.0.0.0": AU,
            "223.255.255.255": AU,
            "91.236.220.0": None,
            "198.141.36.0": {"country": "捷克共和国", "country_code": "CZ", "is_eu": True},
            "193.26.14.127": {"country": "法国", "country_code": "FR", "continent": "欧洲"},
            "9c:1e::95:69:9d:41": US,
            "2c0f:fff0:ffff:ffff:ffff:ffff:ffff:ffff": {
                "country": "尼日利亚",
                "country_code": "NG",
                "geoname_id": 2328926,
            },
            "2001:67c:12b1::": None,
            "2620:2a:400f:ffff:ffff:ffff:ffff:ffff": US,
            "2001:67c:2ac0:7fff:ffff:ffff:ffff:ffff": {"country": "乌克兰", "country_code": "UA"},
        },
    ),
    "ipinfo_lite_sample.mmdb": Facts(
        100,
        ("1.0.0.0", "1.7.103.255"),
        None,
        {
            "1.0.0.0": {
                "country": "Australia",
                "country_code": "AU",
                "continent": "Oceania",
                "continent_code": "OC",
                "asn": 13335,
                "as_organization": "Cloudflare, Inc.",
            },
            "1.7.103.255": SIFY,
            "1.7.0.0": SIFY,
            "1.2.127.255": CHINA_LITE,
            "1.6.226.0": {"country_code": "IN", "asn": 132215},
            "1.1.64.0": {"country": "Japan", "organization": "ARTERIA Networks Corporation"},
            "1.6.128.0": SIFY,
            "1.0.196.255": {"country": "Thailand", "country_code": "TH", "asn": 23969},
            "1.2.6.0": CHINA_LITE,
            "1.2.4.255": {
                "country_code": "CN",
                "asn": 24409,
                "as_organization": "China Internet Network Infomation Center",
            },
        },
    ),
    "ipinfo-ip_geolocation_standard_sample.mmdb": Facts(
        76 + 24,
        ("2.53.135.146", "221.113.43.111"),
        ("2001:268:7222:9600::", "2a12:5940:51da:ffff:ffff:ffff:ffff:ffff"),
        {
            "2.53.135.146": {
                "country": "Israel",
                "country_code": "IL",
                "province": "Central District",
                "province_code": "IL-M",
                "city": "Rishon LeTsiyyon",
                "latitude": 31.97102,
                "longitude": 34.78939,
                "time_zone": "Asia/Jerusalem",
                "postal_code": "",
                "geoname_id": 293703,
            },
            "221.113.43.111": {
                "province_code": "JP-33",
                "city": "Okayama",
                "latitude": 34.65,
                "longitude": 133.93333,
                "postal_code": "700-0831",
            },
            "101.186.19.144": None,
            "37.171.249.95": {"province_code": "FR-IDF", "city": "Paris", "geoname_id": 2988507},
            "204.98.49.61": {
                "province": "Texas",
                "province_code": "US-TX",
                "longitude": -106.48693,
            },
            "2001:268:7222:9600::": {"province_code": "JP-13", "city": "Tokyo"},
            "2a12:5940:51da:ffff:ffff:ffff:ffff:ffff": {
                "province": "Hesse",
                "city": "Frankfurt am Main",
                "latitude": 50.11552,
            },
            "2409:4072:640d:5c00::": None,
            "2409:4081:2d0d:97f:ffff:ffff:ffff:ffff": {"city": "Pune", "postal_code": "411001"},
            "2409:4072:640d:5b00::": {"city": "Sivakasi", "geoname_id": 1255947},
        },
    ),
    "loyal-cn-private.mmdb": Facts(
        4231 + 1473,
        ("0.0.0.0", "255.255.255.255"),  # noqa: S104 - no bind address
        ("2001:250::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        {
            "0.0.0.0": PRIVATE,  # noqa: S104 - idem
            "255.255.255.255": PRIVATE,
            "211.94.38.0": None,
            "103.105.60.0": CN,
            "103.192.11.255": CN,
            "2001:250::": CN,
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": PRIVATE,
            "2a0f:1cc5:1c21::": None,
            "240e:983:2017:ffff:ffff:ffff:ffff:ffff": CN,
            "2406:d440:200::": CN,
        },
    ),
    "MaxMind-DB-test-decoder.mmdb": Facts(
        6 + 2,
        ("0.0.0.0", "255.255.255.255"),  # noqa: S104 - idem
        ("1000::1234:0", "abcd::ffff:ffff:ffff:ffff"),
        {
            "0.0.0.0": dict.fromkeys(DECODED)  # noqa: S104 - idem
            | {"boolean": False, "bytes": "", "double": 0.0, "float": 0.0, "utf8_string": ""}
            | dict.fromkeys(("int32", "uint128", "uint16", "uint32", "uint64"), 0),
            "255.255.255.255": dict.fromkeys(DECODED)
            | {
                "int32": 2147483647,
                "uint128": 340282366920938463463374607431768211455,
                "uint16": 65535,
                "uint32": 4294967295,
                "uint64": 18446744073709551615,
            },
            "0.0.0.1": None,
            "2.2.127.255": DECODED,
            "3.127.255.255": DECODED,
            "1000::1234:0": DECODED,
            "abcd::ffff:ffff:ffff:ffff": DECODED,
            "1000::1235:0": None,
            "abcd::": DECODED,
            "abcd::7fff:ffff:ffff:ffff": DECODED,
        },
    ),
    "MaxMind-DB-no-ipv4-search-tree.mmdb": Facts(
        2,
        ("0.0.0.0", "255.255.255.255"),  # noqa: S104 - idem
        ("::1:0:0", "::ffff:ffff:ffff:ffff"),
        named(
            "value",
            {
                "0.0.0.0": NETWORK,  # noqa: S104 - idem
                "255.255.255.255": NETWORK,
                "127.255.255.255": NETWORK,
                "::1:0:0": NETWORK,
                "::ffff:ffff:ffff:ffff": NETWORK,
                "::8000:0:7fff:ffff": NETWORK,
                "0:0:0:1::": None,
            },
        ),
    ),
    "MaxMind-DB-string-value-entries.mmdb": Facts(
        6,
        ("1.1.1.1", "1.1.1.32"),
        None,
        named(
            "value",
            {
                "1.1.1.1": "1.1.1.1/32",
                "1.1.1.32": "1.1.1.32/32",
                "1.1.1.11": "1.1.1.8/29",
                "1.1.1.5": "1.1.1.4/30",
                "1.1.1.16": "1.1.1.16/28",
                "1.1.1.8": "1.1.1.8/29",
                "1.1.1.2": "1.1.1.2/31",
                "1.1.1.15": "1.1.1.8/29",
                "1.1.1.31": "1.1.1.16/28",
                "1.1.1.3": "1.1.1.2/31",
            },
        ),
    ),
    "MaxMind-DB-test-ipv4-28.mmdb": Facts(
        6,
        ("1.1.1.1", "1.1.1.32"),
        None,
        named(
            "source.ip",
            {
                "1.1.1.1": "1.1.1.1",
                "1.1.1.32": "1.1.1.32",
                "1.1.1.8": "1.1.1.8",
                "1.1.1.15": "1.1.1.8",
                "1.1.1.23": "1.1.1.16",
                "1.1.1.2": "1.1.1.2",
                "1.1.1.5": "1.1.1.4",
                "1.1.1.4": "1.1.1.4",
                "1.1.1.16": "1.1.1.16",
                "1.1.1.3": "1.1.1.2",
            },
        ),
    ),
    "MaxMind-DB-test-mixed-32.mmdb": Facts(
        6 + 5,
        ("1.1.1.1", "1.1.1.32"),
        ("::1:ffff:ffff", "::2:0:59"),
        named(
            "source.ip",
            {
                "1.1.1.1": "::1.1.1.1",
                "1.1.1.32": "::1.1.1.32",
                "1.1.1.7": "::1.1.1.4",
                "1.1.1.15": "::1.1.1.8",
                "1.1.1.3": "::1.1.1.2",
                "::1:ffff:ffff": "::1:ffff:ffff",
                "::2:0:59": "::2:0:58",
                "::2:0:58": "::2:0:58",
                "::2:0:0": "::2:0:0",
                "::2:0:40": "::2:0:40",
            },
        ),
    ),
    "MaxMind-DB-test-ipv6-24.mmdb": Facts(
        5,
        None,
        ("::1:ffff:ffff", "::2:0:59"),
        named(
            "source.ip",
            {
                "::1:ffff:ffff": "::1:ffff:ffff",
                "::2:0:59": "::2:0:58",
                "::2:0:3f": "::2:0:0",
                "::2:0:0": "::2:0:0",
                "::2:0:53": "::2:0:50",
                "::2:0:57": "::2:0:50",
                "::2:0:47": "::2:0:40",
                "::2:0:1f": "::2:0:0",
                "::2:0:50": "::2:0:50",
                "::2:0:40": "::2:0:40",
            },
        ),
    ),
}
"""The files in formats/ of the real data."""
