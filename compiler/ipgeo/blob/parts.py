"""The answers of a blob, put together from the parts of a row."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from ipgeo.blob.check import read_column, require
from ipgeo.blob.layout import ROW
from ipgeo.blob.numbers import MAX_NUMBER_BYTES, number_text
from ipgeo.blob.shape import ENTRY_CODES, Column, ColumnKind, Piece, PieceKind, Shape
from ipgeo.blob.texts import Texts

MAX_ANSWER = 0xFFFF
"""The longest answer in bytes that a reader has room for."""


@dataclass(frozen=True)  # no slots: `cells` is kept
class Parts:
    """What answers are made of: the shape, the bytes of the rows, and the texts."""

    shape: Shape
    rows: memoryview
    texts: Texts

    @cached_property
    def cells(self) -> Sequence[Sequence[int]]:
        """The cells of each column, by row."""
        return [_cells(column, self.rows, self.shape) for column in self.shape.columns]

    def answer(self, form: int, row: int) -> bytes:
        """Return a form's answer for a row."""
        return b"".join([self._text(piece, row) for piece in self.shape.forms[form]])

    def answers(self, form: int) -> Iterator[bytes]:
        """Yield a form's answers for all rows, far faster than one by one."""
        return map(b"".join, zip(*map(self._column, self.shape.forms[form]), strict=True))

    def _column(self, piece: Piece) -> Iterable[bytes]:
        """Return the text of a piece for every row."""
        if piece.kind == PieceKind.CONSTANT:
            return itertools.repeat(self.texts[piece.arg], self.shape.rows)
        if piece.kind == PieceKind.TABLE:
            texts = list(map(self.texts.__getitem__, self.shape.entries(piece.arg)))
            return map(texts.__getitem__, self.cells[self.shape.tables[piece.arg].column])
        decimals = itertools.repeat(self.shape.columns[piece.arg].limit)
        return map(number_text, self.cells[piece.arg], decimals)

    def _text(self, piece: Piece, row: int) -> bytes:
        if piece.kind == PieceKind.CONSTANT:
            return self.texts[piece.arg]
        if piece.kind == PieceKind.TABLE:
            table = self.shape.tables[piece.arg]
            return self.texts[table.first + self._cell(table.column, row)]
        return number_text(self._cell(piece.arg, row), self.shape.columns[piece.arg].limit)

    def _cell(self, number: int, row: int) -> int:
        column = self.shape.columns[number]
        if not column.width:
            return row
        at = row * self.shape.row_size + column.at
        signed = column.kind == ColumnKind.NUMBER
        return int.from_bytes(self.rows[at : at + column.width], "little", signed=signed)


def check_parts(parts: Parts) -> None:
    """Refuse rows that are no rows of the shape, and a cell that leads outside of the texts."""
    shape, texts = parts.shape, parts.texts
    size = shape.rows * shape.row_size
    there = len(parts.rows)
    require(there == size, f"section {ROW} has {there} bytes, the rows have {size}")
    for form in shape.forms:
        longest = sum(_longest(piece, shape, texts) for piece in form)
        require(longest <= MAX_ANSWER, f"answers of {longest} bytes (limit {MAX_ANSWER})")
    for number, (column, cells) in enumerate(zip(shape.columns, parts.cells, strict=True)):
        if column.kind == ColumnKind.ENTRY:
            inside = max(cells, default=-1) < column.limit
            require(inside, f"column {number} names an entry that is not there")


def _longest(piece: Piece, shape: Shape, texts: Texts) -> int:
    if piece.kind == PieceKind.CONSTANT:
        return len(texts[piece.arg])
    if piece.kind == PieceKind.TABLE:
        return texts.longest(shape.entries(piece.arg))
    return MAX_NUMBER_BYTES


def _cells(column: Column, rows: memoryview, shape: Shape) -> Sequence[int]:
    """Return the cells of a column: byte by byte, all rows at once."""
    if not column.width:
        return range(shape.rows)
    content = bytearray(shape.rows * column.width)
    for byte in range(column.width):
        content[byte :: column.width] = rows[column.at + byte :: shape.row_size]
    code = "i" if column.kind == ColumnKind.NUMBER else ENTRY_CODES[column.width]
    return read_column(ROW, code, memoryview(content))
