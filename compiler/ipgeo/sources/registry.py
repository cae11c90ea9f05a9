"""The formats that a source may have. A new one is a module and a line here."""

from collections.abc import Callable
from pathlib import Path

from ipgeo.places.location import Source
from ipgeo.sources import dat

READERS: dict[str, Callable[[Path], Source]] = {dat.FORMAT: dat.read_dat}
"""By the format's name: in a blob's metadata, and in `--source-format`."""


DEFAULT = dat.FORMAT


def read_source(path: Path, name: str = DEFAULT) -> Source:
    """Read and check a whole source that has the format ``name``.

    Raises InputError, naming the place, for a file that breaks its format, and OSError for one that
    cannot be read.
    """
    return READERS[name](path)
