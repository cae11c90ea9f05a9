"""Loads back to back in one nginx worker against lookups in another: no answer may be torn."""

import random
import shutil
from array import array
from pathlib import Path

from ipgeo.blob.reader import write_blob
from ipgeo.places.answers import Answer
from support import ROOT, wait
from support.edge import Edge

LOOKUPS = 60_000_000
# How many torn answers there are without the second look depends on when the kernel interrupts the
# reader: some hundreds in 60 million lookups, now and then none.
PATIENCE = 20

CONF = """
include gen-modules.conf;
include gen-main.conf;
error_log log/error.log warn;
pid nginx.pid;
http {{
    include gen-http.conf;
    lua_shared_dict torn 64k;
    init_worker_by_lua_file {program};
    server {{
        include gen-listen.conf;
        location / {{ return 200 "alive"; }}
    }}
}}
"""

RECHECK = "if is_intact(now) then"


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
    return write_blob(first, number, answers, {})


def _torn(folder: Path, lua: Path, lookups: int, most_wrong: int) -> tuple[int, int, int]:
    """Return how many lookups there were, how many were wrong, and how many generations.

    It ends early after more than ``most_wrong`` wrong ones.
    """
    data = folder / "torn"
    data.mkdir()
    data.chmod(0o777)  # the loading worker renames in it, and is not root
    for seed, (name, runs) in enumerate((("a", 200_000), ("b", 120_000), ("c", 160_000))):
        (data / f"{name}.blob").write_bytes(_blob(name, runs, seed))
    (data / "torn.lookups").write_text(str(lookups))
    (data / "torn.most_wrong").write_text(str(most_wrong))
    shutil.copy(data / "a.blob", data / "served.blob")
    shutil.copy(data / "b.blob", data / "next.blob")
    shutil.copy(data / "c.blob", data / "last.blob")
    # Read by the workers, which may not be able to read the checkout.
    program = shutil.copy(ROOT / "tests" / "lua" / "torn.lua", folder)
    conf = CONF.format(program=program)
    settings = {"IPGEO_LUA": lua, "IPGEO_DICT_SIZE": "40m", "IPGEO_WORKERS": 3}
    edge = Edge(folder, data / "served.blob", conf=conf, **settings)
    with edge:
        result = data / "torn.result"
        wait.until(result.exists, "the lookups are done", seconds=1200)
    done, wrong, generations = map(int, result.read_text().split())
    return done, wrong, generations


def test_no_answer_is_torn(folder: Path) -> None:
    done, wrong, generations = _torn(folder, ROOT / "lua", LOOKUPS, most_wrong=LOOKUPS)
    assert done >= LOOKUPS
    assert wrong == 0
    assert generations > 50


def test_without_the_second_look_at_seq_answers_are_torn(folder: Path, tmp_path: Path) -> None:
    lua = tmp_path / "lua"
    shutil.copytree(ROOT / "lua", lua)
    store = lua / "ipgeo" / "store.lua"
    code = store.read_text()
    assert RECHECK in code
    store.write_text(code.replace(RECHECK, "if true then"))
    tmp_path.chmod(0o755)
    _, wrong, _ = _torn(folder, lua, PATIENCE * LOOKUPS, most_wrong=0)
    assert wrong > 0
