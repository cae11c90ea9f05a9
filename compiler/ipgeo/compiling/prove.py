"""Proof that a blob answers what its source says, for every address there is."""

import itertools
from collections.abc import Iterator

from ipgeo.blob.reader import Blob
from ipgeo.errors import ProofError
from ipgeo.places.answers import Answer, render
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Runs
from ipgeo.ranges.address import format_ipv4

Change = tuple[int, Answer | None]
"""The first address of a new answer, and that answer; None is no data."""


def prove(blob: Blob, runs: Runs, codes: Codes) -> None:
    """Compare every change of answer in the blob with every one in the source.

    Equal changes mean equal answers at all 2^32 addresses. Raises ProofError naming the first
    address at which the two differ.
    """
    pairs = itertools.zip_longest(_source_changes(runs, codes), _blob_changes(blob))
    for expected, found in pairs:
        if expected != found:
            raise ProofError(_difference(expected, found))


def _source_changes(runs: Runs, codes: Codes) -> Iterator[Change]:
    answers = [render(location, codes) for location in runs.locations]
    before: Answer | str | None = "nothing yet"
    for start, location_id in zip(runs.starts, runs.location_ids, strict=True):
        answer = None if location_id == NO_DATA else answers[location_id]
        if answer != before:
            yield start, answer
            before = answer


def _blob_changes(blob: Blob) -> Iterator[Change]:
    answers: list[Answer | None] = [blob.answer(location) for location in range(blob.locations)]
    answers.append(None)  # the id after the last location's is no data
    before: Answer | str | None = "nothing yet"
    for start, location_id in zip(blob.starts, blob.location_ids, strict=True):
        answer = answers[location_id]
        if answer != before:
            yield start, answer
            before = answer


def _difference(expected: Change | None, found: Change | None) -> str:
    first = min(change[0] for change in (expected, found) if change)
    source, blob = (
        _describe(change) if change and change[0] == first else "goes on as before"
        for change in (expected, found)
    )
    return f"{format_ipv4(first)}: the source {source}, the blob {blob}"


def _describe(change: Change) -> str:
    answer = change[1]
    return f"answers {answer.array.decode() if answer else 'no data'}"
