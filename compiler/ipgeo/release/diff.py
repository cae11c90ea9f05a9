"""What changes between two blobs: which addresses, and how many."""

import heapq
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ipgeo.blob.reader import Blob
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import ADDRESS_COUNT, format_ipv4
from ipgeo.ranges.runs import coalesce
from ipgeo.text import printable

MAX_RANGES_SHOWN = 10
MAX_COUNTRIES_SHOWN = 20

_NO_DATA = 0
"""The id of "no data" among the answers of both blobs."""


@dataclass(frozen=True, slots=True)
class ChangedRange:
    """A range (both ends inclusive) that had one answer before and has one other answer now."""

    first: int
    last: int
    old: Answer | None
    new: Answer | None


@dataclass(frozen=True, slots=True)
class Diff:
    """The difference of two blobs; None stands for no data.

    ``addresses`` changed, in ``ranges`` ranges; ``largest`` are the largest of these, the
    lower address first among equals. ``countries`` counts addresses by country before and after.
    """

    addresses: int
    ranges: int
    largest: list[ChangedRange]
    countries: "Counter[tuple[str | None, str | None]]"


@dataclass(frozen=True, slots=True)
class _AnswerRuns:
    """A blob's runs: start addresses, ascending from 0, and answer ids; neighbours differ."""

    starts: "array[int]"
    answer_ids: "array[int]"


class _AnswerIds:
    """Gives equal answers of two blobs the same id; ``answers`` and ``countries`` are by id."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = [None]
        self.countries: list[str | None] = [None]
        self._ids: dict[Answer, int] = {}

    def runs_of(self, blob: Blob) -> _AnswerRuns:
        """Return the runs of ``blob`` by answer, having learned its answers."""
        ids = [self._id_of(blob, location) for location in range(blob.locations)]
        ids.append(_NO_DATA)  # the id after the last location's is no data
        by_run = array("I", map(ids.__getitem__, blob.location_ids))
        return _AnswerRuns(*coalesce(blob.starts, by_run))

    def _id_of(self, blob: Blob, location: int) -> int:
        answer = blob.answer(location)
        known = self._ids.setdefault(answer, len(self.answers))
        if known == len(self.answers):
            self.answers.append(answer)
            self.countries.append(blob.countries[location].name)
        return known


def diff(old: Blob, new: Blob) -> Diff:
    """Compare both forms of the answer of every address, in one pass over the runs of both."""
    ids = _AnswerIds()
    before, after = ids.runs_of(old), ids.runs_of(new)
    weight: Counter[tuple[int, int]] = Counter()
    changed: list[tuple[int, int, int, int]] = []
    for first, end, was, now in _pieces(before, after):
        if was != now:
            weight[was, now] += end - first
            changed.append((first - end, first, was, now))
    largest = [
        ChangedRange(first, first - size - 1, ids.answers[was], ids.answers[now])
        for size, first, was, now in heapq.nsmallest(MAX_RANGES_SHOWN, changed)
    ]
    return Diff(weight.total(), len(changed), largest, _by_country(weight, ids.countries))


def as_dict(found: Diff) -> dict[str, Any]:
    """Return what ``--json`` prints of a difference; ``share`` is in percent of all addresses."""
    return {
        "addresses": found.addresses,
        "share": percent(found.addresses),
        "countries": [
            {"old": old, "new": new, "addresses": addresses}
            for (old, new), addresses in found.countries.most_common(MAX_COUNTRIES_SHOWN)
        ],
        "ranges": found.ranges,
        "largest": [_change_dict(change) for change in found.largest],
    }


def as_lines(found: Diff) -> list[str]:
    """Return the same as text."""
    if not found.addresses:
        return ["no address changed"]
    share = show_percent(percent(found.addresses))
    top = found.countries.most_common(MAX_COUNTRIES_SHOWN)
    return [
        f"{found.addresses:,} addresses changed, {share} of all, in {found.ranges} ranges",
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


def _pieces(before: _AnswerRuns, after: _AnswerRuns) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first address, the one after the last, id before, id after), ascending."""
    old_starts, new_starts = ([*runs.starts, ADDRESS_COUNT] for runs in (before, after))
    old_ids, new_ids = before.answer_ids, after.answer_ids
    first = old_run = new_run = 0
    while first < ADDRESS_COUNT:
        old_end, new_end = old_starts[old_run + 1], new_starts[new_run + 1]
        end = min(old_end, new_end)
        yield first, end, old_ids[old_run], new_ids[new_run]
        old_run += old_end == end
        new_run += new_end == end
        first = end


def _by_country(
    weight: "Counter[tuple[int, int]]", countries: Sequence[str | None]
) -> "Counter[tuple[str | None, str | None]]":
    by_country: Counter[tuple[str | None, str | None]] = Counter()
    for (was, now), addresses in weight.items():
        by_country[countries[was], countries[now]] += addresses
    return by_country


def _heading(what: str, shown: int, all_of_them: int) -> str:
    return f"{what}:" if shown == all_of_them else f"{what}, {shown} of {all_of_them}:"


def _country(name: str | None) -> str:
    return "no data" if name is None else printable(name) or '""'


def _change_line(change: ChangedRange) -> str:
    span = f"{format_ipv4(change.first)} - {format_ipv4(change.last)}"
    old, new = (printable(answer.decode()) for answer in _forms(change))
    return f"  {change.last - change.first + 1:>13,}  {span}  {old} → {new}"


def _change_dict(change: ChangedRange) -> dict[str, Any]:
    old, new = (json.loads(answer) for answer in _forms(change))
    return {
        "first": format_ipv4(change.first),
        "last": format_ipv4(change.last),
        "addresses": change.last - change.first + 1,
        "old": old,
        "new": new,
    }


def _forms(change: ChangedRange) -> tuple[bytes, bytes]:
    """Return both answers as JSON: the arrays, or the objects where only these differ."""
    old, new = change.old, change.new
    if old and new and old.array == new.array:
        return old.object_without_ip, new.object_without_ip
    return old.array if old else b"null", new.array if new else b"null"
