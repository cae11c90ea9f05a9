"""IPv4 addresses as text and as numbers."""

import socket

from ipgeo.contract import MAX_ADDRESS_BYTES

ADDRESS_COUNT = 1 << 32
LAST_ADDRESS = ADDRESS_COUNT - 1


def parse_ipv4(text: str) -> int | None:
    """Return ``text`` as a number in 0..2^32-1, or None unless it is strict dotted decimal.

    Strict: four decimal octets without sign, space, leading zero or anything after them.
    """
    if len(text) > MAX_ADDRESS_BYTES:
        return None
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):  # ValueError: a NUL or a character outside ASCII
        return None


def format_ipv4(address: int) -> str:
    """Return the dotted decimal form of ``address`` (0..2^32-1)."""
    return socket.inet_ntop(socket.AF_INET, address.to_bytes(4, "big"))
