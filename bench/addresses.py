"""The addresses that the wrk scripts request, in the same order: bench/wrk/common.lua."""

from collections.abc import Iterator
from itertools import islice

from ipgeo.ranges.address import format_ipv4

_SEED = 20261121
_MULTIPLIER, _INCREMENT = 1664525, 1013904223


def routable() -> Iterator[int]:
    """Yield random addresses (0..2^32-1) that may be routed in the Internet, the same each time."""
    halves = _halves()
    for high, low in zip(halves, halves, strict=True):
        if _is_routable(high >> 8, high & 0xFF):
            yield high << 16 | low


def first_texts(count: int) -> list[str]:
    """Return the first ``count`` of them in dotted decimal."""
    return [format_ipv4(address) for address in islice(routable(), count)]


def _halves() -> Iterator[int]:
    """Yield the upper 16 bits of a linear congruential generator's numbers, without end."""
    state = _SEED
    while True:
        state = (state * _MULTIPLIER + _INCREMENT) % (1 << 32)
        yield state >> 16


def _is_routable(a: int, b: int) -> bool:
    if a in (0, 10, 127) or a >= 224:
        return False
    special = {
        100: range(64, 128),
        169: range(254, 255),
        172: range(16, 32),
        192: range(168, 169),
        198: range(18, 20),
    }
    return b not in special.get(a, ())
