"""From a source and its codes to a proven blob, with the facts that an operator needs."""

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
from ipgeo.places.built_in import built_in
from ipgeo.places.codes import Codes, NamePath
from ipgeo.places.location import NO_DATA, Runs, Source
from ipgeo.ranges.address import ADDRESS_COUNT
from ipgeo.ranges.runs import coalesce

STEPS = ("merge", "write", "check", "prove")
"""What ``compile_blob`` reports before each of its steps."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A proven blob: its bytes, its checked view, and what has no code.

    ``uncoded`` counts the addresses of names that should have a code, ``non_places`` those of
    names that are known not to be places, by kind.
    """

    data: bytes
    blob: Blob
    uncoded: "Counter[NamePath]"
    non_places: "Counter[str]"


def compile_blob(
    source: Source, codes: Codes, report: Callable[[str], object] = lambda _step: None
) -> BuildResult:
    """Compile and prove; raise ProofError if the blob does not answer what the source says."""
    runs = source.runs
    report("merge")
    answers, answer_ids = _distinct_answers(runs, codes)
    by_run = array("I", map(answer_ids.__getitem__, runs.location_ids))
    starts, location_ids = coalesce(runs.starts, by_run)
    report("write")
    data = write_blob(starts, location_ids, answers, _meta(source, codes))
    report("check")
    blob = Blob(data)
    report("prove")
    prove(blob, runs, codes)
    return BuildResult(data, blob, *_count_uncoded(runs, codes))


def _distinct_answers(runs: Runs, codes: Codes) -> tuple[list[Answer], dict[int, int]]:
    """Return the answers, and for each location id the index of its answer among them."""
    index: dict[Answer, int] = {}
    answer_ids = {NO_DATA: NO_DATA}
    for location_id, location in enumerate(runs.locations):
        answer_ids[location_id] = index.setdefault(render(location, codes), len(index))
    return list(index), answer_ids


def _meta(source: Source, codes: Codes) -> dict[str, Any]:
    """Return the blob's metadata: no clock and no path, so equal inputs give equal bytes."""
    return {
        "compiler": f"ipgeo {__version__}",
        "sample": source.sample,
        "sources": [source.facts, *codes.facts],
        "tables": built_in().digests,
    }


def _count_uncoded(runs: Runs, codes: Codes) -> tuple["Counter[NamePath]", "Counter[str]"]:
    """Count the addresses by path of names that should have a code, and of non-places by kind."""
    addresses: Counter[int] = Counter()
    ends = (*runs.starts[1:], ADDRESS_COUNT)
    for start, end, location_id in zip(runs.starts, ends, runs.location_ids, strict=True):
        addresses[location_id] += end - start
    uncoded: Counter[NamePath] = Counter()
    non_places: Counter[str] = Counter()
    for location_id, location in enumerate(runs.locations):
        for path in codes.uncoded(location):
            uncoded[path] += addresses[location_id]
        if kind := codes.kind(location):
            non_places[kind] += addresses[location_id]
    return uncoded, non_places
