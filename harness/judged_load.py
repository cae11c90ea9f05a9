"""Load in which the soak's client judges every answer against a source."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import measurements
from harness.client import get
from harness.soak.expected import ExpectedBlob, ExpectedFromSource
from harness.soak.load import Load
from harness.soak.tally import Tally
from harness.soak.timeline import Timeline
from harness.sources import END, dat, write_codes

NODE_FAILS = (
    r"connect\(\) failed .* while connecting to upstream",
    r"upstream timed out",
    r"upstream prematurely closed connection",
    r"recv\(\) failed .* while reading response header from upstream",
)
"""nginx's log lines about a node that does not answer."""

NO_NODE_LEFT = r"no live upstreams while connecting to upstream"
"""What it logs when all nodes are out."""

_CONNECTIONS = 8
_MAX_BATCH = 200
_NAMES = (("中国", "黑龙江", "鹤岗"), ("日本", "东京", ""), ("中国", "北京", ""))


def differing(folder: Path, name: str, runs: int, *, seed: int = 1) -> ExpectedFromSource:
    """Write a source, NAME.dat, in which all runs have different answers; return these.

    ``name`` is in each of its answers; a few names have codes.
    """
    chance = random.Random(f"{seed} {name}")
    starts = sorted({0, *(chance.randrange(1, END) for _ in range(runs - 1))})
    contents = [
        (start, (*_NAMES[n % len(_NAMES)], f"{name}-{n}", "")) for n, start in enumerate(starts)
    ]
    source = folder / f"{name}.dat"
    source.write_bytes(dat(contents))
    return ExpectedFromSource(name, source, write_codes(folder))


@dataclass
class RunningLoad:
    """A running load, and its counts at the end."""

    address: tuple[str, int]
    timeline: Timeline
    tally: Tally = field(default_factory=Tally)

    def run_for(self, seconds: float) -> None:
        """Let it run; new connections are answered, too."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert get(self.address, "/api/ip_query?ip=8.8.8.8").status == 200


@contextmanager
def under_load(
    address: tuple[str, int], all_expected: Sequence[ExpectedBlob], case: str
) -> Iterator[RunningLoad]:
    """Keep a server busy that serves the first of ``all_expected``; keep what ``case`` measures."""
    running = RunningLoad(address, Timeline(first=0))
    load = Load(address, all_expected, running.timeline, connections=_CONNECTIONS, batch=_MAX_BATCH)
    with load:
        yield running
        running.tally = load.finish()
    measurements.add_load(case, running.tally)
    assert running.tally.answers > 0


def assert_faultless(tally: Tally) -> None:
    """Every request got its answer, and every answer was right."""
    assert not tally.faults, tally.examples
