"""Real MMDBs, as MaxMind's own reader reads them, and broken ones."""

import hashlib
import json
import lzma
import random
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import maxminddb
import pytest

from crosscheck import mmdb as crosscheck
from harness.mmdb import MARKER
from ipgeo.errors import InputError
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.columns import Runs4, Runs6
from ipgeo.sources.mmdb.reader import MmdbFile, parse

FILES = (
    "formats/GeoLite2-Country-20191224.mmdb.xz",
    "formats/MaxMind-DB-no-ipv4-search-tree.mmdb",
    "formats/MaxMind-DB-string-value-entries.mmdb",
    "formats/MaxMind-DB-test-decoder.mmdb",
    "formats/MaxMind-DB-test-ipv4-28.mmdb",
    "formats/MaxMind-DB-test-ipv6-24.mmdb",
    "formats/MaxMind-DB-test-mixed-32.mmdb",
    "formats/ipinfo-ip_geolocation_standard_sample.mmdb",
    "formats/ipinfo_lite_sample.mmdb",
    "formats/loyal-cn-private.mmdb",
    "mmdb/GeoIP2-City-Test.mmdb",
    "mmdb/GeoIP2-ISP-Test.mmdb",
    "mmdb/GeoLite2-ASN-Test.mmdb",
    "mmdb/GeoLite2-City-Test.mmdb",
    "mmdb/GeoLite2-Country-Test.mmdb",
    "mmdb/MaxMind-DB-test-ipv4-24.mmdb",
    "mmdb/MaxMind-DB-test-ipv6-32.mmdb",
    "mmdb/MaxMind-DB-test-mixed-28.mmdb",
)

BROKEN = {
    "GeoIP2-City-Test-Invalid-Node-Count.mmdb": "node_count is 100000",
    "MaxMind-DB-test-broken-pointers-24.mmdb": "record 100232 of node 36 leads to no data",
    "MaxMind-DB-test-broken-search-tree-24.mmdb": "deeper than addresses have bits",
    "bad-data/libmaxminddb/libmaxminddb-corrupt-search-tree.mmdb": None,
    "bad-data/libmaxminddb/libmaxminddb-deep-array-nesting.mmdb": "nested deeper than 512",
    "bad-data/libmaxminddb/libmaxminddb-deep-nesting.mmdb": "nested deeper than 512",
    "bad-data/libmaxminddb/libmaxminddb-empty-array-last-in-metadata.mmdb": None,
    "bad-data/libmaxminddb/libmaxminddb-empty-map-last-in-metadata.mmdb": None,
    "bad-data/libmaxminddb/libmaxminddb-metadata-marker-only.mmdb": "end inside a value",
    "bad-data/libmaxminddb/libmaxminddb-offset-integer-overflow.mmdb": "a pointer to 943208705",
    "bad-data/libmaxminddb/libmaxminddb-oversized-array.mmdb": "1000000 elements pass the end",
    "bad-data/libmaxminddb/libmaxminddb-oversized-map.mmdb": "1000000 elements pass the end",
    "bad-data/libmaxminddb/libmaxminddb-separator-record-max-left.mmdb": "record 16 of node 0",
    "bad-data/libmaxminddb/libmaxminddb-separator-record-min-left.mmdb": "record 2 of node 0",
    "bad-data/libmaxminddb/libmaxminddb-separator-record-min-right.mmdb": "record 2 of node 0",
    "bad-data/libmaxminddb/libmaxminddb-uint64-max-epoch.mmdb": None,
    "bad-data/maxminddb-golang/cyclic-data-structure.mmdb": "pass the end of the data",
    "bad-data/maxminddb-golang/invalid-bytes-length.mmdb": "pass the end of the data",
    "bad-data/maxminddb-golang/invalid-data-record-offset.mmdb": "not UTF-8",
    "bad-data/maxminddb-golang/invalid-map-key-length.mmdb": "pass the end of the data",
    "bad-data/maxminddb-golang/invalid-string-length.mmdb": "a pointer to 47 passes the end",
    "bad-data/maxminddb-golang/metadata-is-an-uint128.mmdb": "pass the end of the data",
    "bad-data/maxminddb-golang/unexpected-bytes.mmdb": "end inside a value",
    "bad-data/maxminddb-python/bad-unicode-in-map-key.mmdb": "no 16 zero bytes after a tree",
}
"""Broken files of other readers' tests, and why they are refused; None for those that are read."""

MUTATED = tuple(name for name in FILES if not re.search("Country-2019|loyal|ISP|sample", name))
MUTATIONS = 300

Steps = list[crosscheck.Step]


@pytest.fixture
def unpacked(real_data: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return the path of a real file, unpacked."""

    def unpack(name: str) -> Path:
        path = real_data / name
        if path.suffix != ".xz":
            return path
        plain = tmp_path / path.stem
        plain.write_bytes(lzma.decompress(path.read_bytes()))
        return plain

    return unpack


def steps(file: MmdbFile, runs: Runs4 | Runs6) -> Steps:
    """What the product reads, as the crosscheck has it."""
    answers = {number: crosscheck.canonical(record) for number, record in enumerate(file.records)}
    return crosscheck.steps((first, last + 1, answers.get(number)) for first, last, number in runs)


def both(file: MmdbFile) -> tuple[Steps, Steps | None]:
    return steps(file, file.v4), steps(file, file.v6) if file.v6 else None


def test_every_file_is_listed(real_data: Path) -> None:
    found = {str(path.relative_to(real_data)) for path in real_data.rglob("*.mmdb*")}
    assert found == {*FILES, *(f"mmdb/{name}" for name in BROKEN)}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_maxminds_reader_reads(unpacked: Callable[[str], Path], name: str) -> None:
    path = unpacked(name)
    file = parse(path, path.read_bytes())
    assert both(file) == crosscheck.read(path)
    for runs in (file.v4, file.v6):
        if runs:
            assert all(a != b for a, b in zip(runs.ids, runs.ids[1:], strict=False))
    assert file.facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    positions = {file.records.position(number) for number in range(len(file.records))}
    assert len(positions) == len(file.records)


def facts_of(real_data: Path, name: str) -> str:
    text = (real_data / "formats" / "FACTS.md").read_text()
    return text.split(f"\n### `{name}`\n")[1].split("\n### ")[0]


def counted(found: Steps) -> tuple[int, int, int]:
    """The numbers of FACTS.md: runs with data, distinct answers, gaps between runs."""
    gaps = [number for number, (_, answer) in enumerate(found) if answer is None]
    inner = [number for number in gaps if 0 < number < len(found) - 1]
    answers = [answer for _, answer in found if answer is not None]
    return len(answers), len(set(answers)), len(inner)


WITH_FACTS = [name for name in FILES if name.startswith("formats/")]


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_FACTS)
def test_a_file_has_the_facts_that_were_counted(
    unpacked: Callable[[str], Path], real_data: Path, name: str
) -> None:
    file = parse(name, unpacked(name).read_bytes())
    facts = facts_of(real_data, name.removeprefix("formats/"))
    found = both(file)
    networks = 0
    for family, step in zip(("IPv4", "IPv6"), found, strict=True):
        pattern = rf"- {family}: (\d+) records, (\d+) after .*, (\d+) distinct .*, (\d+) gaps"
        counts = re.search(pattern, facts)
        if not counts:
            assert step is None or counted(step) == (0, 0, 0)
            continue
        assert step is not None
        assert counted(step) == tuple(map(int, counts.groups()[1:]))
        networks += int(counts[1])
    assert file.facts["records"] == networks
    addresses = re.findall(r"^  - `(.*)` (.*)$", facts, re.MULTILINE)
    assert addresses
    for text, answer in addresses:
        assert answer_of(file, ip_address(text)) == json.loads(answer)


def answer_of(file: MmdbFile, address: IPv4Address | IPv6Address) -> Any:
    runs = file.v4 if isinstance(address, IPv4Address) else file.v6
    assert runs
    number = next(n for first, last, n in runs if first <= int(address) <= last)
    return None if number == NO_DATA else json.loads(crosscheck.canonical(file.records[number]))


def as_maxminds(path: Path, data: bytes, metadata: bytes) -> tuple[Steps, Steps | None]:
    """What MaxMind's reader reads from a file that the product has read.

    It refuses a file that lacks optional metadata: then ``metadata`` take their place.
    """
    path.write_bytes(data)
    try:
        return crosscheck.read(path)
    except maxminddb.InvalidDatabaseError:
        path.write_bytes(data[: data.rfind(MARKER)] + metadata)
        return crosscheck.read(path)


def judge(path: Path, data: bytes, metadata: bytes) -> str | None:
    """Return why a file was refused; fail if it was read, and otherwise than by MaxMind."""
    try:
        file = parse(path, data)
        list(file.records)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    assert both(file) == as_maxminds(path, data, metadata)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_or_read_as_maxmind_does(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    data = (real_data / "mmdb" / name).read_bytes()
    error = judge(tmp_path / "broken.mmdb", data, data[data.rfind(MARKER) :])
    expected = BROKEN[name]
    assert error is None or error.startswith("offset ")
    assert (error is None) == (expected is None)
    assert (expected or "") in (error or "")


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATED)
def test_a_mutated_file_is_refused_or_read_as_maxmind_does(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    original = (real_data / name).read_bytes()
    metadata = original[original.rfind(MARKER) :]
    rng = random.Random(name)
    refused: list[str | None] = []
    for _ in range(MUTATIONS):
        data = bytearray(original)
        data[rng.randrange(len(data))] = rng.randrange(256)
        refused.append(judge(tmp_path / "mutated.mmdb", bytes(data), metadata))
    assert {error and error.split()[0] for error in refused} == {None, "offset"}
