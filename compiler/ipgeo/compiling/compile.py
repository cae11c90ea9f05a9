"""From a source and its codes to a proven blob, with what an operator wants to know about it."""

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipgeo import __version__
from ipgeo.blob.reader import Blob
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.prove import prove
from ipgeo.places.answers import Answer, render
from ipgeo.places.codes import Codes, Names
from ipgeo.places.location import NO_DATA, Runs, Source
from ipgeo.ranges.address import ADDRESS_COUNT
from ipgeo.ranges.runs import coalesce

STEPS = ("merge", "write", "check", "prove")
"""What ``compile_blob`` reports before each of its steps."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A proven blob: its bytes, its checked view, and the names that found no code."""

    data: bytes
    blob: Blob
    without_code: "Counter[Names]"


def compile_blob(
    source: Source, codes: Codes, report: Callable[[str], object] = lambda _step: None
) -> Compiled:
    """Compile and prove; raise ProofError if the blob does not answer what the source says."""
    runs = source.runs
    report("merge")
    answers, answer_of = _distinct_answers(runs, codes)
    first, number = coalesce(runs.first, array("I", map(answer_of.__getitem__, runs.number)))
    report("write")
    data = write_blob(first, number, answers, _meta(source, codes))
    report("check")
    blob = Blob(data)
    report("prove")
    prove(blob, runs, codes)
    return Compiled(data, blob, _without_code(runs, codes))


def _distinct_answers(runs: Runs, codes: Codes) -> tuple[list[Answer], dict[int, int]]:
    """Return the answers, and each location number's place among them."""
    place: dict[Answer, int] = {}
    answer_of = {NO_DATA: NO_DATA}
    for number, location in enumerate(runs.locations):
        answer_of[number] = place.setdefault(render(location, codes), len(place))
    return list(place), answer_of


def _meta(source: Source, codes: Codes) -> dict[str, Any]:
    """Return what the blob says of itself: no clock and no path, so same inputs, same bytes."""
    return {
        "compiler": f"ipgeo {__version__}",
        "sample": source.sample,
        "sources": [source.facts, *codes.facts],
    }


def _without_code(runs: Runs, codes: Codes) -> "Counter[Names]":
    """Count the addresses under every path of names that ought to have a code and has none."""
    addresses: Counter[int] = Counter()
    for first, after, number in zip(
        runs.first, (*runs.first[1:], ADDRESS_COUNT), runs.number, strict=True
    ):
        addresses[number] += after - first
    missing: Counter[Names] = Counter()
    for number, location in enumerate(runs.locations):
        for names in codes.missing(location):
            missing[names] += addresses[number]
    return missing
