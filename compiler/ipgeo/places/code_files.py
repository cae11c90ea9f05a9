"""An operator's three code files: countries, China's provinces, China's cities."""

import hashlib
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from ipgeo.errors import InputError
from ipgeo.files.reading import read_regular
from ipgeo.places.codes import Codes
from ipgeo.places.location import NamePath

COUNTRY_FILE = "country_list.txt"
PROVINCE_FILE = "china_province_code.txt"
CITY_FILE = "china_city_code.txt"
FILES = (COUNTRY_FILE, PROVINCE_FILE, CITY_FILE)

_BYTE_ORDER_MARK = "\ufeff"
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")
"""Unicode's categories of invisible characters: control, format, line separators."""


class _Form(NamedTuple):
    """The form of a file's rows."""

    columns: int
    code: int
    names: slice
    pattern: re.Pattern[str]
    description: str


_LATITUDE = 5
"""Its column in the file of countries."""

_SIX_DIGITS = re.compile("[0-9]{6}"), "six digits"
_FORMS = {
    COUNTRY_FILE: _Form(7, 1, slice(0, 1), re.compile("[A-Z]{2}"), "two capital letters"),
    PROVINCE_FILE: _Form(3, 0, slice(1, 3), *_SIX_DIGITS),
    CITY_FILE: _Form(4, 0, slice(1, 4), *_SIX_DIGITS),
}


def read_codes(folder: Path) -> Codes:
    """Read the three code files in ``folder``; all three are required.

    Each is UTF-8 with or without a byte order mark, with LF or CRLF, its columns tab-separated,
    without a header. White space (also no-break spaces) and byte order marks around a cell are
    removed. Raises InputError naming file and line, and OSError for a file that cannot be read.
    """
    by_names: dict[NamePath, str] = {}
    facts: list[dict[str, str | int]] = []
    for name in FILES:
        data = read_regular(folder / name)
        table = _table(folder / name, data, _FORMS[name])
        by_names.update(table)
        digest = hashlib.sha256(data).hexdigest()
        facts.append({"format": name, "rows": len(table), "bytes": len(data), "sha256": digest})
    return Codes(by_names, tuple(facts))


def _table(path: Path, data: bytes, form: _Form) -> dict[NamePath, str]:
    table: dict[NamePath, str] = {}
    for number, line in enumerate(_decoded(path, data).split("\n"), start=1):
        if not _trimmed(line):
            continue
        try:
            _add_row(table, [_trimmed(cell) for cell in line.split("\t")], form)
        except ValueError as error:
            raise InputError(path, f"line {number}", str(error)) from None
    if not table:
        raise InputError(path, "", "no rows")
    return table


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Not in `data`: the error's offset does not count a byte order mark.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(path, f"line {line}", f"not UTF-8: {error.reason}") from None


def _trimmed(text: str) -> str:
    """Return ``text`` without white space and byte order marks around it, in any order."""
    while (shorter := text.strip().strip(_BYTE_ORDER_MARK)) != text:
        text = shorter
    return text


def _add_row(table: dict[NamePath, str], cells: list[str], form: _Form) -> None:
    """Add a row to the rows before it. Raises ValueError."""
    names, code = _row(cells, form)
    if not table and form.columns == _FORMS[COUNTRY_FILE].columns:
        _check_no_header(cells)
    if table.setdefault(names, code) != code:
        raise ValueError(f"{' '.join(names)} already has code {table[names]}")


def _row(cells: list[str], form: _Form) -> tuple[NamePath, str]:
    """Return a row's names and code. Raises ValueError."""
    if len(cells) != form.columns:
        raise ValueError(f"{len(cells)} columns instead of {form.columns}")
    code, names = cells[form.code], tuple(cells[form.names])
    if not code or not all(names):
        raise ValueError("an empty name or code")
    for cell in (code, *names):
        _check_visible(cell)
    if not form.pattern.fullmatch(code):
        raise ValueError(f"the code {code!r} is not {form.description}")
    return names, code


def _check_no_header(cells: list[str]) -> None:
    """Refuse a first row whose latitude is a word: a header's CC or ID has the form of a code."""
    if cells[_LATITUDE].isalpha():
        raise ValueError(f"a header row: its latitude is {cells[_LATITUDE]!r}")


def _check_visible(cell: str) -> None:
    """Refuse hidden characters: names that look the same would differ. Raises ValueError."""
    for character in cell:
        hidden = unicodedata.category(character) in _UNSEEN
        if hidden or (character.isspace() and character != " "):
            name = unicodedata.name(character, "a control character")
            raise ValueError(f"{name} (U+{ord(character):04X}) in {cell!r}")
