"""Reads an MMDB a second time, by MaxMind's own reader, as the step function of both families.

`maxminddb` (PyPI) walks the tree itself and leaves out IPv4's aliases. It raises ValueError where
IPv4 has one record for all of it, and the path to it ends early. Then there are no aliases, and the
file is read by lookups alone: each answer comes with the length of its prefix.

Give it no file that the product refuses: at a tree deeper than addresses have bits the C code of
maxminddb 3.2.0 writes past its buffer, and the process ends.
"""

import json
import marshal
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import maxminddb

Step = tuple[int, str | None]
"""An address from which on all addresses have this answer, up to the next step; None is no data."""

Network = tuple[int, int, str | None]
"""First address, the address after the last one, answer."""

IPV4_END = 1 << 32
IPV6_END = 1 << 128


def in_hexadecimal(data: bytes) -> object:
    """Return the digits of bytes, or of a bytearray, which `maxminddb` has in their place."""
    return data.hex()


def canonical(record: object, as_json: Callable[[bytes], object] = in_hexadecimal) -> str:
    """Return a form of a record in which equal records are equal texts; JSON has no bytes."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False, default=as_json)


def read(
    path: Path, text_of: Callable[[object], str] = canonical
) -> tuple[list[Step], list[Step] | None]:
    """Return the steps of IPv4 and of IPv6: None for a file of IPv4 alone.

    An answer is the ``text_of`` a record.

    Both begin at address 0, and an answer is never that of the step before it. ``::/96``, which is
    IPv4, and its aliases are no data of IPv6. Raises what `maxminddb` does for a broken file.
    """
    with maxminddb.open_database(path) as reader:
        both = reader.metadata().ip_version == 6
        try:
            ipv4, ipv6 = _iterate(reader, text_of)
        except ValueError:
            ipv4 = list(_look_up(reader, text_of, IPv4Address, 0, IPV4_END))
            ipv6 = list(_look_up(reader, text_of, IPv6Address, IPV4_END, IPV6_END)) if both else []
    return steps(ipv4), steps(ipv6) if both else None


def steps(networks: Iterable[Network]) -> list[Step]:
    """Return the steps of ascending networks or runs; what lies between them has no data."""
    found: list[Step] = [(0, None)]
    end = 0
    for start, after, answer in networks:
        if start > end and found[-1][1] is not None:
            found.append((end, None))
        if answer != found[-1][1]:
            found.append((start, answer))
        end = after
    if found[-1][1] is not None and end not in (IPV4_END, IPV6_END):
        found.append((end, None))
    return found[1:] if found[1:] and found[1][0] == 0 else found


def _iterate(
    reader: maxminddb.Reader, text_of: Callable[[object], str]
) -> tuple[list[Network], list[Network]]:
    families: dict[int, list[Network]] = {4: [], 6: []}
    answers: dict[bytes, str] = {}  # by what is made three times as fast
    for network, record in reader:
        key = marshal.dumps(record, 2)
        answer = answers.get(key) or answers.setdefault(key, text_of(record))
        start = int(network.network_address)
        families[network.version].append((start, start + network.num_addresses, answer))
    return families[4], families[6]


def _look_up(
    reader: maxminddb.Reader,
    text_of: Callable[[object], str],
    family: type[IPv4Address | IPv6Address],
    start: int,
    end: int,
) -> Iterator[Network]:
    while start < end:
        address = family(start)
        record, prefix = reader.get_with_prefix_len(address)
        size = 1 << address.max_prefixlen - max(prefix, 0)
        after = start // size * size + size
        yield start, after, None if record is None else text_of(record)
        start = after
