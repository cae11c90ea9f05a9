"""The gates that a new blob passes before it is published.

Each gate gives a verdict with its figures. ``max-change``, ``coverage`` and ``country-code``
compare with the blob that is served; ``expect`` and ``rolled-back`` need none.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from ipgeo.blob.reader import Blob
from ipgeo.errors import InputError
from ipgeo.files.reading import read_regular
from ipgeo.ranges.address import ADDRESS_COUNT, parse_ipv4
from ipgeo.release.diff import Diff, country, percent, show_percent
from ipgeo.text import printable

EXPECT, MAX_CHANGE, COVERAGE = "expect", "max-change", "coverage"
COUNTRY_CODE, ROLLED_BACK = "country-code", "rolled-back"

MAX_CHANGE_PERCENT = 20.0
MAX_CODELESS_RISE = 1.0
MAX_EXPECTED = 256 << 20
"""The largest file of golden addresses in bytes: some two million lines."""

_MOST_SHOWN = 10


class State(StrEnum):
    """What became of a gate."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"
    FORCED = "forced"


class Verdict(NamedTuple):
    """A gate's state, what is to be said of it, and the figures behind that."""

    gate: str
    state: State
    told: str
    figures: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is printed with ``--json`` and kept in the manifest."""
        return {"gate": self.gate, "state": self.state, "detail": self.told, **self.figures}

    def line(self) -> str:
        """Return it as text."""
        return f"gate {self.gate:<12} {self.state}: {self.told}"


class Expected(NamedTuple):
    """An address, as text and as number, and the answer it must have: list, dict or None."""

    ip: str
    address: int
    answer: list[Any] | dict[str, Any] | None


@dataclass(frozen=True)
class Limits:
    """What the gates allow; ``max_change`` in percent, ``max_codeless_rise`` in percentage points.

    ``expected`` is None where no golden addresses are given.
    """

    expected: Sequence[Expected] | None = None
    max_change: float = MAX_CHANGE_PERCENT
    less_coverage: bool = False
    max_codeless_rise: float = MAX_CODELESS_RISE


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


def _expected(path: Path, place: str, line: bytes) -> Expected:
    try:
        ip, tab, answer = line.decode().partition("\t")
    except UnicodeDecodeError as error:
        raise InputError(path, place, f"not UTF-8: {error.reason}") from None
    if not tab:
        raise InputError(path, place, "no tab between address and answer")
    address = parse_ipv4(ip)
    if address is None:
        raise InputError(path, place, f"{ip!r} is not an IPv4 address")
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        raise InputError(path, place, "the answer is not JSON") from None
    if not isinstance(parsed, list | dict | None):
        raise InputError(path, place, "the answer is no array, object or null")
    return Expected(ip, address, parsed)


def judge_expected(blob: Blob, limits: Limits) -> Verdict:
    """Golden addresses must have the answers that are written down for them."""
    if limits.expected is None:
        return Verdict(EXPECT, State.SKIPPED, "no --expect", {})
    wrong = [
        {"ip": row.ip, "expected": row.answer, "found": found}
        for row in limits.expected
        if (found := _answer(blob, row)) != row.answer
    ]
    count = len(limits.expected)
    figures = {"addresses": count, "wrong": len(wrong), "first_wrong": wrong[:_MOST_SHOWN]}
    if not wrong:
        return Verdict(EXPECT, State.PASSED, f"{count} addresses answer as expected", figures)
    told = [f"{len(wrong)} of {count} addresses do not answer as expected"]
    told += [
        f"  {row['ip']}: expected {_json(row['expected'])}, is {_json(row['found'])}"
        for row in wrong[:_MOST_SHOWN]
    ]
    return Verdict(EXPECT, State.FAILED, "\n".join(told), figures)


def _answer(blob: Blob, row: Expected) -> object:
    """Return the blob's answer in the form in which ``row`` expects one."""
    location = blob.find(row.address)
    if location is None:
        return None
    answer = blob.answer(location)
    if isinstance(row.answer, dict):
        return json.loads(b'{"ip":"%s",%s' % (row.ip.encode(), answer.members))
    return json.loads(answer.array)


def _json(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def judge_rolled_back(build_id: str, since: str | None) -> Verdict:
    """Refuse a build that was rolled back; ``since`` is the time of that, None for never."""
    if since is None:
        return Verdict(ROLLED_BACK, State.PASSED, "this build was never rolled back", {})
    told = f"build id {build_id} was rolled back at {since}"
    return Verdict(ROLLED_BACK, State.FAILED, told, {"rolled_back": since})


def skip_comparison(why: str) -> list[Verdict]:
    """Return the verdicts of the gates that compare, where there is nothing to compare with."""
    return [Verdict(gate, State.SKIPPED, why, {}) for gate in (MAX_CHANGE, COVERAGE, COUNTRY_CODE)]


def compare(old: Blob, new: Blob, found: Diff, limits: Limits) -> list[Verdict]:
    """Return the verdicts of the gates that compare with the blob that is served."""
    before, after = _weigh(old), _weigh(new)
    return [
        _judge_change(found, limits.max_change),
        _judge_coverage(before, after, allowed=limits.less_coverage),
        _judge_codeless(before, after, limits.max_codeless_rise),
    ]


class _Weight(NamedTuple):
    """Addresses of a blob: those that have data, and those of them without a country code."""

    data: int
    codeless: int


def _weigh(blob: Blob) -> _Weight:
    weight: Counter[int] = Counter()
    ends = (*blob.first[1:], ADDRESS_COUNT)
    for first, end, number in zip(blob.first, ends, blob.record, strict=True):
        weight[number] += end - first
    with_data = ADDRESS_COUNT - weight[blob.locations]
    codeless = sum(
        weight[number] for number in range(blob.locations) if not country(blob.answer(number))[1]
    )
    return _Weight(with_data, codeless)


def _judge_change(found: Diff, limit: float) -> Verdict:
    share = percent(found.addresses)
    told = f"{show_percent(share)} of all addresses answer otherwise, allowed are {limit:g} %"
    figures = {"addresses": found.addresses, "percent": share, "limit": limit}
    return Verdict(MAX_CHANGE, _state(passed=share <= limit), told, figures)


def _judge_coverage(before: _Weight, after: _Weight, *, allowed: bool) -> Verdict:
    passed = after.data >= before.data
    told = f"{after.data:,} addresses have data, before {before.data:,}"
    figures = {"addresses": after.data, "before": before.data}
    if allowed and not passed:
        return Verdict(COVERAGE, State.SKIPPED, f"--allow-less-coverage: {told}", figures)
    return Verdict(COVERAGE, _state(passed=passed), told, figures)


def _judge_codeless(before: _Weight, after: _Weight, limit: float) -> Verdict:
    was, now = percent(before.codeless), percent(after.codeless)
    told = (
        f"{show_percent(now)} of all addresses have data without a country code,"
        f" before {show_percent(was)}, allowed rise in points: {limit:g}"
    )
    figures = {"percent": now, "before": was, "limit": limit}
    return Verdict(COUNTRY_CODE, _state(passed=now - was <= limit), told, figures)


def _state(*, passed: bool) -> State:
    return State.PASSED if passed else State.FAILED


def forced(verdict: Verdict) -> Verdict:
    """Return a verdict as ``--force`` leaves it."""
    return verdict._replace(state=State.FORCED) if verdict.state == State.FAILED else verdict


def verdict_lines(verdicts: Sequence[Verdict], uncompared: str) -> list[str]:
    """Return the verdicts as text.

    Where nothing could be compared, for the reason ``uncompared``, that is said once.
    """
    if not uncompared:
        return [verdict.line() for verdict in verdicts]
    others = [verdict for verdict in verdicts if verdict.gate in (EXPECT, ROLLED_BACK)]
    names = " and ".join(verdict.gate for verdict in others)
    lines = [f"no gate but {names} applies: {uncompared}"]
    return lines + [verdict.line() for verdict in others]
