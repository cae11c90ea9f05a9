"""What is read of a source's file: its content, however it is packed, within a limit."""

import gzip
import lzma
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.compiler import SAMPLE
from harness.packed import PACKED, zipped
from harness.sources import patched
from ipgeo.errors import InputError
from ipgeo.files.reading import TooLargeError
from ipgeo.sources.content import read_content
from ipgeo.sources.packed import CHUNK
from ipgeo.sources.registry import read_source

CONTENT = SAMPLE.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "source"


def refusal(path: Path, data: bytes, limit: int = 1 << 20) -> str:
    """Write a file that is refused; return the message without the file's name."""
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_content(path, limit)
    name, _, problem = str(caught.value).partition(": ")
    assert name == str(path)
    return problem


@pytest.mark.parametrize("form", PACKED)
def test_packed_content_is_unpacked(path: Path, form: str) -> None:
    path.write_bytes(PACKED[form](CONTENT))
    assert read_content(path) == CONTENT


@pytest.mark.parametrize("data", [b"", b"a", b"\x1f", b"PK", CONTENT], ids=len)
def test_other_content_stays_as_it_is(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert read_content(path) == data


@pytest.mark.parametrize("form", ["gzip", "xz", "zip"])
def test_more_than_a_chunk_is_unpacked(path: Path, form: str) -> None:
    content = random.Random(1).randbytes(3 * CHUNK // 2) + bytes(2 * CHUNK)
    path.write_bytes(PACKED[form](content))
    assert read_content(path) == content


def test_padding_may_be_longer_than_a_chunk(path: Path) -> None:
    path.write_bytes(lzma.compress(b"a") + bytes(2 * CHUNK) + lzma.compress(b"b"))
    assert read_content(path) == b"ab"


def encrypted() -> bytes:
    """Return a zip whose only member is marked as encrypted, in both of its heads."""
    data = zipped({"source.dat": CONTENT})
    flagged = patched(data, 6, b"\1")
    return patched(flagged, data.index(b"PK\1\2") + 8, b"\1")


WHOLE = {"gzip": gzip.compress(CONTENT), "xz": lzma.compress(CONTENT), "zip": zipped({"a": b"a"})}
MANY = {f"{number}.csv": b"" for number in range(7)}

REFUSED = {
    "two files": (zipped({"a.csv": b"", "b.csv": b""}), "zip: 2 files inside: a.csv, b.csv; "),
    "many files": (zipped(MANY), "zip: 7 files inside: 0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 2 mo"),
    "no file": (zipped({}), "zip: 0 files inside"),
    "only a folder": (zipped({"folder/": b""}), "zip: 0 files inside"),
    "encrypted": (encrypted(), "zip: source.dat is encrypted"),
    "packed three times": (gzip.compress(PACKED["xz in gzip"](CONTENT)), "packed more than 2 "),
    "a bomb in a bomb": (
        gzip.compress(gzip.compress(bytes(2 << 20))),
        "unpacked from gzip: more than 1048576 bytes, the limit",
    ),
    "bytes after gzip": (WHOLE["gzip"] + b"more", "damaged or truncated gzip: "),
    "bytes after xz": (WHOLE["xz"] + b"more", "damaged or truncated xz: "),
    **{f"a cut {form}": (WHOLE[form][:-3], f"damaged or truncated {form}: ") for form in WHOLE},
    **{f"a head of {form}": (WHOLE[form][:6], f"damaged or truncated {form}: ") for form in WHOLE},
    "a wrong checksum of gzip": (
        patched(WHOLE["gzip"], len(WHOLE["gzip"]) - 8, b"\0\0\0\0"),
        "damaged or truncated gzip: CRC check failed",
    ),
    "a wrong checksum of zip": (
        zipped({"a": b"abc"}, zipfile.ZIP_STORED).replace(b"abc", b"abd"),
        "damaged or truncated zip: Bad CRC-32",
    ),
    "a damaged second stream of xz": (
        WHOLE["xz"] + patched(WHOLE["xz"], 2, b"X"),
        "damaged or truncated xz: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_unpacked_is_refused(path: Path, case: str) -> None:
    data, problem = REFUSED[case]
    assert refusal(path, data).startswith(problem)


@pytest.mark.parametrize("form", ["gzip", "xz", "zip"])
def test_a_bomb_is_refused_at_the_limit(path: Path, form: str) -> None:
    limit = CHUNK + 1
    bomb = PACKED[form](bytes(limit + 1))
    assert refusal(path, bomb, limit) == f"unpacked from {form}: more than {limit} bytes, the limit"
    path.write_bytes(PACKED[form](bytes(limit)))
    assert len(read_content(path, limit)) == limit


def test_a_file_larger_than_the_limit_is_refused(path: Path) -> None:
    path.write_bytes(bytes(101))
    assert len(read_content(path, 101)) == 101
    with pytest.raises(TooLargeError, match=r"101 bytes \(limit 100\)"):
        read_content(path, 100)


def mutants(data: bytes, count: int) -> Iterator[bytes]:
    """Yield ``data`` with some bytes changed, half of them near its ends, or cut."""
    chance = random.Random(count)
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(chance.choice((1, 1, 4, 16))):
            near = chance.randrange(min(100, len(data)))
            at = chance.choice((near, len(data) - 1 - near, chance.randrange(len(data))))
            mutant[at] = chance.randrange(256)
        if chance.random() < 0.2:
            del mutant[chance.randrange(len(mutant)) :]
        yield bytes(mutant)


def read_or_refused(path: Path) -> tuple[dict[str, str | int] | None, str]:
    """Return the facts of a source, or why it is refused."""
    try:
        return read_source(path).facts, ""
    except InputError as error:
        return None, str(error)


@pytest.mark.slow
@pytest.mark.parametrize("form", PACKED)
def test_a_mutant_is_refused_or_gives_the_same_content(path: Path, form: str) -> None:
    """The same content gives the same blob: tests/ops/test_sources.py builds it."""
    expected = read_source(SAMPLE).facts
    refused = 0
    for mutant in mutants(PACKED[form](CONTENT), 300):
        path.write_bytes(mutant)
        facts, problem = read_or_refused(path)
        assert facts == expected or problem.startswith(f"{path}: ")
        refused += facts is None
    assert 150 < refused <= 300
