"""Proof that every answer of a blob is JSON, and the values in them.

The entries of a table differ in their values only: with ``null`` in the place of each, they are one
text. So is a whole form, and if that is JSON, the answer of every row is.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ipgeo.blob.check import load_json, require
from ipgeo.blob.numbers import number_text
from ipgeo.blob.parts import Parts
from ipgeo.blob.shape import ARRAY_FORM, OBJECT_FORM, Piece, PieceKind
from ipgeo.errors import BlobError

Value = str | int | float | bool | None

_STRING = rb'"[^"\\]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\]*+)*+"'
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,63}+)(?:\.[0-9]{1,64}+)?(?:[eE][+-]?[0-9]{1,3}+)?"
_VALUE = rb"(" + _STRING + rb"|" + _NUMBER + rb"|true|false|null)"
_TOKEN = re.compile(rb"(?P<mark>[][{},: ]++|" + _STRING + rb" *:)|" + _VALUE)
_STRINGS = re.compile(_STRING)
_NULL = b"null"


@dataclass(frozen=True, slots=True)
class _Outline:
    """A text with its values left out: with ``null`` in their place, how many, and a pattern.

    The pattern matches every text that differs from this one in the values only; its groups are
    the values.
    """

    text: bytes
    values: int
    pattern: "re.Pattern[bytes]"


class Members:
    """The members of the object answers, by name; made by checking all answers."""

    def __init__(self, parts: Parts, fields: Sequence[str]) -> None:
        """Check that all answers are JSON, arrays and objects of values, these of ``fields``."""
        self._parts = parts
        self._places: dict[str, tuple[Piece, int]] = {}
        self._outlines: dict[Piece, _Outline] = {}
        if not parts.shape.rows:
            return
        self._check_array()
        self._check_object(fields)

    def of(self, field: str) -> list[Value]:
        """Return the value of a member by row; None in the place of one that no answer has."""
        rows = range(self._parts.shape.rows)
        if field not in self._places:
            return [None for _ in rows]
        piece, number = self._places[field]
        shape = self._parts.shape
        if piece.kind == PieceKind.CONSTANT:
            constant = self._value(piece, number, piece.arg)
            return [constant for _ in rows]
        if piece.kind == PieceKind.TABLE:
            values = [self._value(piece, number, text) for text in shape.entries(piece.arg)]
            return [values[cell] for cell in self._parts.cells[shape.tables[piece.arg].column]]
        decimals = shape.columns[piece.arg].limit
        return [json.loads(number_text(c, decimals)) for c in self._parts.cells[piece.arg]]

    def _value(self, piece: Piece, number: int, text: int) -> Value:
        found = self._outlines[piece].pattern.fullmatch(self._parts.texts[text])
        value: Value = json.loads(found[number + 1]) if found else None
        return value

    def _check_array(self) -> None:
        outline, pieces = self._form(ARRAY_FORM)
        flat = load_json(outline) == [None] * len(pieces)
        ends = outline.startswith(b"[") and outline.endswith(b"]")
        require(flat and ends, "the array answers are not JSON arrays of values")

    def _check_object(self, fields: Sequence[str]) -> None:
        outline, pieces = self._form(OBJECT_FORM)
        try:
            members = json.loads(b"{" + outline, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError):
            members = None
        ends = outline.startswith(b'"') and outline.endswith(b"}")
        flat = isinstance(members, _Pairs) and all(value is None for _, value in members)
        if not flat or not ends or not isinstance(members, _Pairs):
            raise BlobError("the object answers are not JSON objects of values")
        names = [name for name, _ in members]
        require(names == list(fields), "the object answers have other members than the metadata")
        require(len({"ip", *names}) == len(names) + 1, "a member occurs twice")
        self._places = dict(zip(names, pieces, strict=True))

    def _form(self, form: int) -> tuple[bytes, list[tuple[Piece, int]]]:
        """Return a form's outline, and for each value its piece and its number in that."""
        outlines = b""
        places: list[tuple[Piece, int]] = []
        for piece in self._parts.shape.forms[form]:
            if piece.kind == PieceKind.NUMBER:
                outlines += _NULL
                places.append((piece, 0))
                continue
            outline = self._outlines[piece] = self._outline(piece)
            outlines += outline.text
            places += ((piece, number) for number in range(outline.values))
        return outlines, places

    def _outline(self, piece: Piece) -> _Outline:
        """Return the outline of a constant, or the one that all entries of a table have."""
        numbers = range(piece.arg, piece.arg + 1)
        if piece.kind == PieceKind.TABLE:
            numbers = self._parts.shape.entries(piece.arg)
        texts = self._parts.texts
        outline = _outline_of(texts[numbers.start], numbers.start)
        for number in numbers:
            text = texts[number]
            same = outline.pattern.fullmatch(text) is not None
            require(same, f"text {number} is no JSON as text {numbers.start} is")
            require(b"\\u" not in text or _is_utf8(text), f"text {number} has half a character")
        return outline


class _Pairs(list[tuple[str, None]]):
    """The members of a JSON object in order, also those that occur twice."""


def _outline_of(text: bytes, number: int) -> _Outline:
    outline, pattern = b"", b""
    values = 0
    for mark in _tokens(text, number):
        outline += mark or _NULL
        pattern += re.escape(mark) if mark else _VALUE
        values += not mark
    return _Outline(outline, values, re.compile(pattern))


def _tokens(text: bytes, number: int) -> Iterator[bytes]:
    """Yield what is no value, such as a member's name, and an empty text for each value."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise BlobError(f"text {number} is not JSON at byte {at}")
        yield found["mark"] or b""
        at = found.end()


def _is_utf8(text: bytes) -> bool:
    """Whether no string of a text escapes half a surrogate pair, which UTF-8 cannot hold."""
    return all(load_json(string) is not None for string in _STRINGS.findall(text))
