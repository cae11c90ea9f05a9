"""Packed files: gzip, xz and zip, recognised by their first bytes."""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from ipgeo.errors import InputError

HEAD_SIZE = 6
"""How many bytes tell whether a file is packed."""

CHUNK = 1 << 20
"""Bytes that are read or unpacked at a time."""

MAX_NAMES_SHOWN = 5

_ENCRYPTED = 0x1
"""The bit of a zip member's flags."""

_DAMAGE = (
    OSError,  # gzip's and bzip2's errors are among them, and a seek to before the beginning
    EOFError,
    ValueError,
    RuntimeError,  # NotImplementedError among them: a method of packing that is not known
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
"""What the standard library raises for damaged packed files."""


@dataclass(frozen=True, slots=True)
class Packing:
    """A way to pack files, whose first bytes are one of ``marks``.

    ``chunks(source, file)`` yields the unpacked content; ``source`` names the file in errors.
    """

    name: str
    marks: tuple[bytes, ...]
    chunks: Callable[[str, BinaryIO], Iterable[bytes]]

    def unpack(self, source: str, file: BinaryIO, limit: int) -> bytes:
        """Return the whole content of ``file``, which is at its beginning.

        Raises InputError if that has more than ``limit`` bytes, or the file is damaged, truncated
        or encrypted, or holds not exactly one file.
        """
        try:
            return gathered(source, f"unpacked from {self.name}", self.chunks(source, file), limit)
        except _DAMAGE as error:
            problem = f"damaged or truncated {self.name}: {error}"
            raise InputError(source, "", problem) from None


def packing_of(content: bytes) -> Packing | None:
    """Return how a file is packed, by its first bytes; None if it is not."""
    return next((known for known in PACKINGS if content.startswith(known.marks)), None)


def gathered(source: str, position: str, chunks: Iterable[bytes], limit: int) -> bytes:
    """Return chunks joined. Raises InputError as soon as they have more than ``limit`` bytes."""
    content = io.BytesIO()  # grows in place, and gives its bytes away without a copy
    for chunk in chunks:
        content.write(chunk)
        if content.tell() > limit:
            raise InputError(source, position, f"more than {limit} bytes, the limit")
    return content.getvalue()


def chunks_of(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield what a file's ``read`` returns, until its end."""
    return iter(partial(read, CHUNK), b"")


def _gzip_chunks(_source: str, file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all members, their checksums checked."""
    with gzip.GzipFile(fileobj=file) as unpacked:
        yield from chunks_of(unpacked.read)


def _xz_chunks(_source: str, file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all streams. Unlike lzma.LZMAFile, this skips no damaged stream."""
    data = file.read(CHUNK)
    while data:
        rest = yield from _stream_chunks(file, data)
        data = _after_padding(file, rest)


def _stream_chunks(file: BinaryIO, data: bytes) -> Generator[bytes, None, bytes]:
    """Yield the content of a stream that begins with ``data``; return what is read after it."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    while not stream.eof:
        yield stream.decompress(data, CHUNK)
        data = b""
        if stream.needs_input and not stream.eof:
            data = file.read(CHUNK)
            if not data:
                raise EOFError("it ends inside a stream")
    return stream.unused_data


def _after_padding(file: BinaryIO, data: bytes) -> bytes:
    """Return what follows zero bytes, nothing at the file's end."""
    while not (data := data.lstrip(b"\0")):
        data = file.read(CHUNK)
        if not data:
            break
    return data


def _zip_chunks(source: str, file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of the only file inside, its checksum checked. Raises InputError."""
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        if len(members) != 1:
            problem = f"{_described(members)}; a zip with one file is read"
            raise InputError(source, "zip", problem)
        if members[0].flag_bits & _ENCRYPTED:
            raise InputError(source, "zip", f"{members[0].filename} is encrypted")
        with archive.open(members[0]) as unpacked:
            yield from chunks_of(unpacked.read)


def _described(members: list[zipfile.ZipInfo]) -> str:
    names = ", ".join(member.filename for member in members[:MAX_NAMES_SHOWN])
    more = len(members) - MAX_NAMES_SHOWN
    return f"{len(members)} files inside: {names}{f' and {more} more' if more > 0 else ''}"


PACKINGS = (
    Packing("gzip", (b"\x1f\x8b",), _gzip_chunks),
    Packing("xz", (b"\xfd7zXZ\0",), _xz_chunks),
    Packing("zip", (b"PK\3\4", b"PK\5\6"), _zip_chunks),  # the second mark is of one without files
)
