"""IPv4 and IPv6 addresses as text and as numbers."""

import socket
from dataclasses import dataclass
from typing import NamedTuple

from ipgeo.contract import MAX_ADDRESS_BYTES

ADDRESS_COUNT = 1 << 32
LAST_ADDRESS = ADDRESS_COUNT - 1

EMBEDDING = (0xFFFF << 32, 0x64FF9B << 96)
"""The first addresses of ::ffff:0:0/96 (mapped) and 64:ff9b::/96 (NAT64, RFC 6052)."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A family of addresses, which are numbers of ``bits`` bits.

    The two below are the only ones, and are compared by identity.

    Ranges are weighed in units of 2^``unit_bits`` addresses, which ``units`` names: IPv4 by the
    address, IPv6 by the /48, the network that a site gets.
    """

    name: str
    bits: int
    unit_bits: int
    units: str

    @property
    def last(self) -> int:
        """The last address."""
        return (1 << self.bits) - 1

    @property
    def unit_count(self) -> int:
        """How many units there are in all."""
        return 1 << self.bits - self.unit_bits

    def weigh(self, first: int, last: int) -> int:
        """Return the units whose first address is in a range (both ends inclusive).

        So the weights of ranges that lie side by side add up.
        """
        before_unit = (1 << self.unit_bits) - 1
        return (last >> self.unit_bits) + 1 - (first + before_unit >> self.unit_bits)


IPV4 = Family("IPv4", 32, 0, "addresses")
IPV6 = Family("IPv6", 128, 80, "/48 networks")
FAMILIES = (IPV4, IPV6)


def parse_ipv4(text: str) -> int | None:
    """Return ``text`` as a number in 0..2^32-1, or None unless it is strict dotted decimal.

    Strict: four decimal octets without sign, space, leading zero or anything after them.
    """
    return _parse(socket.AF_INET, text)


def parse_ipv6(text: str) -> int | None:
    """Return ``text`` as a number in 0..2^128-1, or None unless it is a text of RFC 4291.

    There is no zone (``%eth0``), no prefix length and no group of more than four digits.
    """
    return _parse(socket.AF_INET6, text)


def _parse(kind: socket.AddressFamily, text: str) -> int | None:
    if len(text) > MAX_ADDRESS_BYTES:
        return None
    try:
        return int.from_bytes(socket.inet_pton(kind, text), "big")
    except (OSError, ValueError):  # ValueError: a NUL or a character outside ASCII
        return None


def format_ipv4(address: int) -> str:
    """Return the dotted decimal form of ``address`` (0..2^32-1)."""
    return socket.inet_ntop(socket.AF_INET, address.to_bytes(4, "big"))


def format_ipv6(address: int) -> str:
    """Return the form of RFC 5952 of ``address`` (0..2^128-1); ::ffff:0:0/96 has a dotted tail."""
    if 0xFFFF < address <= LAST_ADDRESS:  # inet_ntop gives ::/96 a dotted tail too
        return f"::{address >> 16:x}:{address & 0xFFFF:x}"
    return socket.inet_ntop(socket.AF_INET6, address.to_bytes(16, "big"))


def format_address(family: Family, address: int) -> str:
    """Return the form of ``address`` that its family has."""
    return format_ipv4(address) if family == IPV4 else format_ipv6(address)


class Address(NamedTuple):
    """An address of either family."""

    family: Family
    number: int

    def __str__(self) -> str:
        return format_address(self.family, self.number)

    @property
    def answering(self) -> "Address":
        """The address that answers for this one.

        Of ::ffff:0:0/96 and 64:ff9b::/96 that is the IPv4 address in the low 32 bits.
        """
        if self.family == IPV6 and self.number & ~LAST_ADDRESS in EMBEDDING:
            return Address(IPV4, self.number & LAST_ADDRESS)
        return self


def parse_address(text: str) -> Address | None:
    """Return the address that ``text`` is, or None if it is none."""
    family, parse = (IPV6, parse_ipv6) if ":" in text else (IPV4, parse_ipv4)
    number = parse(text)
    return None if number is None else Address(family, number)
