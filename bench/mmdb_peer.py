"""Writes a blob's data as MMDB with mmdb_writer as its documentation shows; prints the seconds.

usage: mmdb_peer.py BLOB FILE

`ipgeo-compile export` uses the same library, but builds the tree itself. The seconds begin with
runs and records in memory. Networks are inserted by location, all of one location at once: faster
than one by one.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPAddress, IPRange, IPSet  # type: ignore[import-untyped]

from ipgeo.blob.reader import read_blob
from ipgeo.exports.members import row_values

Span = tuple[int, int, int | None]


def write(spans: Sequence[Span], records: Sequence[dict[str, Any]], path: str) -> None:
    """Write the records of all runs."""
    ranges = defaultdict(list)
    for first, last, location in spans:
        if location is not None:
            ranges[location].append(IPRange(IPAddress(first, 4), IPAddress(last, 4)))
    writer = MMDBWriter()
    for location, its_ranges in ranges.items():
        writer.insert_network(IPSet(its_ranges), records[location])
    writer.to_db_file(path)


def main(blob_file: str, path: str) -> None:
    """Read the blob, then write and measure."""
    blob = read_blob(Path(blob_file))
    spans = list(blob.spans())
    records = [
        {name: v for name, v in zip(blob.fields, values, strict=True) if v is not None}
        for values in row_values(blob)
    ]
    started = time.monotonic()
    write(spans, records, path)
    print(time.monotonic() - started)


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        raise SystemExit(print(__doc__))
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        raise SystemExit(2)
    main(*sys.argv[1:])
