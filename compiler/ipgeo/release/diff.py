"""What changes between two blobs: which addresses answer otherwise, and how many."""

import heapq
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ipgeo.blob.reader import Blob
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import ADDRESS_COUNT, format_ipv4
from ipgeo.ranges.runs import coalesce
from ipgeo.text import printable

LARGEST = 10
TOP_COUNTRIES = 20

_NOTHING = 0
"""The number of "no data" among the answers of both blobs."""

Runs = tuple["array[int]", "array[int]"]
"""First addresses, ascending from 0, and the answers' numbers; neighbours differ."""


class Change(NamedTuple):
    """A range (both ends inclusive) that had one answer all over and has another one now."""

    first: int
    last: int
    old: Answer | None
    new: Answer | None


class Diff(NamedTuple):
    """The difference of two blobs; None stands for no data.

    ``addresses`` answer otherwise, in ``ranges`` ranges; ``largest`` are the largest of these, the
    lower address first among equals. ``countries`` counts addresses by country before and after.
    """

    addresses: int
    ranges: int
    largest: list[Change]
    countries: "Counter[tuple[str | None, str | None]]"


def diff(old: Blob, new: Blob) -> Diff:
    """Compare both forms of the answer of every address, in one pass over the runs of both."""
    answers: dict[Answer | None, int] = {None: _NOTHING}
    before, after = _numbered(old, answers), _numbered(new, answers)
    weight: Counter[tuple[int, int]] = Counter()
    changed: list[tuple[int, int, int, int]] = []
    for first, end, was, now in _pieces(before, after):
        if was != now:
            weight[was, now] += end - first
            changed.append((first - end, first, was, now))
    known = list(answers)
    largest = [
        Change(first, first - size - 1, known[was], known[now])
        for size, first, was, now in heapq.nsmallest(LARGEST, changed)
    ]
    return Diff(weight.total(), len(changed), largest, _by_country(weight, known))


def as_dict(found: Diff) -> dict[str, Any]:
    """Return what ``--json`` prints of a difference; ``share`` is in percent of all addresses."""
    return {
        "addresses": found.addresses,
        "share": percent(found.addresses),
        "countries": [
            {"old": old, "new": new, "addresses": addresses}
            for (old, new), addresses in found.countries.most_common(TOP_COUNTRIES)
        ],
        "ranges": found.ranges,
        "largest": [_change_dict(change) for change in found.largest],
    }


def as_lines(found: Diff) -> list[str]:
    """Return the same as text."""
    if not found.addresses:
        return ["no address answers otherwise"]
    share = show_percent(percent(found.addresses))
    top = found.countries.most_common(TOP_COUNTRIES)
    return [
        f"{found.addresses:,} addresses answer otherwise, {share} of all, in {found.ranges} ranges",
        _heading("by country", len(top), len(found.countries)),
        *(f"  {count:>13,}  {_country(old)} → {_country(new)}" for (old, new), count in top),
        *largest_lines(found),
    ]


def largest_lines(found: Diff) -> list[str]:
    """Return the largest changed ranges as text."""
    return [
        _heading("the largest changed ranges", len(found.largest), found.ranges),
        *map(_change_line, found.largest),
    ]


def percent(addresses: int) -> float:
    """Return the share of all addresses there are, in percent."""
    return 100 * addresses / ADDRESS_COUNT


def show_percent(value: float) -> str:
    """Return ``value`` with as many of six decimals as it has: one address is 0.00000002 %."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + " %"


def country(answer: Answer) -> tuple[str, str | None]:
    """Return country and country code of an answer; None is no code."""
    members = json.loads(b'{"ip":"",' + answer.members)
    code = members.get("country_code")
    return str(members.get("country", "")), None if code is None else str(code)


def _numbered(blob: Blob, answers: dict[Answer | None, int]) -> Runs:
    """Return the runs of ``blob``; equal answers have one number, ``answers`` learns new ones."""
    number = [
        answers.setdefault(blob.answer(location), len(answers))
        for location in range(blob.locations)
    ]
    number.append(_NOTHING)  # the number behind the last location is no data
    return coalesce(blob.first, array("I", map(number.__getitem__, blob.record)))


def _pieces(before: Runs, after: Runs) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first address, the one behind the last, number before, number after), ascending."""
    old_first, new_first = ([*runs[0], ADDRESS_COUNT] for runs in (before, after))
    old_number, new_number = before[1], after[1]
    first = old_run = new_run = 0
    while first < ADDRESS_COUNT:
        old_end, new_end = old_first[old_run + 1], new_first[new_run + 1]
        end = min(old_end, new_end)
        yield first, end, old_number[old_run], new_number[new_run]
        old_run += old_end == end
        new_run += new_end == end
        first = end


def _by_country(
    weight: "Counter[tuple[int, int]]", known: Sequence[Answer | None]
) -> "Counter[tuple[str | None, str | None]]":
    names = [None if answer is None else country(answer)[0] for answer in known]
    countries: Counter[tuple[str | None, str | None]] = Counter()
    for (was, now), addresses in weight.items():
        countries[names[was], names[now]] += addresses
    return countries


def _heading(what: str, shown: int, all_of_them: int) -> str:
    return f"{what}:" if shown == all_of_them else f"{what}, {shown} of {all_of_them}:"


def _country(name: str | None) -> str:
    return "no data" if name is None else printable(name) or '""'


def _change_line(change: Change) -> str:
    span = f"{format_ipv4(change.first)} - {format_ipv4(change.last)}"
    old, new = (printable(answer.decode()) for answer in _forms(change))
    return f"  {change.last - change.first + 1:>13,}  {span}  {old} → {new}"


def _change_dict(change: Change) -> dict[str, Any]:
    old, new = (json.loads(answer) for answer in _forms(change))
    return {
        "first": format_ipv4(change.first),
        "last": format_ipv4(change.last),
        "addresses": change.last - change.first + 1,
        "old": old,
        "new": new,
    }


def _forms(change: Change) -> tuple[bytes, bytes]:
    """Return both answers as JSON: the arrays, or the objects where only these differ."""
    old, new = change.old, change.new
    if old and new and old.array == new.array:
        return b"{" + old.members, b"{" + new.members
    return old.array if old else b"null", new.array if new else b"null"
