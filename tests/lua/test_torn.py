"""Loads back to back in one nginx worker against lookups in another: no answer may be torn."""

import random
import shutil
from array import array
from pathlib import Path

import pytest

from harness import ROOT, wait
from harness.edge import Edge, application
from ipgeo.blob.body import Body, whole_answers
from ipgeo.blob.shape import Column, ColumnKind, Piece, Shape, Table
from ipgeo.blob.writer import write_blob
from ipgeo.places.answers import Answer
from ipgeo.ranges.columns import Runs4, Runs6

LOOKUPS = 10_000_000

HTTP = """
    lua_shared_dict ipgeo_blob_2 {{ settings.IPGEO_DICT_SIZE }};
    lua_shared_dict torn 64k;
    init_by_lua_block {
        require("ipgeo").setup{ blob = "{{ settings.IPGEO_BLOB }}" }
    }
    init_worker_by_lua_file PROGRAM;
"""
SERVER = """
        location / { return 200 "alive"; }
"""


def _runs4(chance: random.Random, count: int, rows: int) -> Runs4:
    starts = array("I", sorted({0, *(chance.getrandbits(32) for _ in range(count))}))
    return Runs4(starts, array("I", (chance.randrange(rows) for _ in starts)))


def _runs6(chance: random.Random, count: int, rows: int) -> Runs6:
    """Return runs of which most begin with 20 to 27, as the addresses that torn.lua looks up."""
    starts = sorted({0, *(0x20 + chance.randrange(8) << 120 | chance.getrandbits(120)
                          for _ in range(count))})  # fmt: skip
    highs = array("Q", (start >> 64 for start in starts))
    lows = array("Q", (start % (1 << 64) for start in starts))
    return Runs6(highs, lows, array("I", (chance.randrange(rows) for _ in starts)))


def _whole(tag: str, rows: int) -> Body:
    return whole_answers(
        [
            Answer(f'["{tag * 20}{n}"]'.encode(), f'"country":"{tag * 20}{n}"}}'.encode())
            for n in range(rows)
        ],
        ["country"],
    )


def _in_parts(tag: str, rows: int) -> Body:
    """Return answers of texts and numbers, no two of which are in blobs with different tags."""
    ends = [b'["', b'"]', b'"country":"', b'","latitude":', b',"isp":"', b'"}']
    places = [f"{tag * 20}{n}".encode() for n in range(rows // 3)]
    isps = [f"{tag * 7}{n}".encode() for n in range(ord(tag))]
    columns = [
        Column(ColumnKind.NUMBER, 0, 4, ord(tag) % 10),
        Column(ColumnKind.ENTRY, 4, 4, len(places)),
        Column(ColumnKind.ENTRY, 8, 1, len(isps)),
    ]
    forms = [
        [(0, 0), (1, 0), (0, 1)],
        [(0, 2), (1, 0), (0, 3), (2, 0), (0, 4), (1, 1), (0, 5)],
    ]
    shape = Shape(
        rows=rows,
        row_size=9 + ord(tag) % 3,
        columns=columns,
        tables=[Table(1, len(ends)), Table(2, len(ends) + len(places))],
        forms=[[Piece(*piece) for piece in form] for form in forms],
    )
    cells = [
        array("i", (ord(tag) + 256 * n for n in range(rows))),
        array("I", (n % len(places) for n in range(rows))),
        array("B", (n % len(isps) for n in range(rows))),
    ]
    return Body(shape, cells, ends + places + isps, ["country", "latitude", "isp"])


BODIES = {"whole": _whole, "parts": _in_parts}


def _blob(kind: str, tag: str, runs: int) -> bytes:
    """Return a blob of random runs; every answer carries the tag, so no two blobs share one."""
    chance, rows = random.Random(tag), runs // 10
    v4, v6 = _runs4(chance, runs, rows), _runs6(chance, runs // 2, rows)
    return write_blob(v4, BODIES[kind](tag, rows), {}, v6)


def _run(folder: Path, kind: str, program: str, workers: int) -> list[str]:
    """Run a program of tests/lua in the workers of an nginx; return the lines of its result."""
    data = folder / "torn"
    data.mkdir()
    data.chmod(0o777)  # the loading worker renames in it, and is not root
    for name, runs in (("a", 200_000), ("b", 120_000), ("c", 160_000)):
        (data / f"{name}.blob").write_bytes(_blob(kind, name, runs))
    (data / "torn.lookups").write_text(str(LOOKUPS))
    shutil.copy(data / "a.blob", data / "served.blob")
    shutil.copy(data / "b.blob", data / "next.blob")
    shutil.copy(data / "c.blob", data / "last.blob")
    # Read by the workers, which may not be able to read the checkout.
    copy = str(shutil.copy(ROOT / "tests" / "lua" / program, folder))
    settings = {"IPGEO_DICT_SIZE": "40m", "IPGEO_WORKERS": workers}
    conf = application(HTTP.replace("PROGRAM", copy), SERVER)
    with Edge(folder, data / "served.blob", conf=conf, **settings):
        result = data / "torn.result"
        wait.until(result.exists, "the lookups are done", seconds=1200)
    return result.read_text().splitlines()


@pytest.mark.parametrize("kind", BODIES)
def test_no_answer_is_torn(folder: Path, kind: str) -> None:
    (line,) = _run(folder, kind, "torn.lua", workers=2)
    done, wrong, generations = map(int, line.split())
    assert done >= LOOKUPS
    assert wrong == 0
    assert generations > 50


@pytest.mark.parametrize("kind", BODIES)
def test_an_answer_that_is_torn_is_copied_again(folder: Path, kind: str) -> None:
    answer, right, first, *others = _run(folder, kind, "tear.lua", workers=1)
    assert first != right, "it is torn"
    assert others == [right]
    assert answer == right
