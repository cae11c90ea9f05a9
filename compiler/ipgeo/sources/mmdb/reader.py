"""A whole MMDB: the runs of both families, and the records that they have."""

import hashlib
import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ipgeo.places.location import NO_DATA
from ipgeo.ranges.columns import Runs4, Runs6
from ipgeo.sources.mmdb.decode import Decoder, Value
from ipgeo.sources.mmdb.metadata import SEPARATOR_SIZE, Metadata, read_metadata
from ipgeo.sources.mmdb.tree import Tree, read_tree

FORMAT = "mmdb"
"""The format's name in a blob's metadata."""


class Records:
    """The records of a file, each decoded when it is asked for: all at once are much memory.

    Two records are different data of the file, but may be equal. They share what they have in
    common: never change one. Iterating raises InputError at a record that breaks the format.
    """

    def __init__(self, decoder: Decoder, offsets: "array[int]") -> None:
        """Take the records at these ``offsets``, in bytes of the decoder's section."""
        self._decoder = decoder
        self._offsets = offsets

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._offsets)

    def __iter__(self) -> Iterator[Value]:
        """Yield all records by number."""
        return map(self._decoder.decode, self._offsets)

    def __getitem__(self, number: int) -> Value:
        """Return record ``number``."""
        return self._decoder.decode(self._offsets[number])

    def position(self, number: int) -> str:
        """Return where record ``number`` is in the file, for an error."""
        return f"offset {self._decoder.base + self._offsets[number]} (record {number})"


@dataclass(frozen=True, slots=True)
class MmdbFile:
    """An MMDB that has been read whole and found valid.

    ``v4`` has all 2^32 addresses, ``v6`` all 2^128; it is None for a file of IPv4 alone. Their ids
    are indexes into ``records``, or ``NO_DATA``; neighbours differ. ``v6`` has no data in
    ``::/96``, which is IPv4, nor in IPv4's aliases. ``facts`` describes the file for the blob's
    metadata. ``languages`` are those of names, as the metadata list them.
    """

    path: Path | str
    facts: dict[str, str | int]
    languages: tuple[str, ...]
    v4: Runs4
    v6: Runs6 | None
    records: "Records"


def parse(path: Path | str, data: bytes) -> MmdbFile:
    """Read and check the whole content ``data`` of the file ``path``.

    Raises InputError, naming the offset, for one that breaks the format in any way that could
    change an answer; a record that does, when it is decoded.
    """
    metadata = read_metadata(path, data)
    tree = read_tree(path, data, metadata)
    section = data[metadata.data_start : metadata.data_end]
    v4, networks = tree.walk_ipv4()
    v6 = None
    if metadata.ip_version == 6:
        v6, more = tree.walk_ipv6()
        networks += more
    facts = _facts(data, metadata, networks)
    del data  # as large as all of the runs: a caller that keeps no name of it has the memory back
    offsets = _number_records(tree, v4.ids, v6.ids if v6 else array("I"))
    del tree
    records = Records(Decoder(path, section, metadata.data_start), offsets)
    return MmdbFile(path, facts, metadata.languages, v4, v6, records)


def _facts(data: bytes, metadata: Metadata, networks: int) -> dict[str, str | int]:
    return {
        "format": FORMAT,
        "database_type": metadata.database_type,
        "build_epoch": metadata.build_epoch,
        "ip_version": metadata.ip_version,
        "record_size": metadata.record_size,
        "node_count": metadata.node_count,
        "records": networks,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _number_records(tree: Tree, *families: "array[int]") -> "array[int]":
    """Put numbers of records, or ``NO_DATA``, in the place of the tree's records.

    Returns the offsets in the data section, by the records' numbers.
    """
    no_data = tree.metadata.node_count
    found = dict.fromkeys(itertools.chain(*families), NO_DATA)
    tree.check_records(found)
    offsets = array(
        "Q", (record - no_data - SEPARATOR_SIZE for record in found if record != no_data)
    )
    for number, offset in enumerate(offsets):
        found[no_data + SEPARATOR_SIZE + offset] = number
    for ids in families:
        ids[:] = array("I", map(found.__getitem__, ids))
    return offsets
