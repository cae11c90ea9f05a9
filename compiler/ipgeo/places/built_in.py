"""The codes that are built in: countries of ISO 3166-1 and China's divisions of GB/T 2260.

``compiler/tables/generate.py`` writes the tables; docs/codes.md has their columns and origins.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

COUNTRY_TABLE, DIVISION_TABLE = "countries.tsv", "divisions.tsv"

CHINA = "CN"

Place = tuple[str | None, ...]
"""The codes of a place and of its parents, the country's first; None for an unknown one."""

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Country:
    """What is known of a country: its names, and what follows from its code; "" for unknown."""

    chinese: str
    english: str
    continent_code: str
    is_eu: bool
    currency_code: str
    phone_prefix: str


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """The built-in codes.

    The keys of ``codes`` are the place that contains a name, followed by the name: ``("中国",)``,
    ``("CN", "河南")``, ``("CN", "410000", "商丘")``. Names are casefolded, ISO codes are not.
    ``parents`` are the places below which there are codes. ``digests`` maps each table's name to
    its SHA-256, for a blob's metadata.
    """

    codes: Mapping[Place, str]
    parents: frozenset[Place]
    digests: Mapping[str, str]

    def find(self, parent: Place, name: str) -> str | None:
        """Return the code that ``name`` (a name or an ISO code) has in ``parent``, or None."""
        return self.codes.get((*parent, name)) or self.codes.get((*parent, name.casefold()))


@cache
def built_in() -> BuiltIn:
    """Return the built-in codes, read once."""
    named = (*_countries(), *_divisions())
    codes = {path: code for path, code in named if path[-1]}  # not every row has all names
    parents = frozenset(path[:-1] for path in codes)
    digests = {name: _digest(name) for name in (COUNTRY_TABLE, DIVISION_TABLE)}
    return BuiltIn(codes, parents, digests)


@cache
def countries() -> Mapping[str, Country]:
    """Return the countries by their ISO 3166-1 alpha-2 codes."""
    return {row["alpha2"]: _country(row) for row in read_table(COUNTRY_TABLE)}


def _country(row: Row) -> Country:
    texts = ("chinese", "english", "continent_code", "currency_code", "phone_prefix")
    known = {name: row[name] for name in texts}
    return Country(is_eu=row["is_eu"] == "true", **known)


@cache
def province_names() -> Mapping[str, str]:
    """Return the short Chinese names of China's provinces by their codes of GB/T 2260."""
    rows = read_table(DIVISION_TABLE)
    return {row["code"]: row["name"] for row in rows if row["parent"] == CHINA}


def _countries() -> Iterator[tuple[Place, str]]:
    for row in read_table(COUNTRY_TABLE):
        isos = (row[column] for column in ("alpha2", "alpha3", "numeric"))
        for name in (*isos, *_names(row, "chinese", "english")):
            yield (name,), row["alpha2"]


def _divisions() -> Iterator[tuple[Place, str]]:
    for row in read_table(DIVISION_TABLE):
        parent = (CHINA,) if row["parent"] == CHINA else (CHINA, row["parent"])
        for name in (row["iso3166_2"], *_names(row, "name", "full_name")):
            yield (*parent, name), row["code"]


def _names(row: Row, *columns: str) -> Iterator[str]:
    yield from (row[column].casefold() for column in columns)
    yield from (alias.casefold() for alias in row["aliases"].split("|"))


@cache
def read_table(name: str) -> Sequence[Row]:
    """Return the rows of a built-in table by its header's names, read once."""
    text = io.StringIO(_content(name).decode())
    return list(csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True))


def _content(name: str) -> bytes:
    return files("ipgeo.places").joinpath("tables", name).read_bytes()


def _digest(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()
