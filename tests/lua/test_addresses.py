"""Addresses as text, read and written by the edge, under plain luajit."""

import random
from ipaddress import IPv6Address

import pytest

from harness import luajit

MAPPED = 0xFFFF << 32
NAT64 = 0x64FF9B << 96
IPV6 = ["-1", "0"]


def _parse(*texts: str) -> list[list[str]]:
    """Parse texts; return for each what tests/lua/addresses.lua prints."""
    out = luajit.fed("addresses.lua", "".join(f"{text}\n" for text in texts))
    return [line.split("\t") for line in out.splitlines()]


def _canonical(number: int) -> str:
    """Return RFC 5952's text: Python's, but for the dotted end."""
    if number >> 32 == 0xFFFF:
        return "::ffff:" + ".".join(map(str, (number & 0xFFFFFFFF).to_bytes(4, "big")))
    return IPv6Address(number).compressed


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0000:0001:0000:0000:0000:0001", "2001:db8:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("::102:304", "::102:304"),
        ("::1.2.3.4", "::102:304"),
        ("::fffe:1.2.3.4", "::fffe:102:304"),
        ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
        ("64:ff9b:1::1.2.3.4", "64:ff9b:1::102:304"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", ":".join(["ffff"] * 8)),
    ],
)
def test_ipv6(text: str, canonical: str) -> None:
    number = int(IPv6Address(text))
    assert _parse(text) == [[*IPV6, canonical, f"{number:032x}"]]


@pytest.mark.parametrize(
    ("text", "canonical", "number"),
    [
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4", MAPPED | 0x01020304),
        ("::FFFF:102:304", "::ffff:1.2.3.4", MAPPED | 0x01020304),
        ("0:0:0:0:0:ffff:0102:0304", "::ffff:1.2.3.4", MAPPED | 0x01020304),
        ("::ffff:0:0", "::ffff:0.0.0.0", MAPPED),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304", NAT64 | 0x01020304),
        ("64:ff9b::ffff:ffff", "64:ff9b::ffff:ffff", NAT64 | 0xFFFFFFFF),
        ("64:ff9b::", "64:ff9b::", NAT64),
    ],
)
def test_an_ipv4_address_inside(text: str, canonical: str, number: int) -> None:
    halves = [str(number >> 16 & 0xFFFF), str(number & 0xFFFF)]
    assert _parse(text) == [[*halves, canonical, f"{number:032x}"]]


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::"),
        *("::1%lo", "fe80::1%1", "[::1]", "::1/128", " ::1", "::1 ", "::ffff:010.0.0.1"),
        *("::ffff:1.2.3", "::ffff:1.2.3.256", "1.2.3.4::", "1.2.3", "01.2.3.4", "1.2.3.4.5"),
        "::1\0",
        "0" * 46,
    ],
)
def test_no_address(text: str) -> None:
    assert _parse(text) == [["nil", "nil"]]


def test_ipv4() -> None:
    assert _parse("1.2.3.4", "255.255.255.255") == [["258", "772"], ["65535", "65535"]]


def test_each_address_is_read_and_written() -> None:
    """With each set of groups that are zero, and groups of each length."""
    chance = random.Random(1)
    numbers = [
        sum(
            (chance.randrange(1, 1 << 16) >> chance.randrange(16) or 1) << 16 * group
            for group in range(8)
            if zeros >> group & 1 == 0
        )
        for zeros in range(256)
        for _ in range(20)
    ]
    numbers += [MAPPED | chance.getrandbits(32) for _ in range(100)]
    found = _parse(*(IPv6Address(number).exploded for number in numbers))
    assert [line[2:] for line in found] == [[_canonical(n), f"{n:032x}"] for n in numbers]
