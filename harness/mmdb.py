"""MMDBs for tests, written from MaxMind's description of the format."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"

METADATA: dict[str, Any] = {
    "binary_format_major_version": 2,
    "binary_format_minor_version": 0,
    "build_epoch": 1_600_000_000,
    "database_type": "Test",
    "description": {"en": "made by a test"},
    "ip_version": 6,
    "languages": ["en", "zh-CN"],
}

_TYPES = {
    "binary_format_major_version": 5,
    "binary_format_minor_version": 5,
    "build_epoch": 9,
    "ip_version": 5,
    "record_size": 5,
}
"""Integers of the metadata that are uint16 or uint64."""


def head(kind: int, size: int) -> bytes:
    """Return the control byte of a value with what belongs to it."""
    bases = [(65821, 31, 3), (285, 30, 2), (29, 29, 1), (0, size, 0)]
    base, low, more = next(entry for entry in bases if size >= entry[0])
    first = bytes([kind << 5 | low]) if kind < 8 else bytes([low, kind - 7])
    return first + (size - base).to_bytes(more, "big") if more else first


def encode(value: Any) -> bytes:
    """Return a value; integers become uint32, or uint128 where that is too small."""
    if isinstance(value, dict):
        pairs = b"".join(encode(key) + encode(item) for key, item in value.items())
        return head(7, len(value)) + pairs
    if isinstance(value, list):
        return head(11, len(value)) + b"".join(map(encode, value))
    if isinstance(value, bool):
        return head(14, int(value))
    kind, data = _scalar(value)
    return head(kind, len(data)) + data


def _scalar(value: Any) -> tuple[int, bytes]:
    """Return the type and the bytes of a scalar."""
    match value:
        case str():
            return 2, value.encode()
        case bytes():
            return 4, value
        case float():
            return 3, struct.pack(">d", value)
        case _:
            data = value.to_bytes((value.bit_length() + 7) // 8, "big")
            return 6 if len(data) <= 4 else 10, data


def pointer(target: int) -> bytes:
    """Return the shortest pointer to an offset of the data section."""
    for length, base in enumerate((0, 2048, 526336)):
        if target - base < 1 << 3 + 8 * (length + 1):
            value = target - base
            top = value >> 8 * (length + 1)
            low = value & (1 << 8 * (length + 1)) - 1
            return bytes([1 << 5 | length << 3 | top]) + low.to_bytes(length + 1, "big")
    return b"\x38" + target.to_bytes(4, "big")


def node(left: int, right: int, record_size: int) -> bytes:
    """Return a node of the tree."""
    if record_size == 28:
        shared = left >> 24 << 4 | right >> 24
        return b"".join(
            (
                (left & 0xFFFFFF).to_bytes(3, "big"),
                bytes([shared]),
                (right & 0xFFFFFF).to_bytes(3, "big"),
            )
        )
    return b"".join(record.to_bytes(record_size // 8, "big") for record in (left, right))


def mmdb(
    nodes: Sequence[tuple[int, int]],
    data: bytes = b"",
    metadata: Mapping[str, Any] | None = None,
    record_size: int = 24,
) -> bytes:
    """Return a file; ``metadata`` replaces keys of it, or removes those that are None."""
    described = METADATA | {"node_count": len(nodes), "record_size": record_size}
    described = {
        key: value for key, value in (described | dict(metadata or {})).items() if value is not None
    }
    tree = b"".join(node(left, right, record_size) for left, right in nodes)
    return tree + bytes(16) + data + MARKER + _encode_metadata(described)


def _encode_metadata(described: Mapping[str, Any]) -> bytes:
    """Return the map with the integers' types of the specification: MaxMind's reader needs them."""
    pairs = b"".join(
        encode(key) + _typed(value, _TYPES.get(key)) for key, value in described.items()
    )
    return head(7, len(described)) + pairs


def _typed(value: Any, kind: int | None) -> bytes:
    data = encode(value)
    return data if kind is None or data[0] >> 5 != 6 else head(kind, len(data) - 1) + data[1:]


def of_records(records: Sequence[Any], metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return a file of IPv4: record 0 has 0.0.0.0/1, record 1 128.0.0.0/2, and so on."""
    count = len(records)
    values = [encode(record) for record in records]
    starts = [count + 16 + len(b"".join(values[:number])) for number in range(count)]
    nodes = [(start, number) for number, start in enumerate(starts, start=1)]
    return mmdb(nodes, b"".join(values), {"ip_version": 4} | dict(metadata or {}))
