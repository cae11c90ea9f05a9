"""The content of a source: read whole from a file or from standard input, and unpacked."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ipgeo.errors import InputError
from ipgeo.files.reading import NotRegularError, open_regular, read_exactly, refuse_larger
from ipgeo.sources.packed import HEAD_SIZE, chunks_of, gathered, packing_of

STDIN = Path("-")
"""Standard input as the path of a source; a file of that name is another object."""

STDIN_DESCRIPTOR = 0

MAX_SIZE = 2 << 30
"""The most bytes that are read, packed or not: some times the largest edition of any format."""

MAX_PACKINGS = 2
"""How often a file may be packed: once, and once more in that."""


def content_name(path: Path) -> str:
    """Return what messages call the source at ``path``."""
    return "standard input" if path is STDIN else str(path)


def read_content(path: Path, limit: int = MAX_SIZE) -> bytes:
    """Return the whole content of the source ``path``, unpacked, at most ``limit`` bytes of it.

    ``path`` is a regular file, or STDIN for standard input: a regular file or a pipe, which is
    read to its end. Raises OSError for anything else, for a file that cannot be read and for one
    of more than ``limit`` bytes; InputError for packed content that cannot be unpacked.
    """
    name = content_name(path)
    with _opened(path, limit) as file:
        content = _layer(name, file, limit)
    for _ in range(1, MAX_PACKINGS):
        if packing_of(content):
            content = _layer(name, io.BytesIO(content), limit)
    if packing_of(content):
        raise InputError(name, "", f"packed more than {MAX_PACKINGS} times")
    return content


@contextmanager
def _opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    if path is STDIN:
        yield io.BytesIO(_read_stdin(limit))  # a pipe cannot be sought in, as zip needs it
    else:
        with open_regular(path) as file:
            refuse_larger(file, limit)
            yield file


def _read_stdin(limit: int) -> bytes:
    name = content_name(STDIN)
    mode = os.fstat(STDIN_DESCRIPTOR).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        raise NotRegularError(errno.EINVAL, "neither a regular file nor a pipe", name)
    with open(STDIN_DESCRIPTOR, "rb", closefd=False) as file:
        return gathered(name, "", chunks_of(file.read), limit)


def _layer(name: str, file: BinaryIO, limit: int) -> bytes:
    """Return the content of a file that can be sought in, unpacked once if it is packed."""
    packing = packing_of(file.read(HEAD_SIZE))
    if not packing:
        return read_exactly(file, file.seek(0, io.SEEK_END))
    file.seek(0)
    return packing.unpack(name, file, limit)
