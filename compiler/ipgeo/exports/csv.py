"""A blob as CSV: a table to read or to load."""

import csv
import io

from ipgeo.blob.reader import Blob
from ipgeo.exports.members import location_members
from ipgeo.ranges.address import format_ipv4


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
