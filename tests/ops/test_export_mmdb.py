"""Exported MMDBs with both families, opened by MaxMind's reader and by nginx's module."""

import json
import lzma
import re
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import maxminddb
import pytest

from crosscheck import mmdb
from harness.client import get
from harness.compiler import compiler
from harness.edge import Edge, application
from ipgeo.blob.reader import Blob
from ipgeo.ranges.columns import Runs4, Runs6

SOURCES = ("formats/GeoLite2-Country-20191224.mmdb.xz", "mmdb/GeoIP2-City-Test.mmdb")
MAPPED, NAT64 = (int(IPv6Address(prefix)) for prefix in ("::ffff:0:0", "64:ff9b::"))
FIELDS = ("country_code", "country", "latitude")


def exported(source: Path, folder: Path) -> tuple[Blob, Path]:
    """Build a source and export it; return the blob and the file."""
    plain, out, export = folder / "source.mmdb", folder / "out.blob", folder / "out.mmdb"
    content = source.read_bytes()
    plain.write_bytes(lzma.decompress(content) if source.suffix == ".xz" else content)
    for command in (
        ("build", plain, "-o", out),
        ("export", out, "--format", "mmdb", "-o", export),
    ):
        done = compiler(*command)
        assert (done.status, done.err) == (0, "")
    return Blob(out.read_bytes()), export


def steps(blob: Blob, runs: Runs4 | Runs6) -> list[mmdb.Step]:
    """What the records of an export must be."""
    objects = [json.loads(answer.object_without_ip) for answer in blob.answers()]
    records: list[str | None] = [
        mmdb.canonical({name: value for name, value in members.items() if value is not None})
        for members in objects
    ]
    records.append(None)
    return mmdb.steps((first, last + 1, records[row]) for first, last, row in runs)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_an_export_is_the_blob_for_maxminds_reader(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    blob, export = exported(real_data / name, tmp_path)
    assert blob.v6
    ipv4, ipv6 = steps(blob, blob.v4), steps(blob, blob.v6)
    assert mmdb.read(export) == (ipv4, ipv6)
    with maxminddb.open_database(export) as reader:
        different = [
            str(asked)
            for asked, own in embedded(ipv4)
            if reader.get_with_prefix_len(asked)[0] != reader.get(own)
        ]
    assert different == []


def embedded(ipv4: list[mmdb.Step]) -> Iterator[tuple[IPv6Address, IPv4Address]]:
    """Yield IPv6 addresses with an IPv4 address inside, on both sides of every change."""
    last = mmdb.IPV4_END - 1
    edges = {edge for start, _ in ipv4 for edge in (start, max(0, start - 1))} | {last}
    for number, edge in enumerate(sorted(edges)):
        yield IPv6Address(MAPPED + edge), IPv4Address(edge)
        if number % 100 == 0 or edge == last:
            yield IPv6Address(NAT64 + edge), IPv4Address(edge)


def geoip2_module() -> Path:
    """Return nginx's module, which Debian's libnginx-mod-http-geoip2 has, or skip the test."""
    build = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr
    folder = re.search(r"--modules-path=(\S+)", build)
    path = Path(folder[1] if folder else "") / "ngx_http_geoip2_module.so"
    if not path.is_file():
        pytest.skip("libnginx-mod-http-geoip2 is not installed")
    return path


ASKED = (
    "81.2.69.160",
    "::ffff:81.2.69.160",
    "64:ff9b::81.2.69.160",
    "2001:218::1",
    "2001:220:7fff:ffff:ffff:ffff:ffff:ffff",
    "2a02:ffff::",
    "10.1.2.3",
    "3fff::1",
)
"""Addresses with and without data in the City test database."""


def test_nginxs_geoip2_module_reads_an_export(
    real_data: Path, tmp_path: Path, folder: Path
) -> None:
    module = geoip2_module()
    _, export = exported(real_data / "mmdb" / "GeoIP2-City-Test.mmdb", tmp_path)
    variables = "".join(f"$geo_{name} source=$arg_ip {name};\n" for name in FIELDS)
    values = "|".join(f"$geo_{name}" for name in FIELDS)
    http = f"geoip2 {export} {{\n{variables}}}\n"
    server = (
        f"location = /healthz {{ return 200; }}\nlocation = /geo {{ return 200 '{values}'; }}\n"
    )
    conf = f'load_module "{module}";\n' + application(http, server)
    with Edge(folder, tmp_path / "out.blob", conf) as edge:
        found = {ip: get(edge.address, f"/geo?ip={ip}").body.decode() for ip in ASKED}
    assert {ip: texts(text) for ip, text in found.items()} == {
        ip: expected(tmp_path / "out.blob", ip) for ip in ASKED
    }
    assert len(set(found.values())) > 3


def texts(answer: str) -> tuple[object, ...]:
    """Return what nginx says: a number with five decimals."""
    code, country, latitude = answer.split("|")
    return code, country, float(latitude) if latitude else None


def expected(blob: Path, ip: str) -> tuple[object, ...]:
    """Return what the blob says; the module has an empty text for no data."""
    answer = compiler("lookup", blob, ip, "--format", "object").out.partition("\t")[2]
    members = json.loads(answer) or {}
    code, country, latitude = (members.get(name) for name in FIELDS)
    return code or "", country or "", latitude
