"""What is asked: all addresses at which an answer may change, and random ones."""

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from crosscheck.mmdb import Step
from ipgeo.ranges.address import IPV4, IPV6, Address, Family, parse_ipv6

Answer = str | None
"""The object form without its ``ip``, from the next member on; None for no data."""

MAPPED, NAT64 = (parse_ipv6(text) or 0 for text in ("::ffff:0:0", "64:ff9b::"))
"""The first addresses of the two networks of 2^32 addresses that IPv4 answers for."""

_EMBEDDED_SHARE = 100
"""One in so many random addresses is of each of these."""


class Expected:
    """The answers of both families, as ``crosscheck.mmdb_answers`` reads them."""

    def __init__(self, ipv4: Sequence[Step], ipv6: Sequence[Step] | None) -> None:
        """``ipv6`` is None for a source of IPv4 alone, which has no data of IPv6."""
        by_family = {IPV4: ipv4, IPV6: ipv6 or [(0, None)]}
        tails: dict[str | None, Answer] = {None: None}
        for _, text in (*ipv4, *(ipv6 or ())):
            if text is not None and text not in tails:
                tails[text] = text.partition("\n{")[2]
        self.starts = {f: [start for start, _ in steps] for f, steps in by_family.items()}
        self._answers = {f: [tails[text] for _, text in steps] for f, steps in by_family.items()}

    def answer(self, address: Address) -> Answer:
        """Return the answer for an address."""
        family, number = address
        if family == IPV6 and number >> 32 in (MAPPED >> 32, NAT64 >> 32):
            family, number = IPV4, number % (1 << 32)
        return self._answers[family][bisect_right(self.starts[family], number) - 1]

    def inside(self, chance: random.Random, family: Family) -> int:
        """Return a random address of a random step that has data; any address if there is none."""
        starts, answers = self.starts[family], self._answers[family]
        if not any(answers):
            return chance.getrandbits(family.bits)
        while True:
            step = chance.randrange(len(starts))
            if answers[step] is not None:
                end = starts[step + 1] if step + 1 < len(starts) else family.last + 1
                return chance.randrange(starts[step], end)


def boundaries(family: Family, *all_starts: Iterable[int]) -> list[int]:
    """Return all first addresses of runs, and those before them, ascending."""
    starts = {0}.union(*all_starts)
    return sorted(starts | {start - 1 for start in starts if start} | {family.last})


def random_addresses(expected: Expected, count: int, seed: int) -> list[Address]:
    """Return ``count`` addresses: half of them uniform over IPv4, half in networks of IPv6."""
    chance = random.Random(seed)
    addresses = [Address(IPV4, chance.getrandbits(32)) for _ in range(count // 2)]
    embedded = count // _EMBEDDED_SHARE
    for network in (MAPPED, NAT64):
        addresses += [Address(IPV6, network | chance.getrandbits(32)) for _ in range(embedded)]
    rest = range(count - len(addresses))
    return addresses + [Address(IPV6, expected.inside(chance, IPV6)) for _ in rest]
