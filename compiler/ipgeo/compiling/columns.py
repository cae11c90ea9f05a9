"""The columns of a large blob's rows: which fields share a cell, and what the cells are.

Fields share a column where one tells the other: the levels of a place, and what follows from them.
The same rows give the same columns.
"""

import operator
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ipgeo.blob.numbers import NULL, number_text
from ipgeo.contract import NUMERIC_FIELDS
from ipgeo.places.answers import Row

_LEVELS = (
    ("country", "country_code", "province", "province_code"),
    ("city", "city_code"),
    ("organization", "isp", "asn", "as_organization"),
)
"""Fields that share a column. A field of none joins the first from which it follows."""

_MAX_DECIMALS = 6
_MAX_NUMBER = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class EntryColumn:
    """Fields, by their numbers, with a text each for every entry; the cells of rows are entries."""

    fields: Sequence[int]
    entries: Sequence[Row]
    cells: "array[int]"


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A field, by its number, whose values are numbers of 10^-``decimals``, one a row."""

    fields: Sequence[int]
    decimals: int
    cells: "array[int]"


AnyColumn = EntryColumn | NumberColumn


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of all rows; ``constants`` are the texts of the fields that have but one."""

    constants: dict[int, str]
    entries: Sequence[EntryColumn]
    numbers: Sequence[NumberColumn]


def plan_columns(rows: Sequence[Row], fields: Sequence[str]) -> Columns:
    """Return the columns of ``rows``, which are not empty."""
    singles = [_single(rows, number) for number in range(len(fields))]
    constants = {n: c.entries[0][0] for n, c in enumerate(singles) if len(c.entries) == 1}
    rest = [number for number in range(len(fields)) if number not in constants]
    numbers = [
        column
        for number in rest
        if fields[number] in NUMERIC_FIELDS and (column := _number_column(number, singles[number]))
    ]
    numeric = {number for column in numbers for number in column.fields}
    rest = [number for number in rest if number not in numeric]
    groups = _groups(rest, fields, singles)
    entries = [_combined([singles[number] for number in group]) for group in groups]
    return Columns(constants, entries, numbers)


def _single(rows: Sequence[Row], number: int) -> EntryColumn:
    """Return the column of one field; its entries are in the order of the rows."""
    texts = [row[number] for row in rows]
    known = {text: entry for entry, text in enumerate(dict.fromkeys(texts))}
    cells = array("I", map(known.__getitem__, texts))
    return EntryColumn((number,), [(text,) for text in known], cells)


def _combined(columns: Sequence[EntryColumn]) -> EntryColumn:
    """Return columns as one, whose entries are the combinations of theirs that there are."""
    if len(columns) == 1:
        return columns[0]
    combinations = list(zip(*(column.cells for column in columns), strict=True))
    known = {its_cells: entry for entry, its_cells in enumerate(dict.fromkeys(combinations))}
    fields = [number for column in columns for number in column.fields]
    entries = [
        tuple(
            text for column, cell in zip(columns, c, strict=True) for text in column.entries[cell]
        )
        for c in known
    ]
    return EntryColumn(fields, entries, array("I", map(known.__getitem__, combinations)))


def _groups(
    numbers: Sequence[int], fields: Sequence[str], singles: Sequence[EntryColumn]
) -> list[list[int]]:
    """Return the fields that share a column; the fields of each are in the order of the blob."""
    groups = [[n for n in numbers if fields[n] in level] for level in _LEVELS]
    groups = [group for group in groups if group]
    levels = [_combined([singles[number] for number in group]) for group in groups]
    for number in numbers:
        if any(number in level.fields for level in levels):
            continue
        for group, level in zip(groups, levels, strict=False):
            if _follows(singles[number], level):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _follows(column: EntryColumn, level: EntryColumn) -> bool:
    """Whether each entry of ``level`` goes with one entry of ``column``."""
    cell_of = dict(zip(level.cells, column.cells, strict=True))
    return all(map(operator.eq, map(cell_of.__getitem__, level.cells), column.cells))


def _number_column(number: int, column: EntryColumn) -> NumberColumn | None:
    """Return the column of a field's numbers, or None if one of its texts is none as written."""
    texts = [text for (text,) in column.entries]
    decimals = max(len(text.partition(".")[2]) for text in texts)
    if decimals > _MAX_DECIMALS:
        return None
    values = [value for text in texts if (value := _number(text, decimals)) is not None]
    if len(values) < len(texts):
        return None
    return NumberColumn((number,), decimals, array("i", map(values.__getitem__, column.cells)))


def _number(text: str, decimals: int) -> int | None:
    """Return the cell that stands for exactly this text, or None if there is none."""
    if text == "null":
        return NULL
    whole, _, fraction = text.partition(".")
    try:
        value = int(whole + fraction.ljust(decimals, "0"))
    except ValueError:
        return None
    fits = abs(value) <= _MAX_NUMBER and number_text(value, decimals) == text.encode()
    return value if fits else None
