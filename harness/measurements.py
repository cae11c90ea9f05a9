"""What tests measure, for the end of pytest's output."""

import math
from itertools import chain

from harness.soak.tally import FAILED, Tally

_HEAD = ("case", "answers", "failed", "retried", "slowest one", "slowest batch")

_loads: list[tuple[str, ...]] = []
_others: list[str] = []


def add_load(case: str, tally: Tally) -> None:
    """Keep what a load has counted."""
    slowest = (_slowest(tally, single=True), _slowest(tally, single=False))
    counts = (tally.answers, tally.faults[FAILED], tally.retried)
    row = (*(f"{count:,}" for count in counts), *(f"{ms:,.0f} ms" for ms in slowest))
    _loads.append((case, *row))


def add_line(line: str) -> None:
    """Keep a line."""
    _others.append(line)


def lines() -> list[str]:
    """Return all that was kept: the table of the loads, then the lines."""
    rows = [_HEAD, *_loads] if _loads else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(_padded, row, widths)) for row in rows]
    return table + _others


def _padded(text: str, width: int) -> str:
    return text.rjust(width) if text[0].isdigit() else text.ljust(width)


def _slowest(tally: Tally, *, single: bool) -> float:
    seconds = chain(tally.latencies[False, single], tally.latencies[True, single])
    return max(seconds, default=math.nan) * 1000
