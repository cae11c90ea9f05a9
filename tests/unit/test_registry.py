"""Which format a source has: its content decides, or the caller."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.compiler import SAMPLE
from harness.mmdb import mmdb
from harness.sources import dat, patched, small_dat, u32_be, u32_le
from ipgeo.errors import InputError
from ipgeo.places.location import Source
from ipgeo.sources import registry
from ipgeo.sources.content import read_content
from ipgeo.sources.dat import FORMAT, recognises
from ipgeo.sources.mmdb import metadata
from ipgeo.sources.options import ReadOptions
from ipgeo.sources.registry import FORMATS, read_source

RECORDS = 1028

DAT = {
    "the sample": (SAMPLE.read_bytes(), True),
    "one record": (dat([(0, ("a", "b"))]), True),
    "a damaged hint": (patched(small_dat(), 4, u32_le(9)), True),
    "a damaged last bound": (patched(small_dat(), RECORDS + 16, b"\x7f"), True),
    "cut within the records": (small_dat()[: RECORDS + 10], True),
    "cut within the hints": (small_dat()[: RECORDS - 1], False),
    "half a record": (patched(small_dat(), 0, u32_be(2052 + 4)), False),
    "no record": (patched(small_dat(), 0, u32_be(2052)), False),
    "hints of zeros, and another last bound": (
        patched(patched(small_dat(), 4, bytes(1024)), RECORDS + 16, b"\x7f"),
        False,
    ),
    "hints that descend, and another last bound": (
        patched(patched(small_dat(), 4, u32_le(9)), RECORDS + 16, b"\x7f"),
        False,
    ),
    "hints after the last record, and another last bound": (
        patched(patched(small_dat(), RECORDS - 4, u32_le(3)), RECORDS + 16, b"\x7f"),
        False,
    ),
    "zeros": (bytes(5000), False),
    "nothing": (b"", False),
}


@pytest.mark.parametrize("case", DAT)
def test_a_dat_is_recognised(case: str) -> None:
    data, expected = DAT[case]
    assert recognises(data) is expected


def test_an_mmdb_is_recognised() -> None:
    data = mmdb([(1, 1)])
    assert metadata.recognises(data)
    assert metadata.recognises(data + bytes(1000))
    assert not metadata.recognises(data + bytes(metadata.METADATA_SIZE))
    assert not metadata.recognises(data[:10])


@pytest.mark.parametrize("name", ["GeoLite2-City-Test", "GeoLite2-ASN-Test", "GeoIP2-ISP-Test"])
def test_a_real_mmdb_has_that_format_alone(real_data: Path, name: str) -> None:
    content = read_content(real_data / "mmdb" / f"{name}.mmdb")
    assert [known.name for known in FORMATS if known.recognises(content)] == ["mmdb"]


def test_names_are_distinct() -> None:
    assert len({known.name for known in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("name", ["source.mmdb", "source.csv.gz", "source"])
def test_a_name_does_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(small_dat())
    assert read_source(path).facts["format"] == FORMAT


def test_a_format_that_is_given_decides(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"<html>" + bytes(5000))
    with pytest.raises(InputError, match="an HTML or XML page: not a database"):
        read_source(path)
    with pytest.raises(InputError, match="offset 0: 1013478509 is not 2052"):
        read_source(path, FORMAT)


def test_unknown_content_is_refused_with_the_formats(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(bytes(range(128, 256)) * 10)
    with pytest.raises(InputError) as caught:
        read_source(path)
    names = ", ".join(known.name for known in FORMATS)
    assert f"{path}: damaged, or no format that is read ({names})" in str(caught.value)


def test_the_reader_alone_holds_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that drops its name of the content has the memory back."""
    counts = []

    def read(path: Path | str, data: bytes, options: ReadOptions) -> Source:
        counts.append(sys.getrefcount(data))
        return FORMATS[0].read(path, data, options)

    monkeypatch.setattr(registry, "FORMATS", (replace(FORMATS[0], read=read),))
    read_source(SAMPLE)
    assert counts[0] <= 2  # the reader's name, and the argument of getrefcount


def test_options_reach_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def read(path: Path | str, data: bytes, options: ReadOptions) -> Source:
        given.append(options)
        return FORMATS[0].read(path, data, ReadOptions())

    monkeypatch.setattr(registry, "FORMATS", (replace(FORMATS[0], read=read),))
    options = ReadOptions(languages=("en",), keep=("asn",))
    read_source(SAMPLE, options=options)
    read_source(SAMPLE, FORMATS[0].name)
    assert given == [options, ReadOptions()]
