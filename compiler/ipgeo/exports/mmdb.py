"""A blob as MMDB (MaxMind DB 2.0): a tree for the readers of that format."""

import tempfile
from bisect import bisect_left
from pathlib import Path

from mmdb_writer import SearchTreeLeaf, SearchTreeNode, TreeWriter

from ipgeo.blob.reader import Blob
from ipgeo.exports.members import location_members
from ipgeo.ranges.address import ADDRESS_COUNT

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


def _tree(blob: Blob) -> SearchTreeNode:
    """Return the smallest tree: a block that lies in one run is not cut any further.

    From above and by bisection, because MMDBWriter.insert_network, one prefix after the other,
    takes ten times as long for the same tree.
    """
    leaves: list[Tree] = [
        SearchTreeLeaf({name: value for name, value in members.items() if value is not None})
        for members in location_members(blob)
    ]
    leaves.append(None)  # the id after the last location's is no data
    starts, location_ids = blob.starts, blob.location_ids

    def halves(start: int, size: int, run: int, end: int) -> SearchTreeNode:
        """Cut ``size`` addresses from ``start`` on; runs ``run`` to ``end - 1`` have them."""
        size //= 2
        middle = start + size
        cut = bisect_left(starts, middle, run + 1, end)  # the first run that starts there or later
        across = cut == end or starts[cut] > middle
        return SearchTreeNode(
            block(start, size, run, cut), block(middle, size, cut - 1 if across else cut, end)
        )

    def block(start: int, size: int, run: int, end: int) -> Tree:
        if end - run == 1:
            return leaves[location_ids[run]]
        return halves(start, size, run, end)

    # The format has no prefix of length 0: the root is cut even if one run covers everything.
    return halves(0, ADDRESS_COUNT, 0, len(starts))
