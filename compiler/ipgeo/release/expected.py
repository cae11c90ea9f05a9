"""Golden addresses: what a new blob must answer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipgeo.errors import InputError
from ipgeo.files.reading import read_regular
from ipgeo.ranges.address import Address, parse_address

MAX_EXPECTED = 256 << 20
"""The largest file of golden addresses in bytes: some two million lines."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An address, and the answer it must have: list, dict or None."""

    address: Address
    answer: list[Any] | dict[str, Any] | None


def read_expected(path: Path) -> list[Expected]:
    """Read golden addresses: lines of address, tab, JSON, as ``lookup`` prints them.

    An array is compared with the array answer, an object with the object answer, null with no
    data. Empty lines are skipped. Raises InputError naming the file and the line, OSError.
    """
    lines = read_regular(path, MAX_EXPECTED).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    expected = [
        _expected(path, f"line {number}", line)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not expected:
        raise InputError(path, "", "no addresses")
    return expected


def _expected(path: Path, position: str, line: bytes) -> Expected:
    try:
        ip, tab, answer = line.decode().partition("\t")
    except UnicodeDecodeError as error:
        raise InputError(path, position, f"not UTF-8: {error.reason}") from None
    if not tab:
        raise InputError(path, position, "no tab between address and answer")
    address = parse_address(ip)
    if address is None:
        raise InputError(path, position, f"{ip!r} is not an IP address")
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        raise InputError(path, position, "the answer is not JSON") from None
    if not isinstance(parsed, list | dict | None):
        raise InputError(path, position, "the answer is not an array, an object or null")
    return Expected(address, parsed)
