"""A blob in formats that other programs read: MMDB (MaxMind DB 2.0) and CSV.

A record is the object answer without its ``ip``. MMDB leaves out a name without a code, as it does
not know null; CSV has an empty cell. Addresses without data are in neither.
"""

import csv
import io
import json
import tempfile
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

from mmdb_writer import SearchTreeLeaf, SearchTreeNode, TreeWriter

from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import ADDRESS_COUNT, format_ipv4

Members = dict[str, str | float | None]
"""A location's members by name; latitude and longitude are floats, a missing code is None."""

Tree = SearchTreeNode | SearchTreeLeaf | None
"""A block of addresses: cut in halves, with one record all over, or without data."""


def export_mmdb(blob: Blob, built: int) -> bytes:
    """Return the blob as MMDB with an IPv4 tree; ``built`` (Unix time) is its build epoch.

    The same arguments give the same bytes.
    """
    meta = {
        "ip_version": 4,
        "database_type": "ipgeo",
        "languages": [],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "description": {"en": f"ipgeo blob {blob.build_id}"},
        "build_epoch": built,
    }
    # Doubles: a float32 of degrees is off by metres.
    writer = TreeWriter(_tree(blob), meta, float_type="f64")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mmdb"  # the library writes to a name only
        writer.write(str(path))
        return path.read_bytes()


def export_csv(blob: Blob, _built: int = 0) -> bytes:
    """Return the blob as CSV (RFC 4180, UTF-8, LF): a row for each run, addresses inclusive."""
    records = location_members(blob)
    names = dict.fromkeys(name for members in records for name in members)
    cells = [[members.get(name) for name in names] for members in records]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["first", "last", *names])
    writer.writerows(
        [format_ipv4(first), format_ipv4(last), *cells[location]]
        for first, last, location in blob.spans()
        if location is not None
    )
    return text.getvalue().encode()


def location_members(blob: Blob) -> list[Members]:
    """Return the members of every location, by its number."""
    return [json.loads(b"{" + blob.answer(number).members) for number in range(blob.locations)]


FORMATS: dict[str, Callable[[Blob, int], bytes]] = {"mmdb": export_mmdb, "csv": export_csv}
"""What a format's name stands for."""


def _tree(blob: Blob) -> SearchTreeNode:
    """Return the smallest tree: a block that lies in one run is not cut any further.

    From above and by bisection, because MMDBWriter.insert_network, one prefix after the other,
    takes ten times as long for the same tree.
    """
    leaves: list[Tree] = [
        SearchTreeLeaf({name: value for name, value in members.items() if value is not None})
        for members in location_members(blob)
    ]
    leaves.append(None)  # the number behind the last location is no data
    first, number = blob.first, blob.record

    def halves(start: int, size: int, run: int, end: int) -> SearchTreeNode:
        """Cut ``size`` addresses from ``start`` on; runs ``run`` to ``end - 1`` have them."""
        size //= 2
        middle = start + size
        cut = bisect_left(first, middle, run + 1, end)  # the first run that starts there or later
        across = cut == end or first[cut] > middle
        return SearchTreeNode(
            block(start, size, run, cut), block(middle, size, cut - 1 if across else cut, end)
        )

    def block(start: int, size: int, run: int, end: int) -> Tree:
        if end - run == 1:
            return leaves[number[run]]
        return halves(start, size, run, end)

    # The format has no prefix of length 0: the root is cut even if one run covers everything.
    return halves(0, ADDRESS_COUNT, 0, len(first))
