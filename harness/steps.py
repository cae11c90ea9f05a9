"""What a blob or a source answers as ``crosscheck`` has it: the steps of both families."""

from collections.abc import Iterable

from crosscheck import mmdb
from crosscheck.mmdb_answers import Steps
from ipgeo.blob.reader import Blob
from ipgeo.places.answers import Answer, answer_of, fields_of, rows_of
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Source
from ipgeo.ranges.columns import Runs4, Runs6

Families = tuple[Steps, Steps | None]
"""IPv4's steps and IPv6's."""


def of_blob(blob: Blob) -> Families:
    """Return the steps of a blob."""
    return _families(blob.v4, blob.v6, blob.answers(), blob.rows)


def of_source(source: Source) -> Families:
    """Return the steps of a source with the built-in codes: those of a blob that is built of it."""
    fields = fields_of(source.extra)
    rows = map(rows_of(Codes(), source.extra, fields), source.locations)
    return _families(source.v4, source.v6, (answer_of(row, fields) for row in rows), NO_DATA)


def _families(v4: Runs4, v6: Runs6 | None, answers: Iterable[Answer], no_data: int) -> Families:
    texts: dict[int, str | None] = dict(enumerate(map(_text, answers))) | {no_data: None}

    def steps(runs: Runs4 | Runs6) -> Steps:
        return mmdb.steps((first, last + 1, texts[number]) for first, last, number in runs)

    return steps(v4), steps(v6) if v6 else None


def _text(answer: Answer) -> str:
    return f"{answer.array.decode()}\n{answer.object_without_ip.decode()}"
