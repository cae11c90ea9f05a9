"""Answers in parts that a test knows word by word, and blobs with other words in their place."""

import struct
from array import array
from collections.abc import Mapping

from harness.sources import patched
from ipgeo.blob.body import Body
from ipgeo.blob.layout import SHAPE, seal
from ipgeo.blob.reader import Blob
from ipgeo.blob.shape import Column, ColumnKind, Piece, PieceKind, Shape, Table

COUNTS, COLUMNS, TABLES, FORMS, PIECES = 0, 6, 22, 28, 32
"""Where the groups of words are in the shape of ``of_each_width``."""


def of_each_width(rows: int, entries: int) -> Body:
    """Return answers of a cell of each width, at places that no word is aligned to.

    A row has the cells n * 7 % ``entries`` (4 bytes), n * 5 % 256 (2 bytes), a number, and n % 256;
    the text of entry ``e`` is ``"e"``, and the later columns begin at later entries.
    """
    texts = [b"[", b"]", b'"a":', b',"n":', b',"b":', b"}"]
    first = len(texts)
    texts += [b'"%d"' % n for n in range(entries)]
    columns = [
        Column(ColumnKind.ENTRY, 1, 4, entries),
        Column(ColumnKind.ENTRY, 5, 2, 256),
        Column(ColumnKind.NUMBER, 7, 4, 3),
        Column(ColumnKind.ENTRY, 11, 1, 256),
    ]
    constant, table, number = PieceKind.CONSTANT, PieceKind.TABLE, PieceKind.NUMBER
    array_form = (constant, 0), (table, 0), (constant, 1)
    object_form = (
        *((constant, 2), (table, 1), (constant, 3), (number, 2)),
        *((constant, 4), (table, 2), (constant, 5)),
    )
    shape = Shape(
        rows=rows,
        row_size=12,
        columns=columns,
        tables=[Table(0, first), Table(1, first + 1), Table(3, first + 2)],
        forms=[[Piece(*piece) for piece in form] for form in (array_form, object_form)],
    )
    cells = [
        array("I", (n * 7 % entries for n in range(rows))),
        array("H", (n * 5 % 256 for n in range(rows))),
        array("i", (n * 1009 - 500_000 for n in range(rows))),
        array("B", (n % 256 for n in range(rows))),
    ]
    return Body(shape, cells, texts, ["a", "n", "b"])


def reshaped(data: bytes, words: Mapping[int, int]) -> bytes:
    """Return a blob with other words, by their number, in its shape, sealed."""
    (shape,) = (section for section in Blob(data).sections if section.tag == SHAPE)
    for word, value in words.items():
        data = patched(data, shape.offset + 4 * word, struct.pack("<I", value))
    return seal(data)
