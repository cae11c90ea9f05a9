"""A blob as CSV: a table to read or to load."""

import csv
import io

from ipgeo.blob.members import Value
from ipgeo.blob.reader import Blob
from ipgeo.exports.members import row_values
from ipgeo.places.coordinates import shortest
from ipgeo.ranges.address import FAMILIES, format_address


def export_csv(blob: Blob, _built: int = 0) -> bytes:
    """Return the blob as CSV (RFC 4180, UTF-8, LF): a row for each run, addresses inclusive.

    The runs of IPv4 come first, then those of IPv6. Numbers have no exponent, booleans are ``true``
    and ``false``.
    """
    cells = [[*map(_cell, values)] for values in row_values(blob)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["first", "last", *blob.fields])
    for family in FAMILIES:
        writer.writerows(
            [format_address(family, first), format_address(family, last), *cells[row]]
            for first, last, row in blob.spans(family)
            if row is not None
        )
    return text.getvalue().encode()


def _cell(value: Value) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"
    return shortest(value) if isinstance(value, float) else value
