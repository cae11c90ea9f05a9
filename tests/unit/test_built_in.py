"""The built-in tables: how they are made, what they contain, and names that are not places."""

import re
import subprocess
import sys

import pytest

from harness import ROOT
from ipgeo.places.built_in import COUNTRY_TABLE, DIVISION_TABLE, built_in, read_table
from ipgeo.places.kinds import KINDS, kind_of

GENERATE = ROOT / "compiler" / "tables" / "generate.py"


def test_the_tables_are_what_the_generator_writes() -> None:
    done = subprocess.run(
        [sys.executable, GENERATE, "--check"], capture_output=True, check=False, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_iso_3166_1_is_whole() -> None:
    rows = read_table(COUNTRY_TABLE)
    assert len(rows) == 250
    for row in rows:
        codes = row["alpha2"], row["alpha3"], row["numeric"]
        assert re.fullmatch("[A-Z]{2} [A-Z]{3} [0-9]{3}", " ".join(codes))
        names = (*codes, row["chinese"], row["english"])
        assert {built_in().find((), name) for name in names} == {row["alpha2"]}


def test_the_divisions_of_china() -> None:
    rows = read_table(DIVISION_TABLE)
    assert all(re.fullmatch("[0-9]{6}", row["code"]) for row in rows)
    provinces = {row["code"]: row for row in rows if row["parent"] == "CN"}
    assert len([row for row in provinces.values() if row["iso3166_2"]]) == 34
    assert {row["parent"] for row in rows} - {"CN"} <= provinces.keys()
    assert len([row for row in rows if row["parent"] == "710000"]) == 22


def names_of(row: dict[str, str]) -> set[str]:
    single = {row.get(column, "") for column in ("chinese", "english", "name", "full_name")}
    return (single | set(row["aliases"].split("|"))) - {""}


def test_a_name_finds_one_place() -> None:
    for row in read_table(COUNTRY_TABLE):
        assert {built_in().find((), name) for name in names_of(row)} == {row["alpha2"]}
    for row in read_table(DIVISION_TABLE):
        parent = ("CN",) if row["parent"] == "CN" else ("CN", row["parent"])
        assert {built_in().find(parent, name) for name in names_of(row)} == {row["code"]}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("保留地址", "reserved"),
        ("局域网", "private"),
        ("共享地址", "shared"),
        ("组播地址", "multicast"),
        ("欧盟", "region"),
        ("EUROPE", "region"),
        ("APNIC", "organization"),
        ("IANA", "organization"),
        ("AT&T", "organization"),
        ("CDN77", "organization"),
        ("GoDaddy.com", "organization"),
        ("euNetworks 骨干网", "organization"),
        ("中国", None),
        ("USA", None),
        ("UNITED STATES", None),
        ("Atlantis", None),
        ("123", None),
        ("国", None),
        ("", None),
    ],
)
def test_what_a_name_stands_for(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_the_kinds_are_known() -> None:
    kinds = {row["kind"] for row in read_table("kinds.tsv")}
    assert kinds <= set(KINDS)
