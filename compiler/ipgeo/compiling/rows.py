"""What a blob has to answer: the distinct rows of a source, and the runs that have them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ipgeo.places.answers import Row, fields_of, rows_of
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Source
from ipgeo.ranges.columns import Runs4, Runs6
from ipgeo.ranges.renumber import renumbered


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows, each once, of these ``fields``; the ids of the runs are their numbers.

    An id may also be ``NO_DATA``. Neighbouring runs differ. ``v6`` is None of a source without.
    """

    rows: Sequence[Row]
    fields: Sequence[str]
    v4: Runs4
    v6: Runs6 | None


def rows_in(source: Source, codes: Codes) -> Rows:
    """Return the rows of a source with these codes, in the order of their first locations."""
    fields = fields_of(source.extra)
    numbers: dict[Row, int] = {}
    all_rows = map(rows_of(codes, source.extra, fields), source.locations)
    row_ids = {n: numbers.setdefault(row, len(numbers)) for n, row in enumerate(all_rows)}
    row_ids[NO_DATA] = NO_DATA
    v4 = renumbered(source.v4, row_ids).coalesced()
    v6 = renumbered(source.v6, row_ids).coalesced() if source.v6 else None
    return Rows(list(numbers), fields, v4, v6)
