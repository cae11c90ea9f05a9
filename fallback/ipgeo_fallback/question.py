"""From a query string or a request body to the question it asks.

The rules are the edge's, byte for byte, and so is the order in which they are looked at: number of
arguments, repeated ones, format, ip.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn
from urllib.parse import unquote_to_bytes

from ipgeo.address import parse_ipv4
from ipgeo_fallback.errors import (
    INVALID_FORMAT,
    INVALID_IP,
    INVALID_JSON,
    MISSING_IP,
    REPEATED_ARGUMENT,
    TOO_MANY_ARGUMENTS,
    RefusedError,
)

MOST_ARGUMENTS = 8
DEEPEST_NESTING = 8

ARRAY, OBJECT = "array", "object"

# A string, even an unfinished one, is one token: brackets inside it do not nest. The closing quote
# is optional and the repetition possessive so that hostile input is read once, not once per quote.
_BRACKET_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class Question(NamedTuple):
    """A valid question: the address as a number, and the form of the answer."""

    address: int
    form: str


def from_query(query: bytes) -> Question:
    """Read a raw query string, without its question mark; raise RefusedError for a bad one."""
    if query.count(b"&") >= MOST_ARGUMENTS:
        raise RefusedError(TOO_MANY_ARGUMENTS)
    return _question(list(_arguments(query)))


def from_body(body: bytes) -> Question:
    """Read a request body; raise RefusedError for a bad one."""
    return _question([(name, value) for name, value in _members(body)])


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


class _Members(list[tuple[str, object]]):
    """A JSON object as it is written: a dict would hide repeated keys."""


def _members(body: bytes) -> _Members:
    try:
        text = body.decode()
        _check_nesting(text)
        # The numbers are of no interest: as strings they cannot be too long to convert.
        members = json.loads(
            text,
            object_pairs_hook=_Members,
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse_constant,
        )
    except ValueError:  # UnicodeDecodeError and JSONDecodeError among them
        raise RefusedError(INVALID_JSON) from None
    if not isinstance(members, _Members):
        raise RefusedError(INVALID_JSON)
    return members


def _check_nesting(text: str) -> None:
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(text):
        if match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
        if depth > DEEPEST_NESTING:
            raise ValueError("nested too deeply")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _question(arguments: Sequence[tuple[str, object]]) -> Question:
    ips = [value for name, value in arguments if name == "ip"]
    formats = [value for name, value in arguments if name == "format"]
    if len(ips) > 1 or len(formats) > 1:
        raise RefusedError(REPEATED_ARGUMENT)
    form = formats[0] if formats else ARRAY
    if not isinstance(form, str) or form not in (ARRAY, OBJECT):
        raise RefusedError(INVALID_FORMAT)
    if not ips:
        raise RefusedError(MISSING_IP)
    address = parse_ipv4(ips[0]) if isinstance(ips[0], str) else None
    if address is None:
        raise RefusedError(INVALID_IP)
    return Question(address, form)
