"""What the command ``inspect`` prints of a blob."""

import json
from dataclasses import asdict
from typing import Any

from ipgeo.blob.reader import Blob
from ipgeo.blob.shape import Column, ColumnKind, Piece, PieceKind, Shape
from ipgeo.text import printable

_PIECES = {PieceKind.CONSTANT: "text", PieceKind.TABLE: "table", PieceKind.NUMBER: "column"}


def blob_facts(blob: Blob) -> dict[str, Any]:
    """Return what ``--json`` prints; kinds are the numbers that the blob has."""
    return {
        "build_id": blob.build_id,
        "bytes": blob.size,
        "runs": blob.runs,
        "families": blob.families,
        "rows": blob.rows,
        "meta": blob.meta,
        "sections": [asdict(section) for section in blob.sections],
        "row_size": blob.shape.row_size,
        "columns": [asdict(column) for column in blob.shape.columns],
        "tables": [asdict(table) for table in blob.shape.tables],
        "forms": [[asdict(piece) for piece in form] for form in blob.shape.forms],
    }


def blob_text(blob: Blob) -> str:
    """Return the same as text."""
    counts = ", ".join(f"{family} {runs}" for family, runs in blob.families.items())
    lines = [
        f"{'build_id':<10} {blob.build_id}",
        f"{'bytes':<10} {blob.size}",
        f"{'runs':<10} {counts}",
        f"{'rows':<10} {blob.rows}",
        *_meta_lines(blob.meta),
        f"{'section':<10} {'offset':>10} {'length':>10}",
        *(f"{s.tag:<10} {s.offset:>10} {s.length:>10}" for s in blob.sections),
        *_shape_lines(blob.shape),
    ]
    return "\n".join(map(printable, lines))


def _meta_lines(meta: dict[str, Any]) -> list[str]:
    rest = dict(meta)
    lines = []
    for source in rest.pop("sources", []):
        described = ", ".join(f"{key} {_plain(value)}" for key, value in source.items())
        lines.append(f"{'source':<10} {described}")
    fields = ", ".join(rest.pop("fields"))
    lines.append(f"{'fields':<10} {fields}")
    return lines + [f"{key:<10} {json.dumps(value)}" for key, value in rest.items()]


def _plain(value: object) -> str:
    """Return a string itself, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _shape_lines(shape: Shape) -> list[str]:
    parts = {
        "column": map(_column, shape.columns),
        "table": (f"column {table.column}, texts from {table.first} on" for table in shape.tables),
        "form": (", ".join(map(_piece, form)) for form in shape.forms),
    }
    return [
        f"{f'{what} {number}':<10} {described}"
        for what, all_described in parts.items()
        for number, described in enumerate(all_described)
    ]


def _column(column: Column) -> str:
    if not column.width:
        return f"the number of the row, {column.limit} entries"
    if column.kind == ColumnKind.NUMBER:
        return f"bytes {column.at} to {column.at + 3}, numbers of {column.limit} decimals"
    return f"bytes {column.at} to {column.at + column.width - 1}, {column.limit} entries"


def _piece(piece: Piece) -> str:
    return f"{_PIECES[PieceKind(piece.kind)]} {piece.arg}"
