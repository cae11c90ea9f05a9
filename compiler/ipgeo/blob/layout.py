"""The layout of a blob: what its writer, its reader and its checks know of the bytes.

docs/blob-format.md describes it; lua/ipgeo/blob/ reads the same bytes. All integers are
little-endian and unsigned, all sections begin at a multiple of 8.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

MAGIC = b"\x89IPGEO\r\n"
LAYOUT = 1

HEADER = struct.Struct("<8sIIQI4x16s16x")  # magic, layout, sections, size, crc, build id
CRC_AT, _BUILD_ID_AT, BUILD_ID_SIZE = 24, 32, 16
SECTION = struct.Struct("<8sQQ")  # tag, offset, length: both in bytes

MAX_SIZE = 0x7FFFFFFF
"""The largest blob in bytes that every reader takes."""

ALIGN = 8
BUCKETS = 1 << 16

META, INDEX, LOW, RECORD = b"meta", b"v4index", b"v4low", b"v4record"
OFFSET, HEAP = b"offset", b"heap"
REQUIRED = (META, INDEX, LOW, RECORD, OFFSET, HEAP)


@dataclass(frozen=True, slots=True)
class Section:
    """One row of the section table; ``offset`` and ``length`` in bytes."""

    tag: str
    offset: int
    length: int


def seal(blob: bytes) -> bytes:
    """Return ``blob`` with the build id and the checksum that belong to its content."""
    sealed = bytearray(blob)
    sealed[CRC_AT : CRC_AT + 4] = bytes(4)
    sealed[_BUILD_ID_AT : _BUILD_ID_AT + BUILD_ID_SIZE] = bytes(BUILD_ID_SIZE)
    digest = hashlib.sha256(sealed).digest()[:BUILD_ID_SIZE]
    sealed[_BUILD_ID_AT : _BUILD_ID_AT + BUILD_ID_SIZE] = digest
    struct.pack_into("<I", sealed, CRC_AT, zlib.crc32(sealed))
    return bytes(sealed)
