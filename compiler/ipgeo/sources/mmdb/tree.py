"""An MMDB's search tree as runs of addresses.

A node is two records, left (bit 0) and right (bit 1), big-endian. A node of 28-bit records has 7
bytes: the high nibble of byte 3 is on top of the left record, the low one on top of the right.

=======================  ==========================================================================
record < node_count      the number of another node
record == node_count     no data
record >= count + 16     data at offset record - node_count - 16 of the data section
=======================  ==========================================================================

In a tree of 128 bits IPv4 is ``::/96``. The path to it may end early, with a record for all of it.
Writers let ``::ffff:0:0/96``, ``2002::/16`` and ``2001::/32`` lead to IPv4's node, too. These
aliases are no data of IPv6.
"""

import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ipgeo.errors import InputError
from ipgeo.ranges.address import ADDRESS_COUNT
from ipgeo.ranges.columns import IPV6_COUNT, LOW_BITS, Runs4, Runs6
from ipgeo.sources.mmdb.metadata import Metadata

MAX_VISITS = 4
"""How often each node may be visited, on average: IPv4's are, once by either family at most."""

SPARE_VISITS = 1 << 16
"""Nodes that may be visited besides, so that small trees have no limit."""

_HIGH_NIBBLES = bytes(byte >> 4 for byte in range(256))
_LOW_NIBBLES = bytes(byte & 15 for byte in range(256))

Block = tuple[int, int, int]
"""A record, and the first address and the number of the addresses that have it."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of the file ``path``: node ``n`` has the records ``2 * n`` and ``2 * n + 1``.

    The ids of its runs are the tree's records: ``metadata.node_count`` is no data, no other node's
    number occurs. Walking it raises InputError where it is deeper than addresses have bits, or
    where nodes are shared so much that the walk would not end.
    """

    path: Path | str
    metadata: Metadata
    records: "array[int]"

    def walk_ipv4(self) -> tuple[Runs4, int]:
        """Return the runs of IPv4, neighbours with different ids, and the number of networks."""
        root, _, _ = self._path_to_ipv4()
        starts, ids = array("I"), array("I")
        networks = self._walk([(root, 0, ADDRESS_COUNT)], starts, ids)
        return Runs4(starts, ids), networks

    def walk_ipv6(self) -> tuple[Runs6, int]:
        """Return the same of IPv6, where IPv4's ``::/96`` and its aliases have no data."""
        root, size, blocks = self._path_to_ipv4()
        if size > ADDRESS_COUNT:  # the rest of the block of which IPv4 is the beginning
            blocks.append((root, ADDRESS_COUNT, size - ADDRESS_COUNT))
        starts, ids = [0], array("I", [self.metadata.node_count])
        networks = self._walk(blocks, starts, ids, root)
        highs = array("Q", (start >> 64 for start in starts))
        return Runs6(highs, array("Q", (start & LOW_BITS for start in starts)), ids), networks

    def _path_to_ipv4(self) -> tuple[int, int, list[Block]]:
        """Return the record for IPv4, the size of its block, and the blocks beside the path.

        The blocks' addresses descend.
        """
        record, size, siblings = 0, IPV6_COUNT, []
        if self.metadata.ip_version == 4:
            return 0, ADDRESS_COUNT, []
        while size > ADDRESS_COUNT and record < self.metadata.node_count:
            size >>= 1
            siblings.append((self.records[2 * record + 1], size, size))
            record = self.records[2 * record]
        return record, size, siblings

    def _walk(
        self,
        blocks: list[Block],
        starts: "array[int] | list[int]",
        ids: "array[int]",
        alias: int = -1,
    ) -> int:
        """Append the runs of the addresses of ``blocks``; return the number of their networks.

        The blocks are a stack, the lowest addresses on top. They are cut at nodes, but not at the
        node ``alias``, which is no data.
        """
        records, no_data = self.records, self.metadata.node_count
        networks, last = 0, ids[-1] if ids else -1
        for _ in range(MAX_VISITS * no_data + SPARE_VISITS):
            if not blocks:
                return networks
            record, start, size = blocks.pop()
            while record < no_data and record != alias:
                size >>= 1
                if not size:
                    raise self.error(record, "the tree is deeper than addresses have bits")
                blocks.append((records[2 * record + 1], start + size, size))
                record = records[2 * record]
            record = max(record, no_data)  # no data in an alias
            networks += record != no_data
            if record != last:
                starts.append(start)
                ids.append(record)
                last = record
        raise self.error(0, "the nodes are shared so often that the tree has no end")

    def error(self, node: int, problem: str) -> InputError:
        """Return an error at the offset of a node."""
        return InputError(self.path, f"offset {node * self.metadata.node_size}", problem)

    def check_records(self, found: Iterable[int]) -> None:
        """Raise InputError unless each of these records is no data, or leads to data."""
        first = self.metadata.node_count + 16
        end = first + self.metadata.data_end - self.metadata.data_start
        for record in found:
            if record != self.metadata.node_count and not first <= record < end:
                node = self.records.index(record) // 2
                problem = f"record {record} of node {node} leads to no data ({first}..{end - 1})"
                raise self.error(node, problem)


def read_tree(path: Path | str, data: bytes, metadata: Metadata) -> Tree:
    """Return the tree of the whole file ``data``."""
    records = array("I", [0]) * (2 * metadata.node_count)
    if records:
        # In place: what is freed between the sizes of the runs would tear holes into the heap.
        nodes = memoryview(data)[: metadata.tree_size]
        _UNPACKERS[metadata.record_size](nodes, memoryview(records).cast("B"))
    if sys.byteorder == "little":
        records.byteswap()
    return Tree(path, metadata, records)


def _unpack_24(nodes: memoryview, words: memoryview) -> None:
    for byte in range(3):
        words[byte + 1 :: 4] = nodes[byte::3]


def _unpack_28(nodes: memoryview, words: memoryview) -> None:
    shared = bytes(nodes[3::7])
    words[0::8], words[4::8] = shared.translate(_HIGH_NIBBLES), shared.translate(_LOW_NIBBLES)
    for byte in range(3):
        words[byte + 1 :: 8] = nodes[byte::7]
        words[byte + 5 :: 8] = nodes[byte + 4 :: 7]


def _unpack_32(nodes: memoryview, words: memoryview) -> None:
    words[:] = nodes


_UNPACKERS = {24: _unpack_24, 28: _unpack_28, 32: _unpack_32}
"""From nodes to big-endian words of 32 bits."""
