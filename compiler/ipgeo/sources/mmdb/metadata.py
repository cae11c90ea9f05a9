"""What an MMDB says about itself: a map after the last marker, within the last 128 KiB."""

from dataclasses import dataclass
from pathlib import Path

from ipgeo.errors import InputError
from ipgeo.sources.mmdb.decode import Decoder, Value

MARKER = b"\xab\xcd\xefMaxMind.com"
"""What stands before the metadata."""

METADATA_SIZE = 128 << 10
"""Within how many bytes from the file's end the marker and the metadata lie."""

SEPARATOR_SIZE = 16
"""Zero bytes between the tree and the data section."""

MAJOR_VERSION = 2
RECORD_SIZES = (24, 28, 32)
"""Bits of a record of the tree. The spec allows other multiples of 4, which no writer makes."""

IP_VERSIONS = (4, 6)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata that matter, and the sections that follow from them.

    The tree has ``node_count`` nodes of two records of ``record_size`` bits each, from the file's
    beginning on. The data section is the bytes from ``data_start`` up to ``data_end`` (exclusive).
    ``build_epoch`` is Unix time.
    """

    database_type: str
    build_epoch: int
    languages: tuple[str, ...]
    ip_version: int
    record_size: int
    node_count: int
    data_end: int

    @property
    def node_size(self) -> int:
        """Bytes of a node."""
        return self.record_size // 4

    @property
    def tree_size(self) -> int:
        """Bytes of the tree."""
        return self.node_count * self.node_size

    @property
    def data_start(self) -> int:
        """Offset of the data section."""
        return self.tree_size + SEPARATOR_SIZE


def recognises(data: bytes) -> bool:
    """Whether the whole file ``data`` is an MMDB: it has the marker of the metadata."""
    return _find_marker(data) >= 0


def _find_marker(data: bytes) -> int:
    return data.rfind(MARKER, max(0, len(data) - METADATA_SIZE))


def read_metadata(path: Path | str, data: bytes) -> Metadata:
    """Return the metadata of the whole file ``data``.

    Keys that are not known are ignored, and integers may have any unsigned type. Raises InputError
    naming the key for what the format or this reader does not allow.
    """
    marker = _find_marker(data)
    if marker < 0:
        searched = max(0, len(data) - METADATA_SIZE)
        raise InputError(path, f"offset {searched}", "no MaxMind DB: no metadata from here on")
    start = marker + len(MARKER)
    values = _Values(path, start, Decoder(path, data[start:], start).decode(0))
    values.choice("binary_format_major_version", (MAJOR_VERSION,))
    metadata = Metadata(
        database_type=values.text("database_type"),
        build_epoch=values.integer("build_epoch"),
        languages=values.texts("languages"),
        ip_version=values.choice("ip_version", IP_VERSIONS),
        record_size=values.choice("record_size", RECORD_SIZES),
        node_count=values.integer("node_count"),
        data_end=marker,
    )
    _check_tree(path, data, metadata, values)
    return metadata


def _check_tree(path: Path | str, data: bytes, metadata: Metadata, values: "_Values") -> None:
    if metadata.data_start > metadata.data_end:
        count, room = metadata.node_count, max(0, metadata.data_end - SEPARATOR_SIZE)
        most = room // metadata.node_size
        raise values.error("node_count", f"is {count}, before the metadata is room for {most}")
    separator = data[metadata.tree_size : metadata.data_start]
    if any(separator):
        problem = f"no 16 zero bytes after a tree of {metadata.node_count} nodes"
        raise InputError(path, f"offset {metadata.tree_size}", problem)


class _Values:
    """The decoded metadata, which begin at offset ``start``."""

    def __init__(self, path: Path | str, start: int, values: Value) -> None:
        self._path = path
        self._position = f"offset {start} (metadata)"
        if not isinstance(values, dict):
            raise InputError(path, self._position, "not a map")
        self._values = values

    def error(self, key: str, problem: str) -> InputError:
        return InputError(self._path, self._position, f"{key} {problem}")

    def _required(self, key: str) -> Value:
        if key not in self._values:
            raise self.error(key, "is missing")
        return self._values[key]

    def integer(self, key: str) -> int:
        value = self._required(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(key, f"is {value!r:.40}, not an unsigned integer")
        return value

    def choice(self, key: str, allowed: tuple[int, ...]) -> int:
        value = self.integer(key)
        if value not in allowed:
            raise self.error(key, f"is {value}, read is {' or '.join(map(str, allowed))}")
        return value

    def text(self, key: str) -> str:
        value = self._required(key)
        if not isinstance(value, str):
            raise self.error(key, f"is {value!r:.40}, not a string")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of strings, which may be missing."""
        values = self._values.get(key, [])
        texts = [text for text in values if isinstance(text, str)] if type(values) is list else []
        if not isinstance(values, list) or len(texts) != len(values):
            raise self.error(key, "is not an array of strings")
        return tuple(texts)
