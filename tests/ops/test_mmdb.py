"""Real MMDBs as sources: every answer by a second reading, and those that were written down."""

import json
import lzma
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crosscheck import mmdb, mmdb_answers
from harness.compiler import SAMPLE, compiler
from ipgeo.blob.reader import Blob
from ipgeo.ranges.columns import Runs4, Runs6

DONE, BAD_INPUT, USAGE = 0, 1, 2

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

OTHERS = (
    "GeoIP2-City-Test.mmdb",
    "GeoIP2-ISP-Test.mmdb",
    "GeoLite2-ASN-Test.mmdb",
    "GeoLite2-City-Test.mmdb",
    "GeoLite2-Country-Test.mmdb",
    "MaxMind-DB-test-ipv4-24.mmdb",
    "MaxMind-DB-test-ipv6-32.mmdb",
    "MaxMind-DB-test-mixed-28.mmdb",
)
"""The sound files in mmdb/; tests/unit/test_mmdb_files.py has the list of all."""

PATHS = [*(f"formats/{name}" for name in FACTS), *(f"mmdb/{name}" for name in OTHERS)]


@pytest.fixture(scope="session")
def built(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Path]]:
    """Return the function that builds a real file, and returns it unpacked, and its blob."""
    folder = tmp_path_factory.mktemp("mmdb")
    folder.chmod(0o755)  # or the servers cannot read the blobs, and each build warns of it
    known: dict[tuple[object, ...], tuple[Path, Path]] = {}

    def build(name: str, *options: str) -> tuple[Path, Path]:
        key = (name, *options)
        if key not in known:
            source = plain = real_data / name
            if source.suffix == ".xz":
                plain = folder / source.stem
                plain.write_bytes(lzma.decompress(source.read_bytes()))
            out = folder / f"{len(known)}.blob"
            done = compiler("build", source, "-o", out, *options)
            assert (done.status, done.err) == (DONE, "")
            known[key] = plain, out
        return known[key]

    return build


def answers_of(out: Path) -> tuple[mmdb_answers.Steps, mmdb_answers.Steps | None]:
    """What a blob answers, as the second reading has it."""
    blob = Blob(out.read_bytes())
    answers = [f"{a.array.decode()}\n{a.object_without_ip.decode()}" for a in blob.answers()]

    def steps(runs: Runs4 | Runs6) -> mmdb_answers.Steps:
        known = [*answers, None]
        return mmdb.steps((first, last + 1, known[row]) for first, last, row in runs)

    return steps(blob.v4), steps(blob.v6) if blob.v6 else None


LANGUAGES = {
    "en": ("en",),
    "de": ("de",),
    "zh-CN": ("zh-CN",),
    "ja,en": ("ja", "en"),
}


@pytest.mark.parametrize("name", PATHS)
def test_every_answer_is_that_of_a_second_reading(
    built: Callable[..., tuple[Path, Path]], name: str
) -> None:
    source, out = built(name)
    assert answers_of(out) == mmdb_answers.read(source)


@pytest.mark.parametrize("languages", LANGUAGES)
@pytest.mark.parametrize("name", [path for path in PATHS if "City" in path or "ipinfo" in path])
def test_every_answer_in_other_languages(
    built: Callable[..., tuple[Path, Path]], name: str, languages: str
) -> None:
    source, out = built(name, "--language", languages)
    assert answers_of(out) == mmdb_answers.read(source, LANGUAGES[languages])


KEPT = {
    "formats/ipinfo_lite_sample.mmdb": ("as_domain", "country_code"),
    "mmdb/GeoIP2-City-Test.mmdb": ("traits", "represented_country.type", "subdivisions.1"),
    "mmdb/GeoIP2-ISP-Test.mmdb": ("autonomous_system_number",),
}


@pytest.mark.parametrize("name", KEPT)
def test_every_answer_with_kept_fields(built: Callable[..., tuple[Path, Path]], name: str) -> None:
    keep = KEPT[name]
    source, out = built(name, *(f"--keep={path}" for path in keep))
    answers = answers_of(out)
    assert answers == mmdb_answers.read(source, keep=keep)
    assert answers != mmdb_answers.read(source)


def test_the_second_reading_notices_a_wrong_answer(
    built: Callable[..., tuple[Path, Path]],
) -> None:
    source, out = built("mmdb/GeoLite2-City-Test.mmdb")
    expected, _ = mmdb_answers.read(source)
    found, _ = answers_of(out)
    assert found == expected
    for wrong in (mmdb_answers.read(source, ("de",)), mmdb_answers.read(source, (), ("city",))):
        assert found != wrong[0]


def test_broken_files_are_refused_at_an_offset_or_answer_right(
    real_data: Path, tmp_path: Path
) -> None:
    sound = {real_data / path for path in PATHS}
    broken = sorted(set((real_data / "mmdb").rglob("*.mmdb")) - sound)
    unexpected = {}
    for path in broken:
        out = tmp_path / f"{path.stem}.blob"
        done = compiler("build", path, "-o", out)
        if done.status == DONE:
            right = answers_of(out) == mmdb_answers.read(path)
        else:
            refused = re.fullmatch(rf"Error: {re.escape(str(path))}: offset \d+.*\n", done.err)
            right = done.status == BAD_INPUT and bool(refused) and not out.exists()
        if not right:
            unexpected[path.name] = done
    assert unexpected == {}
    assert len(list(tmp_path.glob("*.blob"))) < len(broken) / 4


# What was counted and looked up by others


@pytest.mark.parametrize("name", FACTS)
def test_a_file_has_the_facts_that_were_counted(
    built: Callable[..., tuple[Path, Path]], name: str
) -> None:
    facts = FACTS[name]
    _, out = built(f"formats/{name}")
    assert json.loads(out.with_name(f"{out.name}.json").read_text())["counts"]["records"] == (
        facts.records
    )
    with_data = [
        line.split(",")[:2]
        for line in compiler("export", out, "--format", "csv", "-o", "-").out.splitlines()[1:]
    ]
    for ends, separator in ((facts.ipv4, "."), (facts.ipv6, ":")):
        family = [ip for ip in with_data if separator in ip[0]]
        assert (family[0][0], family[-1][1]) == ends if ends else not family
    done = compiler("lookup", out, "--format", "object", *facts.answers)
    assert done.status == DONE
    for line, (ip, expected) in zip(done.out.splitlines(), facts.answers.items(), strict=True):
        asked, _, text = line.partition("\t")
        found = json.loads(text)
        assert asked == ip
        assert (found and {key: found[key] for key in expected or ()}) == expected


# Options


@pytest.mark.parametrize("languages", ["", "klingon", "en,", "zh_CN,en", "en;de"])
def test_an_unknown_language_is_refused(tmp_path: Path, languages: str) -> None:
    done = compiler("build", SAMPLE, "-o", tmp_path / "out.blob", "--language", languages)
    assert (done.status, done.out) == (USAGE, "")
    assert "is not a language tag such as en or zh-CN" in done.err


DAT_OPTIONS = {
    "--language=en": "17mon-dat has names in one language: no --language",
    "--keep=asn": "17mon-dat has standard fields alone: no --keep",
}


@pytest.mark.parametrize("option", DAT_OPTIONS)
def test_a_dat_file_has_no_use_for_an_option(tmp_path: Path, option: str) -> None:
    done = compiler("build", SAMPLE, "-o", tmp_path / "out.blob", option)
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err == f"Error: {SAMPLE}: {DAT_OPTIONS[option]}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_no_record_has_is_named(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "mmdb" / "GeoLite2-City-Test.mmdb"
    done = compiler("build", source, "-o", tmp_path / "out.blob", "--keep=nosuch.field")
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err == f"Error: {source}: no record has nosuch.field\n"


OPTIONS = ("--language=ja,en", "--keep=traits", "--keep=represented_country")


def test_the_blob_remembers_its_options(built: Callable[..., tuple[Path, Path]]) -> None:
    source, out = built("mmdb/GeoIP2-City-Test.mmdb", *OPTIONS)
    meta = json.loads(compiler("inspect", out, "--json").out)["meta"]
    assert meta["languages"] == ["ja", "en"]
    assert meta["keep"] == ["traits", "represented_country"]
    text = compiler("inspect", out).out.splitlines()
    assert 'languages  ["ja", "en"]' in text
    assert 'keep       ["traits", "represented_country"]' in text
    done = compiler("verify", out, "--against", source)
    assert (done.status, done.err) == (DONE, "")
    _, default = built("mmdb/GeoIP2-City-Test.mmdb")
    assert out.read_bytes() != default.read_bytes()


def test_the_default_languages_are_in_the_blob(built: Callable[..., tuple[Path, Path]]) -> None:
    for name, languages in (("loyal-cn-private", ["zh-CN", "en"]), ("ipinfo_lite_sample", ["en"])):
        _, out = built(f"formats/{name}.mmdb")
        assert Blob(out.read_bytes()).meta["languages"] == languages
