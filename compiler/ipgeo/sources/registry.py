"""The formats that a source may have, one reader each: a new format is a module and a line here."""

from collections.abc import Callable
from pathlib import Path

from ipgeo.places.location import Source
from ipgeo.sources.dat import FORMAT as DAT
from ipgeo.sources.dat import read_dat

READERS: dict[str, Callable[[Path], Source]] = {DAT: read_dat}
"""By the format's name in a blob's metadata."""


def read_source(path: Path, name: str = DAT) -> Source:
    """Read and check a whole source that has the format ``name``.

    Raises InputError, naming the place, for a file that breaks its format, and OSError for one that
    cannot be read.
    """
    return READERS[name](path)
