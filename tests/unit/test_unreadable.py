"""What cannot be read is recognised by its content, and named."""

import bz2
import io
import json
import pickle
import sqlite3
import struct
import tarfile
from pathlib import Path

import pytest

from harness.compiler import SAMPLE
from harness.sources import patched, u32_be
from ipgeo.blob.layout import MAGIC
from ipgeo.sources.content import read_content
from ipgeo.sources.registry import FORMATS
from ipgeo.sources.unreadable import UNREADABLE, problem_of

LAST = 0xFFFFFFFF


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(SAMPLE, "sample.dat")
    return file.getvalue()


def sqlite() -> bytes:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table runs (first)")
        return database.serialize()


def datx(records: list[bytes], last_hint: int = 0) -> bytes:
    hints = struct.pack("<65536I", *[0] * 65535, last_hint)
    body = b"".join(records)
    return u32_be(524292 + len(body)) + hints + body + b"text"


def city(bound: int) -> bytes:
    return struct.pack(">I5x", bound)


def district(first: int, last: int) -> bytes:
    return struct.pack(">II5x", first, last)


def ipdb(meta: object) -> bytes:
    text = json.dumps(meta).encode()
    return u32_be(len(text)) + text + bytes(16)


def xdb(version: int, segments: int, size: int = 14, policy: int = 1) -> bytes:
    first = 256 + 524288 + 100
    head = struct.pack("<HHIII", version, policy, 0, first, first + (segments - 1) * size)
    return head.ljust(first, b"\0") + bytes(segments * size)


def index(entry: str, entries: list[tuple[int, ...]]) -> bytes:
    """Return a file with the offsets of its first and last entry in its head."""
    packed = [struct.pack(entry, *values) for values in entries]
    first = 8 + 8192
    last = first + sum(map(len, packed[:-1]))
    return struct.pack("<II", first, last).ljust(first, b"\0") + b"".join(packed)


def zdb(segments: int, records: int = 16) -> bytes:
    index_start = 30
    head = struct.pack("<IIII", 1, 20221207, records, index_start)
    return head.ljust(index_start + 65537 * 4, b"\0") + bytes(segments * 8)


def ip2location(product: int, size: int | None, last: int = LAST) -> bytes:
    """Return a BIN of three rows of two columns; ``size`` is added to the true one, None is 0."""
    rows = [(0, 89), (1 << 24, 92), (last, 0)]
    whole = 64 + 8 * len(rows)
    head = struct.pack("<BB3BIIIIII", 1, 2, 21, 5, 28, len(rows), 65, 0, 1, 0, 0)
    head += struct.pack("<BBI", product, 1, 0 if size is None else whole + size)
    return head.ljust(64, b"\0") + b"".join(struct.pack("<II", *row) for row in rows)


def czdb(client: int = 33, block: int = 32) -> bytes:
    return struct.pack("<III", 20240918, client, block) + bytes(range(128, 228))


def qqwry(last: int = 0xFFFFFF00) -> bytes:
    return index("<I3x", [(0,), (1 << 24,), (last,)])


def ip2region_db(last: int = LAST) -> bytes:
    return index("<II4x", [(0, 9), (10, last)])


MADE: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("an HTML or XML page", b"<!DOCTYPE html>\n<title>404</title>"),
    ("an HTML or XML page", b"\xef\xbb\xbf\r\n <HTML><body>Not found"),
    ("an HTML or XML page", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    (
        "a Git LFS pointer",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3759112\n",
    ),
    ("a git-annex pointer", b"/annex/objects/SHA256E-s3759112--4d7a.dat\n"),
    ("a git-annex pointer", b"../.git/annex/objects/w4/9K/SHA256E-s3759112--4d7a.dat"),
    ("JSON", b'{"error": "invalid license key"}\n'),
    ("JSON", b" [1, 2]"),
    ("an ipgeo blob", MAGIC + bytes(100)),
    ("an SQLite database", sqlite()),
    ("a Parquet file", b"PAR1" + bytes(20) + b"PAR1"),
    ("a Python pickle", pickle.dumps({"a": [1, 2]}, protocol=4)),
    ("a tar archive", tar()),
    ("packed by bzip2", bz2.compress(b"text", 1)),
    ("packed by bzip2", bz2.compress(b"text")),
    ("packed by Zstandard", b"\x28\xb5\x2f\xfd\x04\x00"),
    ("a 7-Zip archive", b"7z\xbc\xaf\x27\x1c\x00\x04"),
    ("a RAR archive", b"Rar!\x1a\x07\x01\x00"),
    ("zxinc's ipv6wry.db", b"IPDB" + struct.pack("<HBBQQ", 2, 3, 8, 1, 24)),
    ("IPIP .ipdb", ipdb({"build": 1, "ip_version": 1, "node_count": 9, "fields": []})),
    ("IPIP .datx", datx([city(9), city(LAST)], last_hint=1)),
    ("IPIP .datx of districts or base stations", datx([district(1, 2), district(5, 9)])),
    ("ip2region .xdb", xdb(2, 3)),
    ("ip2region .xdb", xdb(3, 3, size=38)),
    ("ip2region .xdb", xdb(4, 3)),
    ("ip2region .xdb", xdb(3, 3)[:-5]),
    ("ip2region .db (version 1)", ip2region_db()),
    ("ip2region .zdb", zdb(2)),
    ("qqwry.dat", qqwry()),
    ("IP2Location BIN", ip2location(0, None)),
    ("IP2Location BIN", ip2location(1, 0)),
    ("IP2Location BIN", ip2location(1, 9, last=9)),
    ("IP2Proxy BIN", ip2location(2, 0, last=9)),
    ("czdb", czdb()),
    ("a MaxMind DB", bytes(16) + b"\xe1\x47country\xe0"),
    ("a text (CSV, TSV, geofeed, ip2region …)", b"1.0.0.0/24,AU,,,\n"),
    ("a text (CSV, TSV, geofeed, ip2region …)", "0.0.0.0|1.0.0.0|中国|".encode() * 50),
    ("a text (CSV, TSV, geofeed, ip2region …)", ("a" + "中" * 400).encode()),
    ("a text (CSV, TSV, geofeed, ip2region …)", b'{"error": '),
]
"""What content is, and content that is made to be it."""


@pytest.mark.parametrize(("what", "data"), MADE, ids=[what for what, _ in MADE])
def test_content_is_named(what: str, data: bytes) -> None:
    assert f"{problem_of(data)}".startswith(f"{what}: ")
    assert not any(known.recognises(data) for known in FORMATS)


def test_each_kind_is_tested() -> None:
    assert {what for what, _ in MADE} == {kind.what for kind in UNREADABLE}


UNKNOWN = {
    "noise": bytes(range(256)) * 20,
    "another pickle's end": b"\x80\x04noise\x00\xff",
    "a .datx with another last bound": datx([city(9), city(LAST - 1)], last_hint=1),
    "a .datx of ranges that end before they begin": datx([district(2, 1), district(5, 9)]),
    "a .datx without a record": datx([]),
    "a cut .datx": datx([city(9), city(LAST)])[:-10],
    "an .ipdb without nodes": ipdb({"build": 1}),
    "an .xdb of another version": xdb(1, 3),
    "an .xdb of another policy": xdb(3, 3, policy=9),
    "an .xdb with half a segment": patched(xdb(3, 3), 12, b"\xff"),
    "an ip2region .db with another last address": ip2region_db(LAST - 1),
    "a .zdb with half a segment": zdb(2) + b"\0",
    "a .zdb with records elsewhere": zdb(2, records=17),
    "a qqwry.dat with another last entry": qqwry(0xFE000000),
    "a BIN without sentinel and size": ip2location(0, None, last=9),
    "a BIN shorter than the file": ip2location(1, -1, last=9),
    "a BIN of another product": ip2location(3, 0, last=9),
    "a czdb of too large a client": czdb(client=1 << 12),
    "a czdb of another block": czdb(block=33),
    "a text with half a character at its end": "中".encode()[:2],
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_similar_content_is_not_named(case: str) -> None:
    assert problem_of(UNKNOWN[case]) is None


@pytest.mark.parametrize(("what", "data"), MADE, ids=[what for what, _ in MADE])
def test_no_beginning_is_a_trap(what: str, data: bytes) -> None:
    for size in range(min(len(data), 80)):
        problem_of(data[:size])


REAL = {
    "city.free.ipdb.xz": "IPIP .ipdb",
    "formats/17monipdb-free-20180702.datx.xz": "IPIP .datx",
    "formats/IP2LOCATION-LITE-DB1-20210528.BIN.xz": "IP2Location BIN",
    "formats/dbip-city-lite-excerpt.csv": "a text",
    "formats/geofeed-kincaidyang.csv": "a text",
    "formats/ip.merge-excerpt.txt": "a text",
    "formats/ip2asn-v4-excerpt.tsv": "a text",
    "formats/ip2location-db1-sample.ipv6.bin.xz": "IP2Location BIN",
    "formats/ip2location-db3-sample.ipv4.bin.xz": "IP2Location BIN",
    "formats/ip2region-v2-20240228.xdb.xz": "ip2region .xdb",
    "formats/made-v3-ipv4-gaps.xdb": "ip2region .xdb",
    "formats/made-v3-ipv6.xdb": "ip2region .xdb",
    "formats/made-v4v6-CN-EN.ipdb": "IPIP .ipdb",
    "formats/qqwry-20140815.dat.xz": "qqwry.dat",
    "formats/zxinc-ipv6wry-20200302.db.xz": "zxinc's ipv6wry.db",
    "mmdb/GeoIP2-City-Test.json": "JSON",
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_file_is_named(real_data: Path, name: str) -> None:
    content = read_content(real_data / name)
    assert f"{problem_of(content)}".startswith(REAL[name])
    assert not any(known.recognises(content) for known in FORMATS)
    kinds = {kind.what[:6] for kind in UNREADABLE if kind.recognises(content)}
    assert len(kinds - {"a text"}) <= 1


@pytest.mark.parametrize("name", ["mmdb/GeoLite2-City-Test.mmdb", "mmdb/GeoLite2-ASN-Test.mmdb"])
def test_a_real_mmdb_without_its_end_is_named(real_data: Path, name: str) -> None:
    content = read_content(real_data / name)
    assert f"{problem_of(content[:-1000])}".startswith("a MaxMind DB: its end is missing")


@pytest.mark.parametrize("name", ["17monipdb.dat", "mmdb/GeoLite2-City-Test.mmdb"])
def test_a_real_file_that_is_read_is_none_of_them(real_data: Path, name: str) -> None:
    assert problem_of(read_content(real_data / name)) is None
