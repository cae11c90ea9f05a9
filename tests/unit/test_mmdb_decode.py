"""Values of an MMDB: every type, every limit."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.mmdb import encode, head, pointer
from ipgeo.errors import InputError
from ipgeo.sources.mmdb.decode import MAX_DEPTH, MAX_WEIGHT, Decoder

BASE = 1000
"""Where the section begins in the file."""


def decode(section: bytes, offset: int = 0) -> Any:
    return Decoder("file", section, BASE).decode(offset)


def refusal(section: bytes, offset: int = 0) -> str:
    with pytest.raises(InputError) as caught:
        decode(section, offset)
    return str(caught.value)


VALUES = st.recursive(
    st.booleans()
    | st.integers(0, (1 << 128) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=400)
    | st.binary(max_size=400),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(), inner, max_size=40),
    max_leaves=40,
)


@given(VALUES)
def test_a_value_is_what_was_encoded(value: Any) -> None:
    found = decode(encode(value))
    assert found == value
    assert repr(found) == repr(value)  # True is no 1


TYPES = {
    "uint16": (head(5, 2) + b"\x01\x02", 0x0102),
    "uint32 without bytes": (head(6, 0), 0),
    "uint64": (head(9, 8) + b"\xff" * 8, (1 << 64) - 1),
    "uint128": (head(10, 16) + b"\xff" * 16, (1 << 128) - 1),
    "int32": (head(8, 4) + b"\xff\xff\xff\xfe", -2),
    "a short int32": (head(8, 1) + b"\xff", 255),
    "float": (head(15, 4) + struct.pack(">f", 0.5), 0.5),
    "string of 28": (head(2, 28) + b"a" * 28, "a" * 28),
    "string of 29": (head(2, 29) + b"a" * 29, "a" * 29),
    "string of 285": (head(2, 285) + b"a" * 285, "a" * 285),
    "string of 65820": (head(2, 65820 - 300) + b"a" * (65820 - 300), "a" * (65820 - 300)),
}


@pytest.mark.parametrize("name", TYPES)
def test_each_type_is_read(name: str) -> None:
    data, value = TYPES[name]
    assert decode(data) == value


def test_a_long_size_has_three_bytes() -> None:
    assert refusal(head(2, 70_000)).startswith(f"file: offset {BASE + 4}: 70000 bytes")


@pytest.mark.parametrize("target", [0, 2047, 2048, 526_335, 526_336, 134_744_063, 134_744_064])
def test_a_pointer_counts_from_the_section(target: int) -> None:
    data = encode("x").rjust(target + 2, b"\0") if target < 1 << 20 else b""
    sizes = {0: 2, 2047: 2, 2048: 3, 526_335: 3, 526_336: 4, 134_744_063: 4}
    assert len(pointer(target)) == sizes.get(target, 5)
    if data:
        assert decode(data + pointer(target), target + 2) == "x"
    else:
        assert f"a pointer to {BASE + target} passes" in refusal(pointer(target))


def test_a_key_may_be_a_pointer_and_targets_are_shared() -> None:
    shared = encode({"en": "Sea"})
    section = encode("names") + shared
    names = pointer(0) + pointer(len(encode("names")))
    section += b"".join((head(11, 2), head(7, 1), names, head(7, 1), names))
    found = decode(section, len(encode("names")) + len(shared))
    assert found == [{"names": {"en": "Sea"}}, {"names": {"en": "Sea"}}]
    assert found[0]["names"] is found[1]["names"]


REFUSED = {
    "nothing": (b"", f"offset {BASE}: the data end inside a value"),
    "string past the end": (head(2, 5) + b"abcd", f"offset {BASE + 1}: 5 bytes pass the end"),
    "size past the end": (b"\x5e\x00", f"offset {BASE + 1}: 2 bytes pass the end"),
    "array past the end": (head(11, 9) + b"\xa0" * 8, f"offset {BASE}: 9 elements pass the end"),
    "array that ends early": (head(11, 2) + head(2, 1) + b"a", "the data end inside a value"),
    "UTF-8 in a value": (head(2, 2) + b"a\xff", f"offset {BASE + 2}: a string that is not UTF-8"),
    "surrogates": (head(2, 3) + b"\xed\xa0\x80", "not UTF-8"),
    "UTF-8 in a key": (head(7, 1) + head(2, 1) + b"\xff\xa0", f"offset {BASE + 2}: a string that"),
    "key that is a number": (head(7, 1) + b"\xa0\xa0", f"offset {BASE + 1}: a map's key"),
    "key that points to a number": (head(7, 1) + b"\x20\x04\xa0\xa0", "a map's key"),
    "container": (b"\x00\x05", f"offset {BASE}: a value of type 12"),
    "end marker": (b"\x00\x06", "a value of type 13"),
    "type 7 extended": (b"\x00\x00", "a value of type 7"),
    "type 16": (b"\x00\x09", "a value of type 16"),
    "uint16 of 3": (head(5, 3) + b"abc", "an integer of 3 bytes, its type has 2"),
    "uint128 of 17": (head(10, 17) + b"a" * 17, "an integer of 17 bytes"),
    "double of 4": (head(3, 4) + b"abcd", "a floating-point number of 4 bytes"),
    "float of 8": (head(15, 8) + b"a" * 8, "a floating-point number of 8 bytes"),
    "boolean of 2": (head(14, 2), "a boolean of 2"),
    "pointer past the end": (b"\x20\x02", f"offset {BASE}: a pointer to {BASE + 2} passes"),
    "cut pointer": (b"\x30\x00", "passes the end"),
    "pointer to a pointer": (b"\x20\x02\x20\x04\xa0", f"a pointer to the pointer at {BASE + 2}"),
    "pointer to itself in an array": (head(11, 1) + b"\x20\x00", "pointers make a circle"),
    "cycle of two": (head(11, 1) + b"\x20\x04" + head(11, 1) + b"\x20\x00", "make a circle"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_the_format_is_refused_with_its_offset(name: str) -> None:
    section, expected = REFUSED[name]
    message = refusal(section)
    assert message.startswith("file: offset ")
    assert expected in message


def nested(levels: int) -> bytes:
    return head(11, 1) * levels + encode("x")


def test_nesting_has_a_limit() -> None:
    assert decode(nested(MAX_DEPTH))
    assert "nested deeper" in refusal(nested(MAX_DEPTH + 1))
    assert "nested deeper" in refusal((head(7, 1) + head(2, 0)) * 100_000 + encode("x"))


def test_nesting_counts_what_was_decoded_before() -> None:
    half = nested(300)
    section = half + head(11, 1) * 300 + pointer(0)
    decoder = Decoder("file", section + pointer(0), BASE)
    decoder.decode(len(section))
    with pytest.raises(InputError, match="nested deeper"):
        decoder.decode(len(half))


def laughs(levels: int) -> tuple[bytes, int]:
    """Arrays of ten pointers, each to the array before it, and the offset of the last one."""
    section, last = encode("ha"), 0
    for _ in range(levels):
        array = head(11, 10) + pointer(last) * 10
        last = len(section)
        section += array
    return section, last


def test_shared_values_do_not_explode() -> None:
    section, last = laughs(3)
    assert decode(section, last)[0][0][0] == "ha"
    section, last = laughs(100)
    assert f"a record of more than {MAX_WEIGHT} values" in refusal(section, last)


def test_a_long_string_weighs_each_time() -> None:
    string = encode("x" * 30_000)
    section = string + head(11, 2) + pointer(0) * 2
    assert len(decode(section, len(string))[1]) == 30_000
    section = string + head(11, 3) + pointer(0) * 3
    assert "a record of more than" in refusal(section, len(string))


def test_values_that_overlap_are_not_decoded_without_end() -> None:
    section = (head(11, 1) * 400 + encode("x")) * 250
    decoder = Decoder("file", section, BASE)
    with pytest.raises(InputError, match="values overlap"):
        list(map(decoder.decode, range(0, len(section), 2)))
