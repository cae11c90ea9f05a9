"""The shape of a blob's answers: from which parts of which row each form is put together.

docs/blob-format.md has the words of the section; nothing here looks at an answer.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ipgeo.blob.check import require

MAX_COLUMNS, MAX_TABLES, MAX_FORMS, MAX_PIECES = 64, 256, 64, 1024
MAX_DECIMALS = 9
_COUNTS = 6
"""The words before the columns: rows, row size, and how many of each there are."""

ARRAY_FORM, OBJECT_FORM = 0, 1

ENTRY_CODES = {1: "B", 2: "H", 4: "I"}
"""The type codes of ``array`` for the cells of entries, by their widths in bytes."""

NUMBER_WIDTH = 4
"""The bytes of a number's cell, a signed integer."""


class ColumnKind(IntEnum):
    """What a cell of a column is: the number of an entry of its tables, or a number itself."""

    ENTRY = 0
    NUMBER = 1


class PieceKind(IntEnum):
    """What a piece of a form is: a text, the text of a table, or the number of a column."""

    CONSTANT = 0
    TABLE = 1
    NUMBER = 2


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of all rows at byte ``at``, ``width`` bytes each, little-endian.

    ``limit`` is the number of entries (cells are unsigned and below it), or the decimals of a
    number (cells are signed).
    """

    kind: int
    at: int
    width: int
    limit: int


@dataclass(frozen=True, slots=True)
class Table:
    """A text for each entry of a column: the text of entry ``e`` is number ``first + e``."""

    column: int
    first: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a form; ``arg`` is the number of a text, a table or a column."""

    kind: int
    arg: int


@dataclass(frozen=True, slots=True)
class Shape:
    """How answers are put together: a form's answer is the texts of its pieces, in order.

    A column of width 0 is the row's own number.
    """

    rows: int
    row_size: int
    columns: Sequence[Column]
    tables: Sequence[Table]
    forms: Sequence[Sequence[Piece]]

    def entries(self, table: int) -> range:
        """Return the numbers of the texts of a table."""
        first = self.tables[table].first
        return range(first, first + self.columns[self.tables[table].column].limit)


def row_number_column(rows: int) -> Column:
    """Return the column of the rows' own numbers, which has no bytes."""
    return Column(ColumnKind.ENTRY, 0, 0, rows)


def encode_shape(shape: Shape) -> list[int]:
    """Return the words of the section."""
    pieces = [piece for form in shape.forms for piece in form]
    words = [shape.rows, shape.row_size]
    words += map(len, (shape.columns, shape.tables, shape.forms, pieces))
    for column in shape.columns:
        words += column.kind, column.at, column.width, column.limit
    for table in shape.tables:
        words += table.column, table.first
    first = 0
    for form in shape.forms:
        words += first, len(form)
        first += len(form)
    for piece in pieces:
        words += piece.kind, piece.arg
    return words


def decode_shape(words: Sequence[int], texts: int) -> Shape:
    """Return the shape in the section's words, of a blob with so many ``texts``.

    Raises BlobError for one that leads outside of rows or texts.
    """
    require(len(words) >= _COUNTS, f"the shape has {len(words)} words")
    rows, row_size, *counts = words[:_COUNTS]
    limits = MAX_COLUMNS, MAX_TABLES, MAX_FORMS, MAX_PIECES
    for name, count, limit in zip(_NAMES, counts, limits, strict=True):
        require(count <= limit, f"{count} {name}, a blob has at most {limit}")
    sizes = [count * size for count, size in zip(counts, (4, 2, 2, 2), strict=True)]
    require(len(words) == _COUNTS + sum(sizes), f"the shape has {len(words)} words")
    parts = iter(words[_COUNTS:])
    columns = [Column(*_take(parts, 4)) for _ in range(counts[0])]
    tables = [Table(*_take(parts, 2)) for _ in range(counts[1])]
    spans = [_take(parts, 2) for _ in range(counts[2])]
    pieces = [Piece(*_take(parts, 2)) for _ in range(counts[3])]
    shape = Shape(rows, row_size, columns, tables, _forms(spans, pieces))
    _check_columns(shape)
    _check_tables(shape, texts)
    _check_pieces(shape, texts)
    return shape


_NAMES = ("columns", "tables", "forms", "pieces")


def _take(words: Iterator[int], count: int) -> list[int]:
    return [next(words) for _ in range(count)]


def _forms(spans: Sequence[Sequence[int]], pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
    require(len(spans) > OBJECT_FORM, f"{len(spans)} forms, there are at least 2")
    forms = []
    end = 0
    for number, (first, count) in enumerate(spans):
        fits = first == end and 0 < count <= len(pieces) - first
        require(fits, f"form {number} is not the next pieces")
        end = first + count
        forms.append(pieces[first:end])
    require(end == len(pieces), f"the forms have {end} pieces of {len(pieces)}")
    return forms


def _check_columns(shape: Shape) -> None:
    taken: set[int] = set()
    row_number = row_number_column(shape.rows)
    require(list(shape.columns).count(row_number) <= 1, "two columns are the row's own number")
    for number, column in enumerate(shape.columns):
        if column == row_number:
            continue
        widths, limit = _ALLOWED.get(column.kind, ((), -1))
        fits = column.width in widths and column.limit <= limit
        require(fits, f"column {number} has a kind, width or limit that does not exist")
        inside = column.at + column.width <= shape.row_size
        require(inside, f"column {number} passes the row's end")
        its_bytes = range(column.at, column.at + column.width)
        require(taken.isdisjoint(its_bytes), f"column {number} overlaps another one")
        taken.update(its_bytes)


_ALLOWED: dict[int, tuple[tuple[int, ...], int]] = {
    ColumnKind.ENTRY: (tuple(ENTRY_CODES), 0xFFFFFFFF),
    ColumnKind.NUMBER: ((NUMBER_WIDTH,), MAX_DECIMALS),
}


def _check_tables(shape: Shape, texts: int) -> None:
    for number, table in enumerate(shape.tables):
        of_entries = (
            table.column < len(shape.columns)
            and shape.columns[table.column].kind == ColumnKind.ENTRY
        )
        require(of_entries, f"table {number} is of no column of entries")
        inside = table.first + shape.columns[table.column].limit <= texts
        require(inside, f"table {number} passes the last text")


def _check_pieces(shape: Shape, texts: int) -> None:
    numbers = {n for n, column in enumerate(shape.columns) if column.kind == ColumnKind.NUMBER}
    known: dict[int, Container[int]] = {
        PieceKind.CONSTANT: range(texts),
        PieceKind.TABLE: range(len(shape.tables)),
        PieceKind.NUMBER: numbers,
    }
    for piece in (piece for form in shape.forms for piece in form):
        require(piece.kind in known, f"a piece of kind {piece.kind}")
        there = piece.arg in known[piece.kind]
        require(there, f"a piece of kind {piece.kind} is number {piece.arg}, which is not there")
