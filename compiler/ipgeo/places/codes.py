"""The country, province and city code tables.

A name's code is looked up within its country and province, never by the bare name: 鹤岗 under 日本
has no code, though 鹤岗 under 中国 黑龙江 has.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ipgeo.errors import InputError
from ipgeo.files.reading import read_regular
from ipgeo.places.location import Location

COUNTRY_FILE = "country_list.txt"
PROVINCE_FILE = "china_province_code.txt"
CITY_FILE = "china_city_code.txt"
FILES = (COUNTRY_FILE, PROVINCE_FILE, CITY_FILE)

NamePath = tuple[str, ...]
"""A name within its country and province: one to three names, the country first."""


@dataclass(frozen=True)  # no slots: it caches a property
class Codes:
    """Codes by path of names: (country,), (country, province) or (country, province, city)."""

    by_names: Mapping[NamePath, str] = field(default_factory=dict)
    facts: tuple[dict[str, str | int], ...] = ()

    def of(self, location: Location) -> tuple[str | None, str | None, str | None]:
        """Return the country, province and city code of ``location``; None for one without."""
        names = (location.country, location.province, location.city)
        country, province, city = (self.by_names.get(names[:depth]) for depth in (1, 2, 3))
        return country, province, city

    def uncoded(self, location: Location) -> Iterator[NamePath]:
        """Yield the paths of names in ``location`` that should have a code but have none.

        Every country should; a province or city only in a country (province) for which the tables
        list any provinces (cities).
        """
        names = (location.country, location.province, location.city)
        for depth in (1, 2, 3):
            path = names[:depth]
            if path[-1] and path[:-1] in self._listed and path not in self.by_names:
                yield path

    @cached_property
    def _listed(self) -> frozenset[NamePath]:
        return frozenset(path[:-1] for path in self.by_names)


def read_codes(folder: Path) -> Codes:
    """Read the three code files in ``folder``; all three are required.

    Each is UTF-8 with or without a byte order mark, with LF or CRLF, its columns tab-separated.
    Raises InputError naming file and line, and OSError for a file that cannot be read.
    """
    by_names: dict[NamePath, str] = {}
    facts: list[dict[str, str | int]] = []
    for name, columns in zip(FILES, (7, 3, 4), strict=True):
        data = read_regular(folder / name)
        table = _table(folder / name, data, columns)
        by_names.update(table)
        digest = hashlib.sha256(data).hexdigest()
        facts.append({"format": name, "rows": len(table), "bytes": len(data), "sha256": digest})
    return Codes(by_names, tuple(facts))


def _table(path: Path, data: bytes, columns: int) -> dict[NamePath, str]:
    table: dict[NamePath, str] = {}
    for number, line in enumerate(_lines(path, data), start=1):
        if not line:
            continue
        position = f"line {number}"
        cells = line.split("\t")
        if len(cells) != columns:
            raise InputError(path, position, f"{len(cells)} columns instead of {columns}")
        names, code = _row(cells)
        if not code or not all(names):
            raise InputError(path, position, "an empty name or code")
        if table.setdefault(names, code) != code:
            raise InputError(path, position, f"{' '.join(names)} already has code {table[names]}")
    if not table:
        raise InputError(path, "", "no rows")
    return table


def _lines(path: Path, data: bytes) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Not in `data`: the error's offset does not count a byte order mark.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(path, f"line {line}", f"not UTF-8: {error.reason}") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    for number, content in enumerate(lines, start=1):
        if any(ord(character) < ord(" ") and character != "\t" for character in content):
            raise InputError(path, f"line {number}", "a control character")
    return lines


def _row(cells: list[str]) -> tuple[NamePath, str]:
    """Return a row's names and code: a country's code follows its name, the others' lead."""
    if len(cells) == 7:
        return (cells[0],), cells[1]
    return tuple(cells[1:]), cells[0]
