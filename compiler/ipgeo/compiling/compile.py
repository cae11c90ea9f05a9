"""From a source and its codes to a proven blob, with the facts that an operator needs."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ipgeo import __version__
from ipgeo.blob.reader import Blob
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.plan import plan_body
from ipgeo.compiling.prove import prove
from ipgeo.places.answers import Row, fields_of, rows_of
from ipgeo.places.built_in import built_in
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, NamePath, Source
from ipgeo.ranges.address import ADDRESS_COUNT
from ipgeo.ranges.renumber import renumbered

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
    data = _write(source, codes, report)
    report("check")
    blob = Blob(data)
    report("prove")
    prove(blob, source, codes)
    return BuildResult(data, blob, *_count_uncoded(source, codes))


def _write(source: Source, codes: Codes, report: Callable[[str], object]) -> bytes:
    report("merge")
    fields = fields_of(source.extra)
    row_of = rows_of(codes, source.extra, fields)
    rows, row_ids = _distinct_rows(map(row_of, source.locations))
    v4 = renumbered(source.v4, row_ids).coalesced()
    v6 = renumbered(source.v6, row_ids).coalesced() if source.v6 else None
    report("write")
    return write_blob(v4, plan_body(rows, fields), _meta(source, codes), v6)


def _distinct_rows(all_rows: Iterable[Row]) -> tuple[list[Row], dict[int, int]]:
    """Return the distinct rows, and for each location id the number of its row."""
    numbers: dict[Row, int] = {}
    row_ids = {n: numbers.setdefault(row, len(numbers)) for n, row in enumerate(all_rows)}
    return list(numbers), row_ids | {NO_DATA: NO_DATA}


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
    addresses: Counter[int] = Counter()
    ends = itertools.chain(source.v4.starts[1:], (ADDRESS_COUNT,))
    for start, end, location_id in zip(source.v4.starts, ends, source.v4.ids, strict=True):
        addresses[location_id] += end - start
    uncoded: Counter[NamePath] = Counter()
    non_places: Counter[str] = Counter()
    for location_id, location in enumerate(source.locations):
        for path in codes.uncoded(location):
            uncoded[path] += addresses[location_id]
        if kind := codes.kind(location):
            non_places[kind] += addresses[location_id]
    return uncoded, non_places
