"""The codes that are built in: countries of ISO 3166-1 and China's divisions of GB/T 2260.

``compiler/tables/generate.py`` writes the tables; docs/codes.md has their columns and origins.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

COUNTRY_TABLE, DIVISION_TABLE = "countries.tsv", "divisions.tsv"

_COUNTRY_NAMES, _DIVISION_NAMES = ("chinese", "english"), ("name", "full_name")

Place = tuple[str | None, ...]
"""The codes of a place and of what it lies in, the country's first; None for an unknown one."""

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """The built-in codes.

    ``codes`` has them by the place that a name lies in, followed by the name: ``("中国",)``,
    ``("CN", "河南")``, ``("CN", "410000", "商丘")``. Names are casefolded, ISO codes are not.
    ``facts`` describes the tables for a blob's metadata.
    """

    codes: Mapping[Place, str]
    facts: tuple[dict[str, str | int], ...]
    parents: frozenset[Place]

    def find(self, parent: Place, name: str) -> str | None:
        """Return the code of what ``name`` or ISO code stands for in ``parent``; None for none."""
        return self.codes.get((*parent, name)) or self.codes.get((*parent, name.casefold()))


@cache
def built_in() -> BuiltIn:
    """Return the built-in codes, read once."""
    codes: dict[Place, str] = {}
    for row in read_table(COUNTRY_TABLE):
        for name in (row["alpha2"], row["alpha3"], row["numeric"], *_names(row, *_COUNTRY_NAMES)):
            codes[name,] = row["alpha2"]
    for row in read_table(DIVISION_TABLE):
        parent = ("CN",) if row["parent"] == "CN" else ("CN", row["parent"])
        for name in (row["iso3166_2"], *_names(row, *_DIVISION_NAMES)):
            codes[*parent, name] = row["code"]
    facts = tuple(map(_facts, (COUNTRY_TABLE, DIVISION_TABLE)))
    codes = {path: code for path, code in codes.items() if path[-1]}  # not every row has all names
    return BuiltIn(codes, facts, frozenset(path[:-1] for path in codes))


def _names(row: Row, *columns: str) -> Iterator[str]:
    yield from (row[column].casefold() for column in columns)
    yield from (alias.casefold() for alias in row["aliases"].split("|"))


def read_table(name: str) -> list[Row]:
    """Return the rows of a built-in table by its header's names."""
    text = io.StringIO(_content(name).decode())
    return list(csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True))


def _content(name: str) -> bytes:
    return files("ipgeo.places").joinpath("tables", name).read_bytes()


def _facts(name: str) -> dict[str, str | int]:
    data = _content(name)
    digest = hashlib.sha256(data).hexdigest()
    rows = data.count(b"\n") - 1  # the first line has the columns' names
    return {"format": f"built-in {name}", "rows": rows, "bytes": len(data), "sha256": digest}
