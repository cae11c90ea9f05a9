"""The content of a source: read whole."""

from pathlib import Path

from ipgeo.files.reading import read_regular

MAX_SIZE = 2 << 30
"""The most bytes that are read: some times the largest edition of any format."""


def content_name(path: Path) -> str:
    """Return what messages call the source at ``path``."""
    return str(path)


def read_content(path: Path) -> bytes:
    """Return the whole content of a source.

    Raises OSError if it cannot be read, or is no regular file.
    """
    return read_regular(path, MAX_SIZE)
