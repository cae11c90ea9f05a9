"""The metadata of an MMDB."""

from typing import Any

import pytest

from harness.mmdb import MARKER, encode, head, mmdb
from ipgeo.errors import InputError
from ipgeo.sources.mmdb.metadata import METADATA_SIZE, read_metadata

NODES = [(1, 1)]


def file(**metadata: Any) -> bytes:
    return mmdb(NODES, metadata=metadata)


def test_the_metadata_say_where_the_sections_are() -> None:
    found = read_metadata("file", mmdb([(3, 3)] * 3, b"data", record_size=28))
    assert (found.database_type, found.build_epoch) == ("Test", 1_600_000_000)
    assert found.languages == ("en", "zh-CN")
    assert (found.ip_version, found.record_size, found.node_count) == (6, 28, 3)
    assert (found.node_size, found.tree_size, found.data_start, found.data_end) == (7, 21, 37, 41)


@pytest.mark.parametrize("missing", ["languages", "description", "binary_format_minor_version"])
def test_optional_metadata_may_be_missing(missing: str) -> None:
    assert read_metadata("file", file(**{missing: None})).node_count == 1


def test_unknown_keys_are_ignored() -> None:
    assert read_metadata("file", file(made_by={"name": [1, "x", True]})).node_count == 1


def test_an_integer_may_have_any_unsigned_type() -> None:
    data = file(build_epoch=1 << 80)  # uint128
    assert read_metadata("file", data).build_epoch == 1 << 80
    wide = data.replace(b"node_count\xc1\x01", b"node_count" + head(9, 8) + bytes(7) + b"\x01")
    assert wide != data
    assert read_metadata("file", wide).node_count == 1


def test_the_last_marker_counts() -> None:
    assert read_metadata("file", mmdb(NODES, MARKER + b"\xe0")).node_count == 1


def test_the_marker_is_near_the_end() -> None:
    metadata = file().split(MARKER)[1]
    room = METADATA_SIZE - len(MARKER) - len(metadata)
    assert read_metadata("file", file() + bytes(room)).node_count == 1
    with pytest.raises(InputError, match=r"file: offset \d+: no MaxMind DB"):
        read_metadata("file", file() + bytes(room + 1))


REFUSED = {
    "empty": (b"", "offset 0: no MaxMind DB"),
    "no map": (bytes(22) + MARKER + encode([1]), "offset 36 (metadata): not a map"),
    "other version": (file(binary_format_major_version=3), "major_version is 3, read is 2"),
    "record size": (file(record_size=20), "record_size is 20, read is 24 or 28 or 32"),
    "huge record size": (file(record_size=1 << 100), "record_size is 1267650600228229401496703205"),
    "ip version": (file(ip_version=5), "ip_version is 5, read is 4 or 6"),
    "boolean": (file(node_count=True), "node_count is True, not an unsigned integer"),
    "string": (file(node_count="1"), "node_count is '1', not an unsigned integer"),
    "double": (file(build_epoch=1.0), "build_epoch is 1.0, not an unsigned integer"),
    "type": (file(database_type=1), "database_type is 1, not a string"),
    "languages": (file(languages=["en", 1]), "languages is not an array of strings"),
    "languages as a string": (file(languages="en"), "languages is not an array of strings"),
    "too many nodes": (file(node_count=2), "node_count is 2, before the metadata is room for 1"),
    "far too many": (file(node_count=1 << 127), "before the metadata is room for 1"),
    "too few nodes": (mmdb([(9, 9)] * 9, metadata={"node_count": 8}), "no 16 zero bytes after"),
} | {
    f"no {key}": (file(**{key: None}), f"{key} is missing")
    for key in (
        "binary_format_major_version",
        "build_epoch",
        "database_type",
        "ip_version",
        "node_count",
        "record_size",
    )
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_format_does_not_allow_is_refused(name: str) -> None:
    data, expected = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read_metadata("file", data)
    assert str(caught.value).startswith("file: offset ")
    assert expected in str(caught.value)


def test_a_negative_integer_is_refused() -> None:
    data = file().replace(b"node_count\xc1\x01", b"node_count" + head(8, 4) + b"\xff" * 4)
    with pytest.raises(InputError, match="node_count is -1, not an unsigned integer"):
        read_metadata("file", data)
