"""The records of an export: a row's members by name.

A record is the object answer without its ``ip``. MMDB leaves out a member that is null, which it
does not know; CSV has an empty cell. Addresses without data are in neither.
"""

from collections.abc import Iterator

from ipgeo.blob.members import Value
from ipgeo.blob.reader import Blob


def row_values(blob: Blob) -> Iterator[tuple[Value, ...]]:
    """Yield the values of every row, in the order of the blob's fields."""
    return zip(*map(blob.member, blob.fields), strict=True)
