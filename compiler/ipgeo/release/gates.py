"""The gates that a new blob passes before it is published.

Each gate gives a verdict with its figures. ``max-change``, ``coverage`` and ``country-code``
compare with the blob that is served; ``expect`` and ``rolled-back`` need none.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from ipgeo.blob.reader import Blob
from ipgeo.errors import InputError
from ipgeo.files.reading import read_regular
from ipgeo.ranges.address import ADDRESS_COUNT, parse_ipv4
from ipgeo.release.diff import Diff, percent, show_percent
from ipgeo.text import printable

EXPECT, MAX_CHANGE, COVERAGE = "expect", "max-change", "coverage"
COUNTRY_CODE, ROLLED_BACK = "country-code", "rolled-back"

COMPARED = (MAX_CHANGE, COVERAGE, COUNTRY_CODE)
"""The gates that compare with the blob that is served, in the order of `compare`."""

_WIDTH = max(map(len, (EXPECT, ROLLED_BACK, *COMPARED)))

MAX_CHANGE_PERCENT = 20.0
MAX_UNCODED_RISE = 1.0
MAX_EXPECTED = 256 << 20
"""The largest file of golden addresses in bytes: some two million lines."""

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
class Expected:
    """An address, as text and as number, and the answer it must have: list, dict or None."""

    ip: str
    address: int
    answer: list[Any] | dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gates allow; ``max_change`` in percent, ``max_uncoded_rise`` in percentage points.

    ``expected`` is None where no golden addresses are given.
    """

    expected: Sequence[Expected] | None = None
    max_change: float = MAX_CHANGE_PERCENT
    less_coverage: bool = False
    max_uncoded_rise: float = MAX_UNCODED_RISE


def read_expected(path: Path) -> list[Expected]:
    """Read golden addresses: lines of address, tab, JSON, as ``lookup`` prints them.

    An array is compared with the array answer, an object with the object answer, null with no
    data. Empty lines are skipped. Raises InputError naming the file and the line, OSError.
    """
    lines = read_regular(path, MAX_EXPECTED).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    expected = [
        _expected(path, f"line {number}", line)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not expected:
        raise InputError(path, "", "no addresses")
    return expected


def _expected(path: Path, position: str, line: bytes) -> Expected:
    try:
        ip, tab, answer = line.decode().partition("\t")
    except UnicodeDecodeError as error:
        raise InputError(path, position, f"not UTF-8: {error.reason}") from None
    if not tab:
        raise InputError(path, position, "no tab between address and answer")
    address = parse_ipv4(ip)
    if address is None:
        raise InputError(path, position, f"{ip!r} is not an IPv4 address")
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        raise InputError(path, position, "the answer is not JSON") from None
    if not isinstance(parsed, list | dict | None):
        raise InputError(path, position, "the answer is not an array, an object or null")
    return Expected(ip, address, parsed)


def judge_expected(blob: Blob, limits: Limits) -> Verdict:
    """Golden addresses must have their expected answers."""
    if limits.expected is None:
        return Verdict(EXPECT, State.SKIPPED, "no --expect", {})
    wrong = [
        {"ip": row.ip, "expected": row.answer, "found": found}
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
    location = blob.find(row.address)
    if location is None:
        return None
    answer = blob.answer(location)
    if isinstance(row.answer, dict):
        return json.loads(answer.object_form(row.ip))
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
    """Return the verdicts of the gates that compare with the blob that is served."""
    before, after = _weigh(old), _weigh(new)
    return [
        _judge_change(found, limits.max_change),
        _judge_coverage(before, after, allowed=limits.less_coverage),
        _judge_uncoded(before, after, limits.max_uncoded_rise),
    ]


@dataclass(frozen=True, slots=True)
class _Weight:
    """Addresses of a blob: those that have data, and those of them without a country code."""

    data: int
    uncoded: int


def _weigh(blob: Blob) -> _Weight:
    weight: Counter[int] = Counter()
    ends = (*blob.starts[1:], ADDRESS_COUNT)
    for start, end, location in zip(blob.starts, ends, blob.location_ids, strict=True):
        weight[location] += end - start
    with_data = ADDRESS_COUNT - weight[blob.locations]
    uncoded = sum(weight[n] for n, country in enumerate(blob.countries) if not country.code)
    return _Weight(with_data, uncoded)


def _judge_change(found: Diff, limit: float) -> Verdict:
    share = percent(found.addresses)
    message = f"{show_percent(share)} of all addresses changed (limit {limit:g} %)"
    figures = {"addresses": found.addresses, "percent": share, "limit": limit}
    return Verdict(MAX_CHANGE, _state(passed=share <= limit), message, figures)


def _judge_coverage(before: _Weight, after: _Weight, *, allowed: bool) -> Verdict:
    passed = after.data >= before.data
    message = f"{after.data:,} addresses have data, before {before.data:,}"
    figures = {"addresses": after.data, "before": before.data}
    if allowed and not passed:
        return Verdict(COVERAGE, State.SKIPPED, f"--allow-less-coverage: {message}", figures)
    return Verdict(COVERAGE, _state(passed=passed), message, figures)


def _judge_uncoded(before: _Weight, after: _Weight, limit: float) -> Verdict:
    was, now = percent(before.uncoded), percent(after.uncoded)
    message = (
        f"{show_percent(now)} of all addresses have data without a country code,"
        f" before {show_percent(was)} (limit: a rise of {limit:g} points)"
    )
    figures = {"percent": now, "before": was, "limit": limit}
    return Verdict(COUNTRY_CODE, _state(passed=now - was <= limit), message, figures)


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
