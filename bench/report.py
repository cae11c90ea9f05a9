"""Figures out of samples: medians, quartiles, ratios; as Markdown and as JSON."""

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import Sample
from peers import NGINX
from targets import TARGETS

from ipgeo.blob.reader import Blob

Samples = Mapping[str, Sequence[Sample]]
"""By target; the samples at one place belong to one round."""


INTRODUCTION = """\
Made by `script/bench`; the single rounds are in the JSON file beside this one. Each server has one
worker, pinned to a core; wrk has another core. All are asked for the same random routable
addresses. Median (quartiles) over the rounds. A batch counts as its lookups. CPU time is what the
serving process used, user and system, for one of them; "busy" is a share of a core. Where neither
the server nor wrk is busy, other processes had the cores: the ratios of CPU time stay valid, the
requests a second do not."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A comparison that the project has set itself: how much faster ``fast`` is than ``slow``.

    The ratio is CPU time of ``slow`` by CPU time of ``fast``.
    """

    fast: str
    slow: str
    least: float
    aim: float


BARS = (
    Bar("get", "limit", 0.80, 0.90),
    Bar("object", "limit", 0.75, 0.75),
    Bar("post", "get", 0.75, 0.75),
    Bar("post", "limit_post", 0.0, 0.0),
    Bar("get", "geoip2", 1.0, 1.15),
    Bar("object", "geoip2", 1.0, 1.15),
    Bar("get", "geo", 0.0, 0.0),
    Bar("get", "flask", 15.0, 20.0),
)
BATCH_LOOKUPS = 2_000_000
"""Lookups a second that a batch is to reach."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and its quartiles."""

    median: float
    lower: float
    upper: float

    def text(self, digits: int) -> str:
        """Return it for a cell of the table."""
        middle, lower, upper = (
            f"{value:,.{digits}f}" for value in (self.median, self.lower, self.upper)
        )
        return f"{middle} ({lower}–{upper})"


def spread(values: Iterable[float]) -> Spread:
    """Return median and quartiles of at least one value."""
    ordered = list(values)
    if len(ordered) == 1:
        return Spread(ordered[0], ordered[0], ordered[0])
    lower, median, upper = statistics.quantiles(ordered, n=4, method="inclusive")
    return Spread(median, lower, upper)


def ratio(samples: Samples, fast: str, slow: str) -> Spread:
    """Return how often the CPU time of ``fast`` goes into that of ``slow``, round by round."""
    return spread(s.cpu_us / f.cpu_us for f, s in zip(samples[fast], samples[slow], strict=True))


def as_json(samples: Samples, facts: Mapping[str, Any]) -> str:
    """Return everything, including each single sample."""
    bars = {f"{bar.fast}/{bar.slow}": _spread_json(samples, bar) for bar in _bars(samples)}
    targets = {name: [sample.as_dict() for sample in taken] for name, taken in samples.items()}
    whole = {"facts": facts, "ratios": bars, "targets": targets}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def as_markdown(samples: Samples, facts: Mapping[str, Any]) -> str:
    """Return the tables, with the facts needed to read them."""
    lines = [
        "# Side by side",
        "",
        INTRODUCTION,
        "",
        *(f"- {name}: {value}" for name, value in facts.items() if name != "notes"),
        *(f"- **{note}**" for note in facts["notes"]),
        "",
        *_table(samples),
        "",
        "How many times as fast as the other one, by CPU time, paired within each round:",
        "",
        *_ratios(samples),
    ]
    return "\n".join(lines) + "\n"


def _table(samples: Samples) -> list[str]:
    rows = [
        "| target | | per second | CPU µs | server busy | wrk busy |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name, taken in samples.items():
        cells = [
            f"`{name}`",
            TARGETS[name].about,
            spread(s.per_second for s in taken).text(0),
            spread(s.cpu_us for s in taken).text(2 if TARGETS[name].load.lookups == 1 else 3),
            f"{statistics.median(s.server_busy for s in taken):.0%}",
            f"{statistics.median(s.wrk_busy for s in taken):.0%}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _ratios(samples: Samples) -> list[str]:
    rows = ["| | ratio | at least | aim | |", "|---|--:|--:|--:|---|"]
    for bar in _bars(samples):
        found = ratio(samples, bar.fast, bar.slow)
        least, aim = (f"{value:.2f}" if value else "" for value in (bar.least, bar.aim))
        verdict = _verdict(found.median, bar.least, bar.aim)
        rows.append(
            f"| `{bar.fast}` : `{bar.slow}` | {found.text(2)} | {least} | {aim} | {verdict} |"
        )
    for name in ("batch", "batch_text"):
        if name in samples:
            median = statistics.median(s.per_second for s in samples[name])
            verdict = _verdict(median, BATCH_LOOKUPS, BATCH_LOOKUPS)
            wanted = f"{BATCH_LOOKUPS:,}"
            rows.append(
                f"| `{name}`, lookups/s | {median:,.0f} | {wanted} | {wanted} | {verdict} |"
            )
    return rows


def _verdict(found: float, least: float, aim: float) -> str:
    if not least:
        return ""
    if found >= aim:
        return "reached"
    return "above the least" if found >= least else "**missed**"


def _bars(samples: Samples) -> list[Bar]:
    return [bar for bar in BARS if bar.fast in samples and bar.slow in samples]


def _spread_json(samples: Samples, bar: Bar) -> dict[str, float]:
    found = ratio(samples, bar.fast, bar.slow)
    values = {"median": found.median, "lower": found.lower, "upper": found.upper}
    return {name: round(value, 4) for name, value in values.items()}


def machine() -> dict[str, str]:
    """Return the facts that the figures depend on."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "machine": f"{os.cpu_count()} x {model[1] if model else platform.machine()}",
        "kernel": platform.release(),
        "nginx": _version([NGINX, "-v"], r"nginx/(\S+)"),
        "wrk": _version(["wrk", "-v"], r"^wrk\s+(\S+)"),
        "Python": platform.python_version(),
    }


def data(blob: Blob) -> str:
    """Return which data were served."""
    kind = "generated" if blob.meta.get("sample") else "real"
    return (
        f"{kind}, {blob.size:,} bytes, {blob.runs:,} runs, {blob.rows:,} locations,"
        f" build id {blob.build_id}"
    )


def _version(command: Sequence[str], pattern: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr, re.MULTILINE)
    return found[1] if found else "unknown"
