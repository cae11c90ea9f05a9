"""What changes between two blobs: which addresses, and how many."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ipgeo.blob.reader import Blob
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import IPV4, IPV6, Family
from ipgeo.ranges.columns import Runs4, Runs6
from ipgeo.ranges.renumber import renumbered, uniform6

MAX_RANGES_SHOWN = 10

_NO_DATA = 0
"""The id of "no data" among the answers of both blobs."""

_Piece = tuple[int, int, int, int]
"""First address, last address (inclusive), id of the answer before, and after."""


@dataclass(frozen=True, slots=True)
class ChangedRange:
    """A range (both ends inclusive) that had one answer all over and has another one now."""

    first: int
    last: int
    old: Answer | None
    new: Answer | None


@dataclass(frozen=True, slots=True)
class FamilyDiff:
    """The difference of two blobs in one family; None stands for no data.

    ``changed`` units of the family changed, in ``ranges`` ranges; ``largest`` are the largest of
    these, the lower address first among equals. ``countries`` counts units by country before and
    after. ``total`` units are all there are in IPv4, those with data before or after in IPv6.
    """

    family: Family
    changed: int
    total: int
    ranges: int
    largest: Sequence[ChangedRange]
    countries: "Counter[tuple[str | None, str | None]]"

    @property
    def percent(self) -> float:
        """The share of the total that changed."""
        return 100 * self.changed / max(self.total, 1)


@dataclass(frozen=True, slots=True)
class Diff:
    """The difference of two blobs; ``v6`` is None if neither has IPv6."""

    v4: FamilyDiff
    v6: FamilyDiff | None

    @property
    def families(self) -> list[FamilyDiff]:
        """The differences that there are."""
        return [self.v4, self.v6] if self.v6 else [self.v4]


class _Answers:
    """Gives equal answers of two blobs the same id."""

    def __init__(self) -> None:
        self.countries: list[str | None] = [None]
        self._rows: list[tuple[Blob, int] | None] = [None]
        self._ids: dict[bytes, int] = {}

    def learn(self, blob: Blob) -> dict[int, int]:
        """Return the id of the answer of each row, and of the number for no data."""
        ids = {blob.rows: _NO_DATA}
        countries = blob.member("country")
        for row, (answer, country) in enumerate(zip(blob.answers(), countries, strict=True)):
            ids[row] = self._ids.setdefault(answer.digest, len(self._rows))
            if ids[row] == len(self._rows):
                self._rows.append((blob, row))
                self.countries.append("" if country is None else str(country))
        return ids

    def __getitem__(self, answer_id: int) -> Answer | None:
        """Return an answer by its id, None for no data."""
        known = self._rows[answer_id]
        return known[0].answer(known[1]) if known else None


def diff(old: Blob, new: Blob) -> Diff:
    """Compare both forms of the answer of every address, in one pass over the runs of both."""
    answers = _Answers()
    before, after = answers.learn(old), answers.learn(new)
    v4 = _family_diff(IPV4, renumbered(old.v4, before), renumbered(new.v4, after), answers)
    if not old.v6 and not new.v6:
        return Diff(v4, None)
    old_v6, new_v6 = old.v6 or uniform6(old.rows), new.v6 or uniform6(new.rows)
    v6 = _family_diff(IPV6, renumbered(old_v6, before), renumbered(new_v6, after), answers)
    return Diff(v4, v6)


def total_units(family: Family, with_data: int) -> int:
    """Return the units of which shares are taken: all of IPv4, but of IPv6 those with data."""
    return family.unit_count if family == IPV4 else with_data


def _family_diff(
    family: Family, before: Runs4 | Runs6, after: Runs4 | Runs6, answers: _Answers
) -> FamilyDiff:
    tally = _Tally(family, answers)
    pieces = _pieces(before.coalesced(), after.coalesced())
    largest = heapq.nsmallest(MAX_RANGES_SHOWN, tally.changes(pieces))
    return FamilyDiff(
        family,
        changed=tally.countries.total(),
        total=total_units(family, tally.with_data),
        ranges=tally.ranges,
        largest=[
            ChangedRange(first, first - size, answers[was], answers[now])
            for size, first, was, now in largest
        ],
        countries=tally.countries,
    )


class _Tally:
    """Counts what changes, piece by piece."""

    def __init__(self, family: Family, answers: _Answers) -> None:
        self._family = family
        self._answers = answers
        self.ranges = self.with_data = 0
        self.countries: Counter[tuple[str | None, str | None]] = Counter()

    def changes(self, pieces: Iterable[_Piece]) -> Iterator[_Piece]:
        """Yield each piece that changes, with minus its size less 1 in the place of its end.

        So the smallest are the largest ranges, the lower first address first among equals.
        """
        countries = self._answers.countries
        for first, last, was, now in pieces:
            weight = self._family.weigh(first, last)
            if was or now:
                self.with_data += weight
            if was != now:
                self.ranges += 1
                self.countries[countries[was], countries[now]] += weight
                yield first - last, first, was, now


def _pieces(before: Runs4 | Runs6, after: Runs4 | Runs6) -> Iterator[_Piece]:
    """Yield the ranges in which neither answer changes, ascending."""
    old, new = iter(before), iter(after)
    old_run, new_run = next(old, None), next(new, None)
    first = 0
    while old_run and new_run:
        last = min(old_run[1], new_run[1])
        yield first, last, old_run[2], new_run[2]
        first = last + 1
        if old_run[1] == last:
            old_run = next(old, None)
        if new_run[1] == last:
            new_run = next(new, None)
