"""The project's own sample: the same as in data/, marked as such, and right in what it states."""

import json
from pathlib import Path

import pytest

from harness import ROOT
from harness.compiler import SAMPLE, SAMPLE_CODES, build, compiler
from ipgeo.blob.reader import Blob
from ipgeo.places.code_files import read_codes
from ipgeo.ranges.address import ADDRESS_COUNT, parse_ipv4
from ipgeo.sources.registry import read_source
from ipgeo.sources.sample import write_sample

FILES = ("sample.dat", "country_list.txt", "china_province_code.txt", "china_city_code.txt")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "sample.blob"
    build(path)
    return path


@pytest.fixture(scope="module")
def blob(path: Path) -> Blob:
    return Blob(path.read_bytes())


def test_data_holds_what_the_command_writes(tmp_path: Path) -> None:
    assert [written.name for written in write_sample(tmp_path)] == [*FILES]
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (ROOT / "data" / name).read_bytes(), name


def test_the_sample_replaces_an_older_one(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_text("old")
    (tmp_path / "other").write_text("another program's")
    for _ in range(2):
        assert compiler("sample", tmp_path).status == 0
    assert (tmp_path / "sample.dat").read_bytes() == SAMPLE.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*FILES, "other"])


def test_the_blob_is_marked_as_sample(path: Path, blob: Blob, tmp_path: Path) -> None:
    assert blob.meta["sample"] is True
    text = compiler("build", SAMPLE, "--codes", SAMPLE_CODES, "-o", tmp_path / "x.blob").out
    assert "this is the project's sample, not real data" in text
    assert (tmp_path / "x.blob").read_bytes() == path.read_bytes()


def test_every_address_has_an_answer_with_a_country(blob: Blob) -> None:
    spans = [*blob.spans()]
    assert spans[0][0] == 0
    assert sum(last - first + 1 for first, last, _ in spans) == ADDRESS_COUNT
    assert all(number is not None for _, _, number in spans)
    assert all(location.country for location in read_source(SAMPLE).locations)


def test_every_code_is_used(blob: Blob) -> None:
    codes = read_codes(SAMPLE_CODES)
    used = {code for location in read_source(SAMPLE).locations for code in codes.of(location)}
    assert used - {None} == set(codes.by_names.values())


CHINA = ["中国", "CN"]

FACTS = {
    "0.0.0.0": ["本网络"],  # noqa: S104 - an address to look up
    "1.0.0.1": ["APNIC"],
    "1.1.1.1": ["CLOUDFLARE", "None", "CLOUDFLARE", "None", "", "None", "Cloudflare DNS", ""],
    "1.1.2.1": ["APNIC"],
    "8.8.7.255": ["ARIN"],
    "8.8.8.0": ["美国", "US"],
    "8.8.8.8": ["美国", "US", "美国", "None", "", "None", "Google Public DNS", ""],
    "8.8.8.255": ["美国", "US"],
    "8.8.9.0": ["ARIN"],
    "9.9.9.9": ["瑞士", "CH"],
    "9.255.255.255": ["ARIN"],
    "10.0.0.0": ["局域网"],
    "10.0.0.1": ["局域网", "None", "局域网", "None", "", "None", "", ""],
    "10.255.255.255": ["局域网"],
    "11.0.0.0": ["ARIN"],
    "17.5.7.8": ["美国", "US"],
    "41.1.1.1": ["AFRINIC"],
    "77.1.1.1": ["RIPE NCC"],
    "100.63.255.255": ["ARIN"],
    "100.64.0.0": ["共享地址"],
    "100.127.255.255": ["共享地址"],
    "100.128.0.0": ["ARIN"],
    "114.114.114.114": [*CHINA, "江苏", "320000", "南京", "320100", "114DNS", ""],
    "119.29.29.29": [*CHINA, "广东", "440000", "深圳", "440300", "DNSPod", ""],
    "126.255.255.255": ["APNIC"],
    "127.0.0.1": ["本机地址", "None", "本机地址", "None", "", "None", "", ""],
    "128.0.0.0": ["ARIN"],
    "168.95.1.1": [*CHINA, "台湾", "710000", "", "None", "HiNet", ""],
    "169.253.255.255": ["ARIN"],
    "169.254.169.254": ["本地链路"],
    "172.15.255.255": ["ARIN"],
    "172.16.0.1": ["局域网"],
    "172.31.255.255": ["局域网"],
    "172.32.0.0": ["ARIN"],
    "177.1.1.1": ["LACNIC"],
    "180.76.76.76": [*CHINA, "北京", "110000", "北京", "110000", "Baidu DNS", ""],
    "192.0.2.1": ["文档地址"],
    "192.167.255.255": ["ARIN"],
    "192.168.0.1": ["局域网"],
    "193.0.14.129": ["荷兰", "NL"],
    "198.17.255.255": ["ARIN"],
    "198.18.0.0": ["基准测试"],
    "198.19.255.255": ["基准测试"],
    "198.20.0.0": ["ARIN"],
    "198.51.100.7": ["文档地址"],
    "202.12.27.33": ["日本", "JP"],
    "203.0.113.7": ["文档地址"],
    "223.5.5.5": [*CHINA, "浙江", "330000", "杭州", "330100", "AliDNS", ""],
    "223.255.255.255": ["APNIC"],
    "224.0.0.1": ["组播地址"],
    "239.255.255.255": ["组播地址"],
    "240.0.0.0": ["保留地址"],
    "255.255.254.255": ["保留地址"],
    "255.255.255.255": ["IPGEO.SAMPLE"],
}


def test_the_table_of_facts_holds_addresses() -> None:
    assert all(parse_ipv4(ip) is not None for ip in FACTS)


def test_the_sample_answers_as_the_facts(path: Path) -> None:
    done = compiler("lookup", path, *FACTS)
    assert (done.status, done.err) == (0, "")
    found = dict(line.split("\t") for line in done.out.splitlines())
    wrong = {
        ip: found[ip]
        for ip, expected in FACTS.items()
        if json.loads(found[ip])[: len(expected)] != expected
    }
    assert not wrong
