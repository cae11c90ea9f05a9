"""Loads back to back in one nginx worker against lookups in another: no answer may be torn."""

import random
import shutil
from array import array
from pathlib import Path

from harness import ROOT, blobs, wait
from harness.edge import Edge, application
from ipgeo.places.answers import Answer

LOOKUPS = 20_000_000

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


def _blob(tag: str, runs: int, seed: int) -> bytes:
    """Return a blob of random runs; every answer carries the tag, so no two blobs share one."""
    chance = random.Random(seed)
    first = array("I", sorted({0, *(chance.getrandbits(32) for _ in range(runs))}))
    padding = tag * 20
    answers = [
        Answer(f'["{padding}{n}"]'.encode(), f'"country":"{padding}{n}"}}'.encode())
        for n in range(runs // 10)
    ]
    number = array("I", (chance.randrange(len(answers)) for _ in first))
    return blobs.of_answers(first, number, answers, {})


def _run(folder: Path, program: str, workers: int) -> list[str]:
    """Run a program of tests/lua in the workers of an nginx; return the lines of its result."""
    data = folder / "torn"
    data.mkdir()
    data.chmod(0o777)  # the loading worker renames in it, and is not root
    for seed, (name, runs) in enumerate((("a", 200_000), ("b", 120_000), ("c", 160_000))):
        (data / f"{name}.blob").write_bytes(_blob(name, runs, seed))
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


def test_no_answer_is_torn(folder: Path) -> None:
    (line,) = _run(folder, "torn.lua", workers=2)
    done, wrong, generations = map(int, line.split())
    assert done >= LOOKUPS
    assert wrong == 0
    assert generations > 50


def test_an_answer_that_is_torn_is_copied_again(folder: Path) -> None:
    answer, right, first, *others = _run(folder, "tear.lua", workers=1)
    assert first != right, "it is torn"
    assert others == [right]
    assert answer == right
