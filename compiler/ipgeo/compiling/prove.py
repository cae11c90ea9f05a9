"""Proof that a blob answers what its source says, for every address there is.

Source and blob are step functions. They are equal everywhere if both change at the same addresses
to the same answers.
"""

import itertools
import operator
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from ipgeo.blob.reader import Blob
from ipgeo.compiling.rows import Rows, rows_in
from ipgeo.errors import ProofError
from ipgeo.places.answers import Answer, answer_of
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Source
from ipgeo.ranges.address import IPV4, IPV6, Family, format_address
from ipgeo.ranges.columns import Runs4, Runs6
from ipgeo.ranges.renumber import renumbered, uniform6

_NOTHING = 0
"""The number of no data, among those of the answers."""


def prove(blob: Blob, source: Source, codes: Codes) -> None:
    """Compare every change of answer in the blob with every one in the source.

    Equal changes mean equal answers at all addresses of both families. Raises ProofError naming the
    first address at which the two differ.
    """
    prove_rows(blob, rows_in(source, codes))


def prove_rows(blob: Blob, right: Rows) -> None:
    """Compare every change of answer in the blob with every one in ``right``, as ``prove``."""
    if not _is_row_for_row(blob, right):
        _compare_answers(blob, right)


def _is_row_for_row(blob: Blob, right: Rows) -> bool:
    """Whether the blob has these rows in this order, and these runs: as it was written."""
    if blob.rows != len(right.rows) or not _same(blob.v4, right.v4, blob.rows):
        return False
    if not _same(blob.v6 or uniform6(blob.rows), right.v6 or uniform6(NO_DATA), blob.rows):
        return False
    return all(map(operator.eq, blob.answers(), _answers(right)))


def _same(own: Runs4 | Runs6, right: Runs4 | Runs6, no_data: int) -> bool:
    """Whether the runs are the same; no data has the id ``no_data`` in ``own``."""
    ids = array("I", (no_data if row == NO_DATA else row for row in right.ids))
    return own == replace(right, ids=ids)


def _answers(right: Rows) -> Iterator[Answer]:
    return (answer_of(row, right.fields) for row in right.rows)


def _compare_answers(blob: Blob, right: Rows) -> None:
    """Compare by the answers themselves, in whatever order the blob has them."""
    numbers: dict[bytes, int] = {}

    def right_answer(row: int) -> Answer:
        return answer_of(right.rows[row], right.fields)

    expected = _Side(right_answer, _numbered(_answers(right), NO_DATA, numbers))
    found = _Side(blob.answer, _numbered(blob.answers(), blob.rows, numbers))
    _compare(IPV4, expected.changes(right.v4), expected, found.changes(blob.v4), found)
    _compare(IPV6, expected.changes(right.v6), expected, found.changes(blob.v6), found)


def _numbered(answers: Iterable[Answer], no_data: int, numbers: dict[bytes, int]) -> dict[int, int]:
    """Return by id the number of its answer; ``numbers`` has those by the answers' digests.

    Not by the answers, which may be half a gigabyte.
    """
    digests = (answer.digest for answer in answers)
    number_of = {n: numbers.setdefault(d, len(numbers) + 1) for n, d in enumerate(digests)}
    return number_of | {no_data: _NOTHING}


@dataclass(frozen=True, slots=True)
class _Side:
    """Source or blob: its answers by id, and by id the number that equal answers of both share."""

    answer: Callable[[int], Answer]
    number_of: dict[int, int]

    def changes(self, runs: Runs4 | Runs6 | None) -> Runs4 | Runs6:
        """Return where the answer changes, with its numbers for ids."""
        if runs is None:
            return uniform6(_NOTHING)
        return renumbered(runs, self.number_of).coalesced()

    def describe(self, number: int) -> str:
        """Return an answer in words."""
        if number == _NOTHING:
            return "answers no data"
        its_id = next(an_id for an_id, known in self.number_of.items() if known == number)
        return f"answers {self.answer(its_id).array.decode()}"


def _compare(
    family: Family, expected: Runs4 | Runs6, right: _Side, found: Runs4 | Runs6, own: _Side
) -> None:
    if expected == found:
        return
    for change, other in itertools.zip_longest(_starts(expected), _starts(found)):
        if change != other:
            first = min(start for start, _ in filter(None, (change, other)))
            source, blob = (
                side.describe(it[1]) if it and it[0] == first else "goes on as before"
                for side, it in ((right, change), (own, other))
            )
            text = format_address(family, first)
            raise ProofError(f"{text}: the source {source}, the blob {blob}")


def _starts(runs: Runs4 | Runs6) -> Iterator[tuple[int, int]]:
    return ((first, number) for first, _, number in runs)
