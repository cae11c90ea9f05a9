"""The layout of a blob: what its writer, its reader and its checks know of the bytes.

docs/blob-format.md describes it; lua/ipgeo/blob/ reads the same bytes. All integers are
little-endian and unsigned, all sections begin at a multiple of 8.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

MAGIC = b"\x89IPGEO\r\n"
LAYOUT = 2

HEADER = struct.Struct("<8sIIQI4x16s16x")  # magic, layout, sections, size, crc, build id
CRC_AT, BUILD_ID_AT, BUILD_ID_SIZE = 24, 32, 16
SECTION = struct.Struct("<8sQQ")  # tag, offset, length: both in bytes

MAX_SIZE = 0x7FFFFFFF
"""The largest blob in bytes that every reader takes."""

ALIGN = 8
BUCKETS = 1 << 16

META, SHAPE, ROW, OFFSET, HEAP = "meta", "shape", "row", "offset", "heap"
V4_INDEX, V4_LOW, V4_RECORD = "v4index", "v4low", "v4record"
V6_INDEX, V6_HIGH, V6_LOW, V6_RECORD = "v6index", "v6high", "v6low", "v6record"
REQUIRED = (META, V4_INDEX, V4_LOW, V4_RECORD, SHAPE, OFFSET, HEAP)
V6_SECTIONS = (V6_INDEX, V6_HIGH, V6_LOW, V6_RECORD)
"""There together, or not at all."""


@dataclass(frozen=True, slots=True)
class Section:
    """One row of the section table; ``offset`` and ``length`` in bytes."""

    tag: str
    offset: int
    length: int


def checksum(blob: bytes | bytearray | memoryview) -> int:
    """Return the CRC-32 that belongs to the content of ``blob``, build id included."""
    view = memoryview(blob)
    crc = zlib.crc32(bytes(4), zlib.crc32(view[:CRC_AT]))
    return zlib.crc32(view[CRC_AT + 4 :], crc)


def build_id(blob: bytes | bytearray | memoryview) -> bytes:
    """Return the build id that belongs to the content of ``blob``."""
    view = memoryview(blob)
    digest = hashlib.sha256(view[:CRC_AT])
    digest.update(bytes(4))
    digest.update(view[CRC_AT + 4 : BUILD_ID_AT])
    digest.update(bytes(BUILD_ID_SIZE))
    digest.update(view[BUILD_ID_AT + BUILD_ID_SIZE :])
    return digest.digest()[:BUILD_ID_SIZE]


def seal(blob: bytes) -> bytes:
    """Return ``blob`` with the build id and the checksum that belong to its content."""
    sealed = bytearray(blob)
    sealed[BUILD_ID_AT : BUILD_ID_AT + BUILD_ID_SIZE] = build_id(sealed)
    struct.pack_into("<I", sealed, CRC_AT, checksum(sealed))
    return bytes(sealed)
