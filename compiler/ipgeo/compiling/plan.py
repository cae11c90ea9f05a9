"""How a blob keeps its answers: whole, or in parts where that would be much.

A blob of some size has its arrays whole, which are asked for most, and its objects in parts.

docs/blob-format.md has the forms and their pieces. The same rows give the same body.
"""

import json
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain

from ipgeo.blob.body import Body, whole_answers
from ipgeo.blob.shape import (
    ENTRY_CODES,
    NUMBER_WIDTH,
    Column,
    ColumnKind,
    Shape,
    row_number_column,
)
from ipgeo.compiling.columns import AnyColumn, NumberColumn, plan_columns
from ipgeo.compiling.forms import Forms
from ipgeo.contract import ARRAY_FIELDS
from ipgeo.places.answers import Answer, Row, answer_of, in_array

MAX_WHOLE_BYTES = 1 << 18
"""Up to so many bytes of answers, a blob has both forms whole: those are the fastest to read."""

MAX_WHOLE_ARRAYS = 1 << 20
"""Up to so many bytes of arrays, a blob has these whole, and only the objects in parts."""


def plan_body(
    rows: Sequence[Row],
    fields: Sequence[str],
    max_whole: int = MAX_WHOLE_BYTES,
    max_arrays: int = MAX_WHOLE_ARRAYS,
) -> Body:
    """Return the body of a blob that has these rows: whole answers up to so many bytes."""
    answers = _answers(rows, fields, max_arrays)
    if answers is None:
        return _in_parts(rows, fields)
    if sum(map(len, chain.from_iterable(answers))) <= max_whole:
        return whole_answers(answers, fields)
    return _in_parts(rows, fields, [answer.array.decode() for answer in answers])


def _answers(rows: Sequence[Row], fields: Sequence[str], max_arrays: int) -> list[Answer] | None:
    """Return all answers, or None if their arrays are too many bytes."""
    answers = []
    size = 0
    for row in rows:
        answers.append(answer_of(row, fields))
        size += len(answers[-1].array)
        if size > max_arrays:
            return None
    return answers


def _in_parts(rows: Sequence[Row], fields: Sequence[str], arrays: Sequence[str] = ()) -> Body:
    """Return a body of parts; the ``arrays`` of all rows, if given, are whole."""
    planned = plan_columns(rows, fields)
    # Wide cells first: so each lies at a multiple of its width.
    by_width: list[AnyColumn] = [*planned.numbers, *planned.entries]
    by_width.sort(key=_width, reverse=True)
    forms = Forms(planned.constants, by_width)
    if arrays:
        array_form = [forms.whole(arrays)]
    else:
        marks = ["[", *"," * (len(ARRAY_FIELDS) - 1)]
        array_form = forms.pieces(marks, "]", in_array)
    names = [json.dumps(name, ensure_ascii=False) + ":" for name in fields]
    pieces = [
        array_form,
        forms.pieces([names[0], *("," + name for name in names[1:])], "}", str),
    ]
    row_size = sum(map(_width, by_width))
    columns, cells = _laid_out(by_width), [_narrowed(column) for column in by_width]
    if arrays:
        columns.append(row_number_column(len(rows)))
        cells.append(array("B"))
    shape = Shape(len(rows), row_size, columns, forms.tables, pieces)
    return Body(shape, cells, forms.texts, fields)


def _width(column: AnyColumn) -> int:
    if isinstance(column, NumberColumn):
        return NUMBER_WIDTH
    return next(width for width in ENTRY_CODES if len(column.entries) <= 1 << 8 * width)


def _laid_out(columns: Sequence[AnyColumn]) -> list[Column]:
    """Return the columns side by side."""
    starts = accumulate(map(_width, columns), initial=0)
    return [
        Column(ColumnKind.NUMBER, at, NUMBER_WIDTH, column.decimals)
        if isinstance(column, NumberColumn)
        else Column(ColumnKind.ENTRY, at, _width(column), len(column.entries))
        for at, column in zip(starts, columns, strict=False)
    ]


def _narrowed(column: AnyColumn) -> "array[int]":
    """Return the cells in as many bytes as the column has."""
    if isinstance(column, NumberColumn):
        return column.cells
    return array(ENTRY_CODES[_width(column)], column.cells)
