"""The .dat reader: every edition, and every way in which a file can be broken."""

import random
from pathlib import Path

import pytest

from harness.sources import dat, edition, patched, small_dat, u32_be, u32_le
from ipgeo.compiling.compile import compile_blob
from ipgeo.errors import InputError
from ipgeo.places.code_files import read_codes
from ipgeo.places.codes import Codes
from ipgeo.sources.dat import EDITIONS, FORMAT
from ipgeo.sources.registry import read_source

RECORDS = 1028
TEXT = RECORDS + 3 * 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "source.dat"


@pytest.mark.parametrize("count", EDITIONS)
def test_every_edition_is_read(path: Path, count: int) -> None:
    path.write_bytes(small_dat(count))
    source = read_source(path)
    location = source.locations[0]
    assert source.facts["fields"] == count
    assert list(source.v4.starts) == [0, 0x01020304, 0xFF000000]
    assert list(source.v4.ids) == [0, 1, 0]
    names = (location.country, location.province, location.city)
    all_names = (*names, location.organization, location.isp)
    assert all_names[:count] == edition(count)[:5]
    assert source.extra == EDITIONS[count][5:]
    assert location.extra == tuple(edition(count)[5:])


def test_bytes_after_the_text_are_tolerated(path: Path) -> None:
    path.write_bytes(small_dat() + bytes(range(20)))
    assert len(read_source(path).v4) == 3


def test_an_empty_field_is_kept_empty(path: Path) -> None:
    path.write_bytes(dat([(0, ("中国", "", "", ""))]))
    assert read_source(path).locations[0].province == ""


BROKEN = {
    "nothing": (b"", "0 bytes"),
    "only a head": (small_dat()[:1000], "1000 bytes"),
    "index length not of whole records": (patched(small_dat(), 0, u32_be(2057)), "offset 0"),
    "no record": (patched(small_dat(), 0, u32_be(2052)), "offset 0"),
    "index after the end": (patched(small_dat(), 0, u32_be(2052 + 8 * 999)), "offset 0"),
    "hint": (patched(small_dat(), 4 + 4 * 7, u32_le(2)), "offset 32: the hint of 7.0.0.0"),
    "bounds do not ascend": (
        patched(small_dat(), RECORDS + 8, u32_be(0x01020303)),
        f"offset {RECORDS + 8} (record 1)",
    ),
    "last bound": (patched(small_dat(), RECORDS + 16, u32_be(0xFFFFFFFE)), "255.255.255.254"),
    "empty content": (patched(small_dat(), RECORDS + 7, b"\0"), f"offset {RECORDS} (record 0)"),
    "content after the end": (
        patched(small_dat(), RECORDS + 8 + 4, b"\xff\xff\xff\xff"),
        f"offset {RECORDS + 8} (record 1)",
    ),
    "invalid UTF-8": (patched(small_dat(), TEXT + 2, b"\xff"), "not UTF-8"),
    "NUL": (patched(small_dat(), TEXT + 2, b"\0"), "NUL"),
    "six fields": (dat([(0, tuple("abcdef"))]), "6 fields; the known editions have"),
    "mixed field counts": (dat([(0, tuple("ab")), (9, tuple("abc"))]), "(record 1): 3 fields"),
    "latitude": (dat([(0, (*"abcde", "x1.2", "3", "", ""))]), "latitude 'x1.2'"),
    "longitude": (dat([(0, (*"abcde", "1", "nan", "", ""))]), "longitude 'nan'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_its_position(path: Path, name: str) -> None:
    data, expected = BROKEN[name]
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_source(path, FORMAT)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def _mutants(data: bytes, count: int, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    mutants = []
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 4))):
            # Half of them where the file has its structure, half anywhere.
            end = chance.choice((TEXT, len(data)))
            mutant[chance.randrange(end)] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            del mutant[chance.randrange(len(mutant)) :]
        mutants.append(bytes(mutant))
    return mutants


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 9])
def test_a_mutant_is_refused_or_compiled_and_proven(path: Path, count: int) -> None:
    compiled = 0
    for mutant in _mutants(small_dat(count), 600, seed=count):
        path.write_bytes(mutant)
        try:
            source = read_source(path, FORMAT)
        except InputError:
            continue
        compile_blob(source, Codes())  # raises ProofError unless it equals the source
        compiled += 1
    assert 0 < compiled < 600


@pytest.mark.slow
def test_the_real_file(real_data: Path) -> None:
    source = read_source(real_data / "17monipdb.dat")
    compiled = compile_blob(source, read_codes(real_data))
    assert source.facts["records"] == 466088
    assert compiled.blob.runs == 243816
    assert compiled.blob.rows == 1120
    assert compiled.blob.size <= 1_500_000
    assert not source.sample
    assert compile_blob(source, read_codes(real_data)).data == compiled.data
