"""The formats that a blob is exported to, by name."""

from collections.abc import Callable

from ipgeo.blob.reader import Blob
from ipgeo.exports.csv import export_csv
from ipgeo.exports.mmdb import export_mmdb

FORMATS: dict[str, Callable[[Blob, int], bytes]] = {"mmdb": export_mmdb, "csv": export_csv}
"""What a format's name stands for."""
