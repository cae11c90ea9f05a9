"""Reads the requested addresses from a query string or a request body.

The rules are the edge's, byte for byte, and so is the order in which they apply: number of
arguments or JSON, repeated ones, format, then ip, or ip together with ips, ips, their number.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn
from urllib.parse import unquote_to_bytes

from ipgeo.contract import MAX_ARGUMENTS, MAX_JSON_DEPTH
from ipgeo.ranges.address import Address, parse_address
from ipgeo_fallback.errors import (
    INVALID_FORMAT,
    INVALID_IP,
    INVALID_IPS,
    INVALID_JSON,
    IP_AND_IPS,
    MISSING_IP,
    REPEATED_ARGUMENT,
    TOO_MANY_ARGUMENTS,
    TOO_MANY_IPS,
    RefusedError,
)

ARRAY, OBJECT = "array", "object"

_ARGUMENTS = frozenset({"ip", "format"})
_MEMBERS = frozenset({"ip", "ips", "format"})

# A string, even an unfinished one, is one token: brackets inside it do not nest. The closing quote
# is optional and the repetition possessive so that hostile input is read once, not once per quote.
_BRACKET_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Query:
    """A valid query: the address, and the form of the answer."""

    address: Address
    form: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Many addresses, None where invalid, and the form of their answers."""

    addresses: Sequence[Address | None]
    form: str


def from_query(query: bytes) -> Query:
    """Read a raw query string, without its question mark; raise RefusedError for a bad one."""
    values = _query_values(query)
    return _single(values, _form(values))


def from_body(body: bytes, batch_limit: int) -> Query | Batch:
    """Read a JSON body; raise RefusedError for a bad one."""
    values = _pick(_members(body).pairs, _MEMBERS)
    form = _form(values)
    if "ips" in values:
        return Batch([*map(_address, _elements(values, batch_limit))], form)
    return _single(values, form)


def from_lines(query: bytes, body: bytes, batch_limit: int) -> Batch:
    """Read a body with an address in each line; ``query`` has the form.

    A line ends in LF or CRLF; the last one may end without.
    """
    form = _form(_query_values(query))
    *lines, last = body.split(b"\n", batch_limit + 1)
    lines = [line.removesuffix(b"\r") for line in lines]
    if last:
        lines.append(last)
    if len(lines) > batch_limit:
        raise RefusedError(TOO_MANY_IPS.with_limits(batch_limit=batch_limit))
    return Batch([_address(line.decode("latin-1")) for line in lines], form)


def _query_values(query: bytes) -> dict[str, object]:
    if query.count(b"&") >= MAX_ARGUMENTS:
        raise RefusedError(TOO_MANY_ARGUMENTS)
    return _pick(_arguments(query), _ARGUMENTS)


def _arguments(query: bytes) -> Iterator[tuple[str, object]]:
    """Yield names and values; the value is None for a bare name and for bytes outside ASCII."""
    for piece in query.split(b"&"):
        name, equals, value = (_unescape(part) for part in piece.partition(b"="))
        if name:
            yield name.decode("latin-1"), _ascii(value) if equals else None


def _unescape(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _ascii(value: bytes) -> str | None:
    return value.decode() if value.isascii() else None


class _Object(NamedTuple):
    """A JSON object as it is written: a dict would hide repeated keys. A body has thousands."""

    pairs: list[tuple[str, object]]


def _members(body: bytes) -> _Object:
    try:
        text = body.decode()
        _check_nesting(text)
        # The numbers are of no interest: as strings they cannot be too long to convert.
        members = json.loads(
            text,
            object_pairs_hook=_Object,
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse_constant,
        )
    except ValueError:  # UnicodeDecodeError and JSONDecodeError among them
        raise RefusedError(INVALID_JSON) from None
    if not isinstance(members, _Object):
        raise RefusedError(INVALID_JSON)
    return members


def _check_nesting(text: str) -> None:
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(text):
        if match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
        if depth > MAX_JSON_DEPTH:
            raise ValueError("nested too deeply")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _pick(given: Iterable[tuple[str, object]], wanted: Collection[str]) -> dict[str, object]:
    picked: dict[str, object] = {}
    for name, value in given:
        if name in wanted:
            if name in picked:
                raise RefusedError(REPEATED_ARGUMENT)
            picked[name] = value
    return picked


def _form(values: Mapping[str, object]) -> str:
    form = values.get("format", ARRAY)
    if not isinstance(form, str) or form not in (ARRAY, OBJECT):
        raise RefusedError(INVALID_FORMAT)
    return form


def _single(values: Mapping[str, object], form: str) -> Query:
    if "ip" not in values:
        raise RefusedError(MISSING_IP)
    address = _address(values["ip"])
    if address is None:
        raise RefusedError(INVALID_IP)
    return Query(address, form)


def _elements(values: Mapping[str, object], batch_limit: int) -> Sequence[object]:
    elements = values["ips"]
    if "ip" in values:
        raise RefusedError(IP_AND_IPS)
    if not isinstance(elements, list):
        raise RefusedError(INVALID_IPS)
    if len(elements) > batch_limit:
        raise RefusedError(TOO_MANY_IPS.with_limits(batch_limit=batch_limit))
    return elements


def _address(value: object) -> Address | None:
    return parse_address(value) if isinstance(value, str) else None
