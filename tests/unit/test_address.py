"""Addresses of both families as text, and how ranges are weighed."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipgeo.ranges.address import IPV4, IPV6, Address, format_ipv6, parse_address

UNIT = 1 << 80


@given(st.integers(0, IPV6.last) | st.integers(0, 1 << 40) | st.just(0xFFFF << 32))
def test_ipv6_is_read_as_it_is_written(address: int) -> None:
    text = format_ipv6(address)
    assert parse_address(text) == Address(IPV6, address)
    assert int(ipaddress.IPv6Address(text)) == address


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("::0.0.0.1", "::1"),
        ("::1.2.3.4", "::102:304"),
        ("::1:0", "::1:0"),
        ("::ffff:102:304", "::ffff:1.2.3.4"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_the_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_address(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":::", "::1%lo", "::1/128", "[::1]", " ::1", "::1 ", "1::2::3", "::12345"),
        *("1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1.2.3", "::01.2.3.4", "::g", "::1\0", "::１"),
        *("0:" * 30, "1.2.3.4:80", "01.2.3.4", "1.2.3", "256.0.0.0"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "answering"),
    [
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("64:ff9b::1.2.3.4", "1.2.3.4"),
        ("::1.2.3.4", "::102:304"),
        ("2002:102:304::", "2002:102:304::"),
        ("64:ff9b:0:0:0:1:102:304", "64:ff9b::1:102:304"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_which_address_answers(text: str, answering: str) -> None:
    address = parse_address(text)
    assert address
    assert str(address.answering) == answering


@pytest.mark.parametrize(
    ("first", "last", "weight"),
    [
        (0, IPV6.last, 1 << 48),
        (0, UNIT - 1, 1),
        (0, 0, 1),
        (1, UNIT - 1, 0),
        (1, UNIT, 1),
        (5 * UNIT, 7 * UNIT, 3),
    ],
)
def test_ipv6_is_weighed_by_the_48(first: int, last: int, weight: int) -> None:
    assert IPV6.weigh(first, last) == weight


def test_ipv4_is_weighed_by_the_address() -> None:
    assert IPV4.weigh(5, 9) == 5
    assert IPV4.weigh(0, IPV4.last) == IPV4.unit_count == 1 << 32


@given(st.lists(st.integers(1, IPV6.last) | st.integers(1, 1 << 83), unique=True))
def test_weights_add_up(cuts: list[int]) -> None:
    starts = [0, *sorted(cuts)]
    ends = [*starts[1:], IPV6.last + 1]
    weights = [IPV6.weigh(a, b - 1) for a, b in zip(starts, ends, strict=True)]
    assert sum(weights) == IPV6.unit_count
