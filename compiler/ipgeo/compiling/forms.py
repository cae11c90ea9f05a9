"""The forms of a large blob's answers: their pieces, and the tables and texts of these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ipgeo.blob.shape import Piece, PieceKind, Table
from ipgeo.compiling.columns import AnyColumn, NumberColumn

MAX_MERGED_ENTRIES = 8192
"""Up to so many entries, the texts of fields that stand side by side in a form are one."""


@dataclass(slots=True)
class _TablePart:
    """A table to be: a text is made of constants and of fields, which are numbers.

    One that is ``open`` takes in what stands beside it.
    """

    column: int
    parts: list[str | int]
    open: bool


_Part = str | _TablePart | Piece
"""A piece to be; a constant is its text."""


class Forms:
    """Makes the pieces of forms, and collects the tables and texts that they need.

    ``constants`` are the texts of the fields that have but one; the others are in ``columns``.
    """

    def __init__(self, constants: Mapping[int, str], columns: Sequence[AnyColumn]) -> None:
        self.tables: list[Table] = []
        self.texts: list[bytes] = []
        self._constants = constants
        self._columns = columns
        self._column_of = {n: index for index, column in enumerate(columns) for n in column.fields}
        self._known: dict[tuple[int | None, tuple[bytes, ...]], Piece] = {}

    def pieces(self, marks: Sequence[str], end: str, written: Callable[[str], str]) -> list[Piece]:
        """Return the pieces of a form: field ``n`` after ``marks[n]``, and ``end`` after the last.

        ``written`` is how the form writes the JSON of a value.
        """
        parts: list[_Part] = []
        for number, mark in enumerate(marks):
            if number in self._constants:
                _add_constant(parts, mark + written(self._constants[number]))
            else:
                _add_constant(parts, mark)
                self._add_field(parts, number)
        _add_constant(parts, end)
        return [self._piece(part, written) for part in parts]

    def whole(self, texts: Sequence[str]) -> Piece:
        """Return the piece of a text for each row, in a column after the others."""
        return self._known_piece(len(self._columns), texts)

    def _add_field(self, parts: list[_Part], number: int) -> None:
        index = self._column_of[number]
        column = self._columns[index]
        last = parts[-1]
        if isinstance(column, NumberColumn):
            parts.append(Piece(PieceKind.NUMBER, index))
        elif len(column.entries) > MAX_MERGED_ENTRIES:
            parts.append(_TablePart(index, [number], open=False))
        elif isinstance(last, _TablePart) and last.column == index:
            last.parts.append(number)
        elif isinstance(last, str):
            parts[-1] = _TablePart(index, [last, number], open=True)
        else:
            parts.append(_TablePart(index, [number], open=True))

    def _piece(self, part: _Part, written: Callable[[str], str]) -> Piece:
        if isinstance(part, Piece):
            return part
        if isinstance(part, str):
            return self._known_piece(None, [part])
        column = self._columns[part.column]
        if isinstance(column, NumberColumn):
            raise TypeError("a column of numbers has no table")
        texts = [_entry_text(part, column.fields, entry, written) for entry in column.entries]
        return self._known_piece(part.column, texts)

    def _known_piece(self, column: int | None, texts: Sequence[str]) -> Piece:
        """Return the piece of a table, or the constant of no column; forms share equal ones."""
        encoded = tuple(text.encode() for text in texts)
        if (column, encoded) not in self._known:
            first = len(self.texts)
            self.texts += encoded
            piece = Piece(PieceKind.CONSTANT, first)
            if column is not None:
                piece = Piece(PieceKind.TABLE, len(self.tables))
                self.tables.append(Table(column, first))
            self._known[column, encoded] = piece
        return self._known[column, encoded]


def _add_constant(parts: list[_Part], text: str) -> None:
    last = parts[-1] if parts else None
    if isinstance(last, _TablePart) and last.open:
        last.parts.append(text)
    elif isinstance(last, str):
        parts[-1] = last + text
    else:
        parts.append(text)


def _entry_text(
    part: _TablePart, fields: Sequence[int], entry: Sequence[str], written: Callable[[str], str]
) -> str:
    values = dict(zip(fields, map(written, entry), strict=True))
    return "".join(values[p] if isinstance(p, int) else p for p in part.parts)
