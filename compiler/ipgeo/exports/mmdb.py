"""A blob as MMDB (MaxMind DB 2.0): a tree for the readers of that format."""

import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdb_writer import Encoder, SearchTreeLeaf, SearchTreeNode, TreeWriter

from ipgeo.blob.reader import Blob
from ipgeo.exports.members import row_values
from ipgeo.ranges.address import EMBEDDING, IPV4, IPV6, Family

Tree = SearchTreeNode | SearchTreeLeaf | None
"""A block of addresses: cut in halves, with one record all over, or without data."""

_IPV4_BITS = 96
"""How many bits lead to a tree of IPv4 in one of IPv6."""

_IPV4_PLACES = (0, *EMBEDDING)
"""Where IPv4 is in IPv6: at ::/96, as the format has it, and where such addresses are asked for."""


def export_mmdb(blob: Blob, built: int) -> bytes:
    """Return the blob as MMDB; ``built`` (Unix time) is its build epoch.

    The tree is one of IPv4, or one of IPv6 with IPv4 in it if the blob has both. The same arguments
    give the same bytes.
    """
    meta: dict[str, Any] = {
        "ip_version": 6 if blob.v6 else 4,
        "database_type": "ipgeo",
        "languages": [],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "description": {"en": f"ipgeo blob {blob.build_id}"},
        "build_epoch": built,
    }
    # Doubles: a float32 of degrees is off by metres.
    writer = _Writer(_whole_tree(blob), meta, float_type="f64")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mmdb"  # the library writes to a name only
        writer.write(str(path))
        return path.read_bytes()


def _whole_tree(blob: Blob) -> SearchTreeNode:
    leaves = _leaves(blob)
    tree = _tree(IPV4, blob.v4.starts, blob.v4.ids, leaves)
    if not blob.v6:
        return tree
    root = _tree(IPV6, blob.v6.starts, blob.v6.ids, leaves)
    for place in _IPV4_PLACES:
        _put(root, place, tree)
    return root


def _leaves(blob: Blob) -> list[Tree]:
    """Return the record of each row; the number after the last row's is no data."""
    rows = (zip(blob.fields, values, strict=True) for values in row_values(blob))
    leaves: list[Tree] = [
        SearchTreeLeaf({name: value for name, value in members if value is not None})
        for members in rows
    ]
    return [*leaves, None]


class _Encoder(Encoder):
    """Writes equal values once, as the library's does, but not 1, 1.0 and True as one value.

    A record is known by its identity: no two rows are equal, and a key as large as each would need
    a gigabyte for a million of them.
    """

    def _freeze(self, value: object) -> object:
        return id(value) if isinstance(value, dict) else (type(value), value)


class _Writer(TreeWriter):
    """Writes with that encoder, and visits once the tree of IPv4, which is in several places."""

    encoder_cls = _Encoder

    def _enumerate_nodes(self, node: Tree) -> None:
        if id(node) not in self._node_idx:
            super()._enumerate_nodes(node)


def _tree(
    family: Family, starts: Sequence[int], ids: Sequence[int], leaves: Sequence[Tree]
) -> SearchTreeNode:
    """Return the smallest tree: a block that lies in one run is not cut any further.

    From above and by bisection, because MMDBWriter.insert_network, one prefix after the other,
    takes ten times as long for the same tree.
    """

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
            return leaves[ids[run]]
        return halves(start, size, run, end)

    # The format has no prefix of length 0: the root is cut even if one run covers everything.
    return halves(0, 1 << family.bits, 0, len(starts))


def _put(root: SearchTreeNode, place: int, tree: SearchTreeNode) -> None:
    """Put ``tree`` at the /96 of IPv6 that begins at ``place``, over whatever is there."""
    node = root
    for depth in range(_IPV4_BITS - 1):
        bit = place >> IPV6.bits - 1 - depth & 1
        child = node[bit]
        if not isinstance(child, SearchTreeNode):
            child = SearchTreeNode(child, child)
            node[bit] = child
        node = child
    node[place >> IPV6.bits - _IPV4_BITS & 1] = tree
