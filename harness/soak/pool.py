"""The addresses to ask for, and their texts."""

import random
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from harness.soak.expected import ExpectedBlob
from ipgeo.ranges.address import FAMILIES, IPV4, IPV6, Address, Family, format_address

_MAX_STARTS = 10_000
_RANDOM_ADDRESSES = 10_000
_EMBEDDED = 2_000
"""So many addresses each are of ::ffff:0:0/96 and of 64:ff9b::/96."""


class _Asked(NamedTuple):
    """An address to ask for as ``text``; ``answering`` is the one whose answer is expected."""

    answering: Address
    text: bytes
    canonical: bytes


class Pool:
    """The addresses to ask for, shuffled, of the families that all blobs have.

    Both ends of up to so many runs of every blob, and random addresses; if there is IPv6, some are
    IPv4 addresses inside of IPv6 ones. ``addresses`` has those that answer, ``asked`` the texts to
    send, and ``texts`` the canonical forms.
    """

    def __init__(self, all_expected: Sequence[ExpectedBlob], seed: int) -> None:
        """Gather them; the same arguments give the same order."""
        chance = random.Random(seed)
        families = [f for f in FAMILIES if all(f in expected.starts for expected in all_expected)]
        all_asked = [
            _plain(Address(family, number))
            for family in families
            for number in _numbers(chance, family, [e.starts[family] for e in all_expected])
        ]
        if IPV6 in families:
            all_asked += _embedded(chance)
        chance.shuffle(all_asked)
        self.addresses = [asked.answering for asked in all_asked]
        self.asked = [asked.text for asked in all_asked]
        self.texts = [asked.canonical for asked in all_asked]
        of_ipv6 = (b":" in text for text in self.asked)
        self._ipv6_before = array("I", accumulate(of_ipv6, initial=0))

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self.addresses)

    def count_ipv6(self, start: int, size: int) -> int:
        """Return how many of ``size`` texts from number ``start`` on are of IPv6."""
        return self._ipv6_before[start + size] - self._ipv6_before[start]


def _numbers(
    chance: random.Random, family: Family, all_starts: Sequence[Sequence[int]]
) -> list[int]:
    """Return, ascending, both ends of runs, and random addresses."""
    starts: set[int] = {0}
    for its_starts in all_starts:
        starts.update(chance.sample(its_starts, min(len(its_starts), _MAX_STARTS)))
    ends = {start - 1 for start in starts if start} | {family.last}
    others = {chance.getrandbits(family.bits) for _ in range(_RANDOM_ADDRESSES)}
    return sorted(starts | ends | others)


def _plain(address: Address) -> _Asked:
    text = str(address).encode()
    return _Asked(address, text, text)


def _embedded(chance: random.Random) -> Iterator[_Asked]:
    """Yield IPv6 addresses that IPv4 addresses answer for, in texts of several forms."""
    for _ in range(_EMBEDDED):
        number = chance.randrange(1 << 16, 1 << 32)
        address = Address(IPV4, number)
        dotted = format_address(IPV4, number).encode()
        groups = b"%x:%x" % (number >> 16, number & 0xFFFF)
        mapped = b"::ffff:" + dotted
        yield _Asked(address, chance.choice((mapped, b"0:0:0:0:0:FFFF:" + groups)), mapped)
        nat64 = b"64:ff9b::" + groups
        yield _Asked(address, chance.choice((nat64, b"64:FF9B::" + dotted)), nat64)
