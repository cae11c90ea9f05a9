"""From a source and its codes to a proven blob, with the facts that an operator needs."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ipgeo import __version__
from ipgeo.blob.reader import Blob
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.plan import plan_body
from ipgeo.compiling.prove import prove_rows
from ipgeo.compiling.rows import rows_in
from ipgeo.garbage import without_collecting
from ipgeo.places.built_in import built_in
from ipgeo.places.codes import Codes
from ipgeo.places.location import Location, NamePath, Source
from ipgeo.ranges.address import ADDRESS_COUNT

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
    with without_collecting():
        return _compile(source, codes, report)


def _compile(source: Source, codes: Codes, report: Callable[[str], object]) -> BuildResult:
    report("merge")
    rows = rows_in(source, codes)
    report("write")
    data = write_blob(rows.v4, plan_body(rows.rows, rows.fields), _meta(source, codes), rows.v6)
    report("check")
    blob = Blob(data)
    report("prove")
    prove_rows(blob, rows)
    del rows
    return BuildResult(data, blob, *_count_uncoded(source, codes))


def _meta(source: Source, codes: Codes) -> dict[str, Any]:
    """Return the blob's metadata: no clock and no path, so equal inputs give equal bytes."""
    options = {"keep": list(source.keep), "languages": list(source.languages)}
    return {name: given for name, given in options.items() if given} | {
        "compiler": f"ipgeo {__version__}",
        "sample": source.sample,
        "sources": [source.facts, *codes.facts],
        "tables": built_in().digests,
    }


def _count_uncoded(source: Source, codes: Codes) -> tuple["Counter[NamePath]", "Counter[str]"]:
    """Count IPv4 addresses by path of names that should have a code, and of non-places by kind."""
    uncoded: Counter[NamePath] = Counter()
    non_places: Counter[str] = Counter()
    for place, addresses in _places(source):
        for path in codes.uncoded(place):
            uncoded[path] += addresses
        if kind := codes.kind(place):
            non_places[kind] += addresses
    return uncoded, non_places


def _places(source: Source) -> Iterator[tuple[Location, int]]:
    """Yield a location of each place, and how many IPv4 addresses the place has."""
    by_id: Counter[int] = Counter()
    ends = itertools.chain(source.v4.starts[1:], (ADDRESS_COUNT,))
    for start, end, location_id in zip(source.v4.starts, ends, source.v4.ids, strict=True):
        by_id[location_id] += end - start
    by_place: Counter[object] = Counter()
    examples: dict[object, Location] = {}
    for location_id, location in enumerate(source.locations):
        key = location.place_key()
        examples.setdefault(key, location)
        by_place[key] += by_id[location_id]
    for place, location in examples.items():
        yield location, by_place[place]
