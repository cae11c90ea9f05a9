"""What is done with blobs of both families: proof, difference, gates, exports, commands."""

import csv
import io
import json
import tempfile
from array import array
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path

import maxminddb
import pytest

from harness.compiler import compiler
from harness.parts import InParts, in_parts, runs6
from ipgeo.blob.reader import Blob
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.compile import compile_blob
from ipgeo.compiling.plan import plan_body
from ipgeo.compiling.prove import prove
from ipgeo.errors import ProofError
from ipgeo.exports.csv import export_csv
from ipgeo.exports.mmdb import export_mmdb
from ipgeo.places.answers import fields_of, rows_of
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Location, Source
from ipgeo.ranges.address import FAMILIES, IPV4, IPV6, format_address
from ipgeo.ranges.columns import Runs4
from ipgeo.release import gates
from ipgeo.release.diff import diff
from ipgeo.release.diff_report import as_dict, as_lines
from ipgeo.release.expected import read_expected
from ipgeo.release.gates import Limits, State

A, B, WITHOUT_CODE = 0, 1, 2
CODES = Codes({("A",): "AA", ("B",): "BB"})
LOCATIONS = [Location("A", "海"), Location("B"), Location("C")]
ANSWERS = [
    '["A","AA","海","None","","None","",""]',
    '["B","BB","","None","","None","",""]',
    '["C","None","","None","","None","",""]',
]
V4 = Runs4(array("I", [0, 1 << 31]), array("I", [A, B]))
V6 = {"::": NO_DATA, "2001:db8::": A, "2001:db8::1": B, "2001:db9::": NO_DATA}


def source(v6: Mapping[str, int] | None = None) -> Source:
    runs = runs6(v6) if v6 else None
    return Source(V4, LOCATIONS, {"format": "x", "records": 1}, v6=runs)


def blob(v6: Mapping[str, int] | None = None) -> Blob:
    fields = fields_of(())
    rows = [*map(rows_of(CODES, (), fields), LOCATIONS)]
    runs = runs6(v6) if v6 else None
    return Blob(write_blob(V4, plan_body(rows, fields, max_arrays=0), {}, runs))


# Proof


def test_a_source_of_both_families_is_compiled_and_proven() -> None:
    built = compile_blob(source(V6), CODES)
    assert built.blob.families == {"IPv4": 2, "IPv6": 4}
    assert built.data == compile_blob(source(V6), CODES).data


WRONG = {
    "another start": ({"::": NO_DATA, "2001:db8::": A, "2001:db8::2": B}, "2001:db8::1"),
    "another answer": (V6 | {"2001:db8::1": WITHOUT_CODE}, "2001:db8::1"),
    "data at the end": (V6 | {"2001:db9::": A}, "2001:db9::"),
    "no data": ({"::": NO_DATA}, "2001:db8::"),
    "no IPv6": (None, "2001:db8::"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_difference_in_ipv6_fails_the_proof(name: str) -> None:
    wrong, address = WRONG[name]
    prove(blob(V6), source(V6), CODES)
    with pytest.raises(ProofError, match=rf"^{address}: the source .*, the blob "):
        prove(blob(wrong), source(V6), CODES)
    with pytest.raises(ProofError, match=rf"^{address}: the source .*, the blob "):
        prove(blob(V6), source(wrong), CODES)


def test_no_ipv6_and_no_data_in_ipv6_are_equal() -> None:
    prove(blob(), source({"::": NO_DATA}), CODES)
    prove(blob({"::": NO_DATA}), source(), CODES)


# Difference


def test_the_difference_in_ipv6() -> None:
    new = V6 | {"2001:db8::1": WITHOUT_CODE, "2001:db9::": A, "2001:db9:1::": NO_DATA}
    found = diff(blob(V6), blob(new))
    end_of_db8 = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
    assert found.v4.ranges == 0
    assert found.v6
    assert (found.v6.changed, found.v6.total, found.v6.ranges) == (1 << 16, (1 << 16) + 1, 2)
    assert as_lines(found) == [
        "65,536 /48 networks changed, 99.998474 % of those with data, in 2 ranges",
        "by country:",
        "         65,535  B → C",
        "              1  no data → A",
        "the largest changed ranges:",
        f"         65,535  2001:db8::1 - {end_of_db8}  {ANSWERS[B]} → {ANSWERS[WITHOUT_CODE]}",
        f"              1  2001:db9:: - 2001:db9:0:ffff:ffff:ffff:ffff:ffff  null → {ANSWERS[A]}",
    ]
    shown = as_dict(found)["ipv6"]
    assert (shown["networks48"], shown["ranges"]) == (1 << 16, 2)
    assert shown["largest"][0]["first"] == "2001:db8::1"
    assert shown["largest"][1] == {
        "first": "2001:db9::",
        "last": "2001:db9:0:ffff:ffff:ffff:ffff:ffff",
        "networks48": 1,
        "old": None,
        "new": ["A", "AA", "海", "None", "", "None", "", ""],
    }


MOVED = {"::": NO_DATA, "2001:db8::": A, "2001:db8::2": B, "2001:db9::": NO_DATA}


def test_a_change_below_a_48_is_shown() -> None:
    found = diff(blob(V6), blob(MOVED))
    assert found.v6
    assert (found.v6.changed, found.v6.ranges) == (0, 1)
    assert as_lines(found)[0] == ("0 /48 networks changed, 0 % of those with data, in 1 ranges")


def test_blobs_without_ipv6_have_no_difference_in_it() -> None:
    assert diff(blob(), blob()).v6 is None
    assert as_dict(diff(blob(), blob()))["ipv6"] is None
    found = diff(blob(V6), blob()).v6
    assert found
    assert (found.changed, found.percent) == (1 << 16, 100)


# Gates


def judged(old: Blob, new: Blob, limits: Limits) -> dict[str, State]:
    verdicts = gates.compare(old, new, diff(old, new), limits)
    return {verdict.gate: verdict.state for verdict in verdicts}


PASSED = {"max-change": State.PASSED, "coverage": State.PASSED, "country-code": State.PASSED}
# 2001:db8::/32 has 65,536 /48 networks, of which one in eight changes.
EIGHTH = {"::": NO_DATA, "2001:db8::": A, "2001:db8:e000::": WITHOUT_CODE, "2001:db9::": NO_DATA}
WHOLE = {"::": NO_DATA, "2001:db8::": A, "2001:db9::": NO_DATA}
LESS = {"::": NO_DATA, "2001:db8::": A, "2001:db8:ffff::": NO_DATA}


@pytest.mark.parametrize(
    ("old", "new", "limits", "failed"),
    [
        (WHOLE, WHOLE, Limits(), []),
        (WHOLE, EIGHTH, Limits(), ["country-code"]),
        (WHOLE, EIGHTH, Limits(max_uncoded_rise=12.5), []),
        (WHOLE, EIGHTH, Limits(max_uncoded_rise=12.4), ["country-code"]),
        (WHOLE, EIGHTH, Limits(max_uncoded_rise=50, max_change=12.5), []),
        (WHOLE, EIGHTH, Limits(max_uncoded_rise=50, max_change=12.4), ["max-change"]),
        (WHOLE, LESS, Limits(), ["coverage"]),
        (WHOLE, None, Limits(), ["max-change", "coverage"]),
        (None, EIGHTH, Limits(), []),
        (LESS, WHOLE, Limits(), []),
    ],
)
def test_gates_judge_ipv6_by_itself(
    old: Mapping[str, int] | None,
    new: Mapping[str, int] | None,
    limits: Limits,
    failed: list[str],
) -> None:
    expected = PASSED | dict.fromkeys(failed, State.FAILED)
    assert judged(blob(old), blob(new), limits) == expected


def test_what_the_gates_say_of_ipv6() -> None:
    old, new = blob(WHOLE), blob(EIGHTH)
    verdicts = gates.compare(old, new, diff(old, new), Limits())
    all_of_both = "4,294,967,296 addresses and 65,536 /48 networks"
    without_code = "0 % of all addresses have data without a country code"
    in_ipv6 = "; of the /48 networks with data 12.5 %, before 0 %"
    assert [verdict.message for verdict in verdicts] == [
        "0 % of all addresses and 12.5 % of the /48 networks with data changed (limit 20 %)",
        f"{all_of_both} have data, before 4,294,967,296 and 65,536",
        f"{without_code}, before 0 %{in_ipv6} (limit: a rise of 1 points)",
    ]
    assert [verdict.figures["ipv6"] for verdict in verdicts] == [
        {"networks48": 1 << 13, "percent": 12.5},
        {"networks48": 1 << 16, "before": 1 << 16},
        {"percent": 12.5, "before": 0},
    ]


# Exports


@pytest.fixture(scope="module")
def made() -> InParts:
    return in_parts(300, 400, 400)


def test_csv_has_the_runs_of_both_families(made: InParts) -> None:
    both = Blob(made.data)
    rows = list(csv.reader(io.StringIO(export_csv(both).decode())))[1:]
    expected = [
        (format_address(family, first), format_address(family, last))
        for family in FAMILIES
        for first, last, row in both.spans(family)
        if row is not None
    ]
    assert [(row[0], row[1]) for row in rows] == expected
    first, last = ip_address(rows[-1][0]), ip_address(rows[-1][1])
    assert (first.version, last.version) == (6, 6)


IPV4_PLACES = [ip_network(text) for text in ("::/96", "::ffff:0:0/96", "64:ff9b::/96")]


def test_mmdb_answers_as_a_blob_of_both_families_does(made: InParts) -> None:
    both = Blob(made.data)
    records = [
        {name: value for name, value in json.loads(answer.object_without_ip).items()
         if value is not None}
        for answer in both.answers()
    ]  # fmt: skip
    content = export_mmdb(both, 1)
    assert content == export_mmdb(both, 1)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with maxminddb.open_database(file.name) as reader:
            assert reader.metadata().ip_version == 6
            for first, last, row in both.spans(IPV4):
                expected = None if row is None else records[row]
                for address in (first, last):
                    text = format_address(IPV4, address)
                    for asked in (text, f"::ffff:{text}", f"64:ff9b::{text}"):
                        assert reader.get(asked) == expected
            for first, last, row in both.spans(IPV6):
                expected = None if row is None else records[row]
                for address in (first, last):
                    if not any(IPv6Address(address) in place for place in IPV4_PLACES):
                        assert reader.get(format_address(IPV6, address)) == expected


# Commands


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.blob", tmp_path / "new.blob"
    fields = fields_of(())
    rows = [*map(rows_of(CODES, (), fields), LOCATIONS)]
    for path, runs in ((old, WHOLE), (new, EIGHTH)):
        path.write_bytes(write_blob(V4, plan_body(rows, fields, max_arrays=0), {}, runs6(runs)))
    return old, new


def test_lookup_of_both_families(files: tuple[Path, Path]) -> None:
    asked = ["2001:0DB8::1", "::ffff:128.0.0.0", "64:ff9b::1.2.3.4", "1.2.3.4", "::1", "fe80::1%lo"]
    done = compiler("lookup", files[0], *asked)
    a, b, _ = ANSWERS
    assert done.status == 1
    assert done.out.splitlines() == [
        f"2001:db8::1\t{a}",
        f"::ffff:128.0.0.0\t{b}",
        f"64:ff9b::102:304\t{a}",
        f"1.2.3.4\t{a}",
        "::1\tnull",
    ]
    assert done.err == "input 6: 'fe80::1%lo' is not an IP address\n"
    done = compiler("lookup", files[0], "2001:DB8::", "--format", "object")
    assert json.loads(done.out.partition("\t")[2])["ip"] == "2001:db8::"


def test_inspect_of_both_families(files: tuple[Path, Path]) -> None:
    facts = json.loads(compiler("inspect", files[0], "--json").out)
    assert facts["families"] == {"IPv4": 2, "IPv6": 3}
    assert facts["runs"] == 5
    assert facts["columns"] == [{"kind": 0, "at": 0, "width": 1, "limit": 3}]
    assert facts["forms"] == [[{"kind": 1, "arg": 0}], [{"kind": 1, "arg": 1}]]
    text = compiler("inspect", files[0]).out
    assert "\nruns       IPv4 2, IPv6 3\n" in text
    assert "\ncolumn 0   bytes 0 to 0, 3 entries\n" in text


def test_verify_and_diff_of_both_families(files: tuple[Path, Path]) -> None:
    assert compiler("verify", files[0]).out.endswith(", 5 runs\n")
    assert "8,192 /48 networks changed, 12.5 % of those with data" in compiler("diff", *files).out


def test_golden_addresses_of_ipv6(tmp_path: Path) -> None:
    golden = tmp_path / "golden.tsv"
    golden.write_text('2001:DB8::\t["A","AA","海","None","","None","",""]\n::1\tnull\n')
    limits = Limits(expected=read_expected(golden))
    assert gates.judge_expected(blob(V6), limits).state == State.PASSED
    assert gates.judge_expected(blob(), limits).state == State.FAILED
