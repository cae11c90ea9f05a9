"""What a blob has beside its runs: the answers, as its writer takes them."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ipgeo.blob.shape import Piece, PieceKind, Shape, Table, row_number_column
from ipgeo.places.answers import Answer


@dataclass(frozen=True, slots=True)
class Body:
    """The answers of all rows, in parts.

    ``cells`` are the cells of each column of ``shape``, by row; none of one without bytes.
    ``fields`` are the names of the object's members in order, without ``ip``.
    """

    shape: Shape
    cells: Sequence["array[int]"]
    texts: Sequence[bytes]
    fields: Sequence[str]


def whole_answers(answers: Sequence[Answer], fields: Sequence[str]) -> Body:
    """Return the body in which every row has its two answers whole: the fastest to read."""
    rows = len(answers)
    shape = Shape(
        rows=rows,
        row_size=0,
        columns=[row_number_column(rows)],
        tables=[Table(0, 0), Table(0, rows)],
        forms=[[Piece(PieceKind.TABLE, 0)], [Piece(PieceKind.TABLE, 1)]],
    )
    texts = [answer.array for answer in answers] + [answer.object_tail for answer in answers]
    return Body(shape, [array("B")], texts, fields)
