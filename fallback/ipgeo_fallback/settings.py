"""Settings, from the same environment variables as the edge's."""

import math
import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple, Self

Network = IPv4Network | IPv6Network

DEFAULT_BATCH_LIMIT = 1000
MOST_BATCH_LIMIT = 100_000
DEFAULT_BODY_LIMIT = 64 << 10
DEFAULT_REFRESH_INTERVAL = 1.0

# Bytes that one address of a batch takes: quotes, a comma, white space.
_ADDRESS_SIZE = 20
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_SIZE = re.compile(r"([1-9][0-9]{0,8})([kKmM]?)", re.ASCII)
_SHIFT = {"": 0, "k": 10, "m": 20}
# Python would take masks and zones too, nginx does not.
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?", re.ASCII)


class Settings(NamedTuple):
    """What the application has to know.

    ``blob`` is None where none is named; ``body_limit`` is the longest request body, in bytes;
    ``batch_limit`` the most addresses in one request; ``refresh_interval`` how often to look
    whether the blob has changed, in seconds; ``trusted_proxies`` who is believed about the client.
    """

    blob: Path | None
    body_limit: int = DEFAULT_BODY_LIMIT
    batch_limit: int = DEFAULT_BATCH_LIMIT
    refresh_interval: float = DEFAULT_REFRESH_INTERVAL
    trusted_proxies: tuple[Network, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read IPGEO_BLOB, _BATCH_LIMIT, _BODY_LIMIT, _REFRESH_INTERVAL and _TRUSTED_PROXIES.

        An empty one is not set. ValueError names one that is not valid.
        """
        blob = environment.get("IPGEO_BLOB")
        batch = environment.get("IPGEO_BATCH_LIMIT")
        body = environment.get("IPGEO_BODY_LIMIT")
        interval = environment.get("IPGEO_REFRESH_INTERVAL")
        trusted = environment.get("IPGEO_TRUSTED_PROXIES")
        batch_limit = parse_batch_limit(batch) if batch else DEFAULT_BATCH_LIMIT
        return cls(
            blob=Path(blob) if blob else None,
            body_limit=parse_size(body) if body else body_limit_for(batch_limit),
            batch_limit=batch_limit,
            refresh_interval=parse_interval(interval) if interval else DEFAULT_REFRESH_INTERVAL,
            trusted_proxies=parse_networks(trusted) if trusted else (),
        )


def parse_batch_limit(text: str) -> int:
    """Return the most addresses in one request, from 1 to 100,000."""
    if not _NUMBER.fullmatch(text) or int(text) > MOST_BATCH_LIMIT:
        raise ValueError(f"IPGEO_BATCH_LIMIT: not a number from 1 to {MOST_BATCH_LIMIT}: {text!r}")
    return int(text)


def body_limit_for(batch_limit: int) -> int:
    """Return the longest body, in bytes, where none is set: the longest batch fits into it."""
    return max(DEFAULT_BODY_LIMIT, batch_limit * _ADDRESS_SIZE + 1024)


def parse_interval(text: str) -> float:
    """Return the seconds between two looks at the blob."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"IPGEO_REFRESH_INTERVAL: not a finite number above 0: {text!r}")
    return seconds


def parse_size(text: str) -> int:
    """Return the bytes that a size in nginx's notation (``65536``, ``64k``, ``1m``) stands for."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"IPGEO_BODY_LIMIT: not a size such as 65536, 64k or 1m: {text!r}")
    return int(match[1]) << _SHIFT[match[2].lower()]


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a list with commas; as nginx does, without a network's host bits."""
    return tuple(_network(entry.strip()) for entry in text.split(","))


def _network(entry: str) -> Network:
    try:
        if _NETWORK.fullmatch(entry):
            return ip_network(entry, strict=False)
    except ValueError:
        pass
    raise ValueError(f"IPGEO_TRUSTED_PROXIES: not an IP address or network: {entry!r}")
