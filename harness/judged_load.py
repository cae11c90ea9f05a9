"""Load of which every answer is judged against what a source owes, by the client of the soak."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import figures
from harness.client import get
from harness.soak.board import Board
from harness.soak.load import Load
from harness.soak.tally import Tally
from harness.soak.truth import SourceTruth, Truth
from harness.sources import END, dat, write_codes

NODE_FAILS = (
    r"connect\(\) failed .* while connecting to upstream",
    r"upstream timed out",
    r"upstream prematurely closed connection",
    r"recv\(\) failed .* while reading response header from upstream",
)
"""What nginx says of a node that does not answer."""

NOBODY_LEFT = r"no live upstreams while connecting to upstream"
"""What it says when all nodes are out."""

_CONNECTIONS = 8
_LONGEST_BATCH = 200
_PLACES = (("中国", "黑龙江", "鹤岗"), ("日本", "东京", ""), ("中国", "北京", ""))


def differing(folder: Path, name: str, runs: int, *, seed: int = 1) -> SourceTruth:
    """Write a source, NAME.dat, of which no two runs answer alike; return what it owes.

    ``name`` is in each of its answers; a few names have codes.
    """
    chance = random.Random(f"{seed} {name}")
    starts = sorted({0, *(chance.randrange(1, END) for _ in range(runs - 1))})
    contents = [
        (start, (*_PLACES[n % len(_PLACES)], f"{name}-{n}", "")) for n, start in enumerate(starts)
    ]
    source = folder / f"{name}.dat"
    source.write_bytes(dat(contents))
    return SourceTruth(name, source, write_codes(folder))


@dataclass
class Pressure:
    """A load at work; in the end, what it has counted."""

    address: tuple[str, int]
    board: Board
    tally: Tally = field(default_factory=Tally)

    def go_on(self, seconds: float) -> None:
        """Let it go on; new connections are answered meanwhile too."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert get(self.address, "/api/ip_query?ip=8.8.8.8").status == 200


@contextmanager
def under_load(address: tuple[str, int], truths: Sequence[Truth], case: str) -> Iterator[Pressure]:
    """Keep a server busy that serves the first of the ``truths``; note the figures of ``case``."""
    pressure = Pressure(address, Board(first=0))
    load = Load(address, truths, pressure.board, connections=_CONNECTIONS, batch=_LONGEST_BATCH)
    with load:
        yield pressure
        pressure.tally = load.finish()
    figures.of_load(case, pressure.tally)
    assert pressure.tally.answers > 0


def assert_faultless(tally: Tally) -> None:
    """Every request got its answer, and every answer was right."""
    assert not tally.faults, tally.examples
