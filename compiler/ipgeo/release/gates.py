"""The gates that a new blob passes before it is published.

Each gate gives a verdict with its figures. ``max-change``, ``coverage`` and ``country-code``
compare with the blob that is served; ``expect`` and ``rolled-back`` need none.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import IPV4, IPV6, Family
from ipgeo.release.diff import Diff, total_units
from ipgeo.release.diff_report import show_percent
from ipgeo.release.expected import Expected
from ipgeo.text import printable

EXPECT, MAX_CHANGE, COVERAGE = "expect", "max-change", "coverage"
COUNTRY_CODE, ROLLED_BACK = "country-code", "rolled-back"

COMPARED = (MAX_CHANGE, COVERAGE, COUNTRY_CODE)
"""The gates that compare with the blob that is served, in the order of `compare`."""

_WIDTH = max(map(len, (EXPECT, ROLLED_BACK, *COMPARED)))

MAX_CHANGE_PERCENT = 20.0
MAX_UNCODED_RISE = 1.0
_MAX_SHOWN = 10


class State(StrEnum):
    """The outcome of a gate."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's state, the reason as text, and its figures."""

    gate: str
    state: State
    message: str
    figures: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is printed with ``--json`` and kept in the manifest."""
        return {"gate": self.gate, "state": self.state, "detail": self.message, **self.figures}

    def line(self) -> str:
        """Return it as text."""
        return f"gate {self.gate:<{_WIDTH}} {self.state}: {self.message}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gates allow; ``max_change`` in percent, ``max_uncoded_rise`` in percentage points.

    ``expected`` is None where no golden addresses are given.
    """

    expected: Sequence[Expected] | None = None
    max_change: float = MAX_CHANGE_PERCENT
    less_coverage: bool = False
    max_uncoded_rise: float = MAX_UNCODED_RISE


def judge_expected(blob: Blob, limits: Limits) -> Verdict:
    """Golden addresses must have their expected answers."""
    if limits.expected is None:
        return Verdict(EXPECT, State.SKIPPED, "no --expect", {})
    wrong = [
        {"ip": str(row.address), "expected": row.answer, "found": found}
        for row in limits.expected
        if (found := _answer(blob, row)) != row.answer
    ]
    count = len(limits.expected)
    figures = {"addresses": count, "wrong": len(wrong), "first_wrong": wrong[:_MAX_SHOWN]}
    if not wrong:
        return Verdict(EXPECT, State.PASSED, f"{count} addresses answer as expected", figures)
    lines = [f"{len(wrong)} of {count} addresses do not answer as expected"]
    lines += [
        f"  {row['ip']}: expected {_json(row['expected'])}, found {_json(row['found'])}"
        for row in wrong[:_MAX_SHOWN]
    ]
    return Verdict(EXPECT, State.FAILED, "\n".join(lines), figures)


def _answer(blob: Blob, row: Expected) -> object:
    """Return the blob's answer in the form in which ``row`` expects one."""
    answer = blob.answer_to(row.address)
    if answer is None:
        return None
    if isinstance(row.answer, dict):
        return json.loads(answer.object_form(str(row.address)))
    return json.loads(answer.array)


def _json(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def judge_rolled_back(build_id: str, since: str | None) -> Verdict:
    """Refuse a build that was rolled back; ``since`` is when that was, None for never."""
    if since is None:
        return Verdict(ROLLED_BACK, State.PASSED, "this build was never rolled back", {})
    message = f"build id {build_id} was rolled back at {since}"
    return Verdict(ROLLED_BACK, State.FAILED, message, {"rolled_back": since})


def skip_comparison(why: str) -> list[Verdict]:
    """Return the verdicts of the gates that compare, where there is nothing to compare with."""
    return [Verdict(gate, State.SKIPPED, why, {}) for gate in COMPARED]


def compare(old: Blob, new: Blob, found: Diff, limits: Limits) -> list[Verdict]:
    """Return the verdicts of the gates that compare with the blob that is served.

    IPv6 is compared where the served blob has it.
    """
    families = (IPV4, IPV6) if old.v6 else (IPV4,)
    weights = [(_weigh(old, family), _weigh(new, family)) for family in families]
    return [
        _judge_change(found, limits.max_change, with_v6=old.v6 is not None),
        _judge_coverage(weights, allowed=limits.less_coverage),
        _judge_uncoded(weights, limits.max_uncoded_rise),
    ]


@dataclass(frozen=True, slots=True)
class _Weight:
    """Units of a family in a blob: those that have data, and those of them without a country code.

    ``total`` units are all there are in IPv4, those with data in IPv6.
    """

    family: Family
    data: int
    uncoded: int
    total: int

    @property
    def percent(self) -> float:
        """The share of units without a country code."""
        return 100 * self.uncoded / max(self.total, 1)


_BeforeAfter = tuple[_Weight, _Weight]


def _weigh(blob: Blob, family: Family) -> _Weight:
    weight: Counter[int | None] = Counter()
    for first, last, row in blob.spans(family):
        weight[row] += family.weigh(first, last)
    data = weight.total() - weight[None]
    codes = enumerate(blob.member("country_code"))
    uncoded = sum(weight[row] for row, code in codes if not code)
    return _Weight(family, data, uncoded, total_units(family, data))


def _judge_change(found: Diff, limit: float, *, with_v6: bool) -> Verdict:
    v4, v6 = found.v4, found.v6 if with_v6 else None
    shares = f"{show_percent(v4.percent)} of all {v4.family.units}"
    figures: dict[str, Any] = {"addresses": v4.changed, "percent": v4.percent, "limit": limit}
    if v6:
        shares += f" and {show_percent(v6.percent)} of the {v6.family.units} with data"
        figures["ipv6"] = {"networks48": v6.changed, "percent": v6.percent}
    passed = all(family.percent <= limit for family in (v4, v6) if family)
    message = f"{shares} changed (limit {limit:g} %)"
    return Verdict(MAX_CHANGE, _state(passed=passed), message, figures)


def _judge_coverage(weights: Sequence[_BeforeAfter], *, allowed: bool) -> Verdict:
    passed = all(after.data >= before.data for before, after in weights)
    was, now = ([pair[side] for pair in weights] for side in (0, 1))
    have = " and ".join(f"{weight.data:,} {weight.family.units}" for weight in now)
    before = " and ".join(f"{weight.data:,}" for weight in was)
    message = f"{have} have data, before {before}"
    figures: dict[str, Any] = {"addresses": now[0].data, "before": was[0].data}
    if len(weights) > 1:
        figures["ipv6"] = {"networks48": now[1].data, "before": was[1].data}
    if allowed and not passed:
        return Verdict(COVERAGE, State.SKIPPED, f"--allow-less-coverage: {message}", figures)
    return Verdict(COVERAGE, _state(passed=passed), message, figures)


def _judge_uncoded(weights: Sequence[_BeforeAfter], limit: float) -> Verdict:
    passed = all(after.percent - before.percent <= limit for before, after in weights)
    (was, now), *v6 = weights
    message = (
        f"{show_percent(now.percent)} of all addresses have data without a country code,"
        f" before {show_percent(was.percent)}"
    )
    figures: dict[str, Any] = {"percent": now.percent, "before": was.percent, "limit": limit}
    for before, after in v6:
        share, earlier = show_percent(after.percent), show_percent(before.percent)
        message += f"; of the {after.family.units} with data {share}, before {earlier}"
        figures["ipv6"] = {"percent": after.percent, "before": before.percent}
    message += f" (limit: a rise of {limit:g} points)"
    return Verdict(COUNTRY_CODE, _state(passed=passed), message, figures)


def _state(*, passed: bool) -> State:
    return State.PASSED if passed else State.FAILED


def forced(verdict: Verdict) -> Verdict:
    """Return a verdict as ``--force`` leaves it."""
    return replace(verdict, state=State.FORCED) if verdict.state == State.FAILED else verdict


def verdict_lines(verdicts: Sequence[Verdict], not_compared_because: str) -> list[str]:
    """Return the verdicts as text.

    Where nothing could be compared, one line gives the reason for all comparing gates.
    """
    if not not_compared_because:
        return [verdict.line() for verdict in verdicts]
    others = [verdict for verdict in verdicts if verdict.gate not in COMPARED]
    names = " and ".join(verdict.gate for verdict in others)
    lines = [f"no gate but {names} applies: {not_compared_because}"]
    return lines + [verdict.line() for verdict in others]
