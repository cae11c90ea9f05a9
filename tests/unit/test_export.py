"""The exports, read back by other people's readers and compared with the blob."""

import csv
import io
import json
import os
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import maxminddb
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness import blobs
from harness.compiler import compiler
from ipgeo.blob.reader import Blob
from ipgeo.cli.main import main
from ipgeo.exports.csv import export_csv
from ipgeo.exports.mmdb import export_mmdb
from ipgeo.places.answers import Answer
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.address import LAST_ADDRESS, format_ipv4, parse_ipv4

BUILT = 1_500_000_000
ATLANTIS, UTOPIA = 0, 1

Members = dict[str, Any]


def expected_members(blob: Blob) -> list[Members | None]:
    """Return the members of each location by its id; the id after the last one is no data."""
    members = [json.loads(blob.answer(number).object_without_ip) for number in range(blob.rows)]
    return [*members, None]


def without_null(members: Members | None) -> Members | None:
    if members is None:
        return None
    return {name: value for name, value in members.items() if value is not None}


def edges(blob: Blob) -> Iterator[tuple[int, int]]:
    """Yield the first and the last address of every run, each with the run's location id."""
    for first, last, location in blob.spans():
        number = blob.rows if location is None else location
        yield first, number
        yield last, number


@contextmanager
def open_reader(mmdb: bytes) -> Iterator[maxminddb.Reader]:
    # From a file, for the reader in C is ten times as fast.
    with tempfile.NamedTemporaryFile() as file:
        file.write(mmdb)
        file.flush()
        with maxminddb.open_database(file.name) as reader:
            yield reader


def differences(blob: Blob, mmdb: bytes) -> list[str]:
    """Return the edges of runs at which the MMDB does not answer what the blob does."""
    records = [without_null(members) for members in expected_members(blob)]
    with open_reader(mmdb) as reader:
        return [
            format_ipv4(address)
            for address, number in edges(blob)
            if reader.get(format_ipv4(address)) != records[number]
        ]


def test_mmdb_answers_as_the_blob_does() -> None:
    blob = Blob(blobs.fictional(gap=True))
    assert differences(blob, export_mmdb(blob, BUILT)) == []


def test_mmdb_record() -> None:
    mmdb = export_mmdb(Blob(blobs.fictional(gap=True)), BUILT)
    with open_reader(mmdb) as reader:
        assert reader.get(blobs.ATLANTIS_IP) == {
            "country": "Atlantis",
            "country_code": "AT",
            "province": "海底",
            "province_code": "420000",
            "city": 'Deep "Blue"',
            "city_code": "421000",
            "organization": "Triton/Sons",
            "isp": "Bubble",
            "latitude": 31.25,
            "longitude": -24.5,
            "time_zone": "Ocean/Deep",
        }
        assert reader.get(blobs.UTOPIA_IP) == {
            "country": "Utopia",
            "province": "",
            "city": "",
            "organization": "",
            "isp": "",
            "time_zone": "",
        }
        assert reader.get(blobs.GAP_IP) is None


def test_equal_values_of_other_types_are_other_values_in_mmdb() -> None:
    values = [1, 1.0, True, 0, 0.0, False, -1, -1.0, 1 << 32, float(1 << 32), 1 << 100, "1"]
    texts = [json.dumps(value).encode() for value in values]
    answers = [Answer(b"[%s]" % text, b'"value":%s}' % text) for text in texts]
    starts = array("I", range(len(values)))
    blob = Blob(blobs.of_answers(starts, array("I", range(len(values))), answers))
    with open_reader(export_mmdb(blob, BUILT)) as reader:
        found = [reader.get(format_ipv4(number)) for number in starts]
    assert [repr(record) for record in found] == [repr({"value": value}) for value in values]


def test_mmdb_metadata() -> None:
    blob = Blob(blobs.fictional())
    mmdb = export_mmdb(blob, BUILT)
    assert mmdb == export_mmdb(blob, BUILT)
    with open_reader(mmdb) as reader:
        metadata = reader.metadata()
    assert (metadata.database_type, metadata.ip_version) == ("ipgeo", 4)
    assert metadata.build_epoch == BUILT
    assert blob.build_id in metadata.description["en"]


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("start", ["1.2.3.0", "1.2.4.0", "5.0.0.0", "6.0.0.0"])
def test_a_moved_start_of_a_run_is_noticed(start: str, by: int) -> None:
    right = {"0.0.0.0": UTOPIA, "1.2.3.0": ATLANTIS, "1.2.4.0": UTOPIA}  # noqa: S104 - idem
    right |= {"5.0.0.0": NO_DATA, "6.0.0.0": UTOPIA}
    moved = format_ipv4((parse_ipv4(start) or 0) + by)
    wrong = {moved if text == start else text: location for text, location in right.items()}
    blob = Blob(blobs.of_runs(right))
    assert differences(blob, export_mmdb(Blob(blobs.of_runs(wrong)), BUILT)) != []


@pytest.mark.slow
@given(
    st.dictionaries(
        st.integers(0, LAST_ADDRESS), st.sampled_from([ATLANTIS, UTOPIA, NO_DATA]), max_size=40
    ),
    st.sampled_from([ATLANTIS, UTOPIA, NO_DATA]),
)
def test_mmdb_of_any_runs(starts: dict[int, int], lowest: int) -> None:
    runs: dict[str, int] = {}
    for start, location in sorted((starts | {0: lowest}).items()):
        if not runs or location != list(runs.values())[-1]:
            runs[format_ipv4(start)] = location
    blob = Blob(blobs.of_runs(runs))
    assert differences(blob, export_mmdb(blob, BUILT)) == []


@pytest.mark.slow
def test_mmdb_of_the_real_data(real_blob: bytes) -> None:
    blob = Blob(real_blob)
    assert differences(blob, export_mmdb(blob, BUILT)) == []


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_row_for_each_run() -> None:
    blob = Blob(blobs.fictional(gap=True))
    text = export_csv(blob).decode()
    rows = read_csv(text)
    assert text.partition("\n")[0] == (
        "first,last,country,country_code,province,province_code,city,city_code,organization,isp,"
        "latitude,longitude,time_zone"
    )
    assert [(row["first"], row["last"], row["country"]) for row in rows] == [
        ("0.0.0.0", "1.2.2.255", "Utopia"),  # noqa: S104 - no bind address
        ("1.2.3.0", "1.2.3.255", "Atlantis"),
        ("1.2.4.0", "4.255.255.255", "Utopia"),
        ("6.0.0.0", "255.255.255.255", "Utopia"),
    ]
    assert rows[1]["city"] == 'Deep "Blue"'
    assert rows[1]["latitude"] == "31.25"
    assert rows[0]["country_code"] == rows[0]["latitude"] == ""


def test_csv_has_numbers_without_exponent_and_json_booleans() -> None:
    texts = {"1e-06": "0.000001", "34.0": "34.0", "7": "7", "true": "true", "false": "false"}
    answers = [Answer(b"[%s]" % t, b'"value":%s}' % t) for t in map(str.encode, texts)]
    numbers = array("I", range(len(texts)))
    rows = read_csv(export_csv(Blob(blobs.of_answers(numbers, numbers, answers))).decode())
    assert [row["value"] for row in rows] == list(texts.values())


def as_cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text.lower() if isinstance(value, bool) else text


@pytest.mark.slow
def test_csv_of_the_real_data(real_blob: bytes) -> None:
    blob = Blob(real_blob)
    rows = read_csv(export_csv(blob).decode())
    cells = [
        {name: as_cell(value) for name, value in (members or {}).items()}
        for members in expected_members(blob)
    ]
    assert len(rows) == blob.runs
    for (first, last, number), row in zip(blob.spans(), rows, strict=True):
        assert number is not None
        assert row == {"first": format_ipv4(first), "last": format_ipv4(last)} | cells[number]


@pytest.fixture
def fictional_file(tmp_path: Path) -> Path:
    path = tmp_path / "fiction.blob"
    path.write_bytes(blobs.fictional(gap=True))
    return path


def test_the_command_publishes_both(fictional_file: Path, tmp_path: Path) -> None:
    blob = Blob(fictional_file.read_bytes())
    expected = {
        "mmdb": export_mmdb(blob, int(fictional_file.stat().st_mtime)),
        "csv": export_csv(blob),
    }
    for form, content in expected.items():
        out = tmp_path / form
        arguments = ["export", str(fictional_file), "--format", form, "-o", str(out)]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert (result.exit_code, result.output) == (0, "")
        assert out.read_bytes() == content


def test_the_command_writes_to_standard_output(fictional_file: Path) -> None:
    arguments = ["export", str(fictional_file), "--format", "csv", "-o", "-"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.stdout_bytes == export_csv(Blob(fictional_file.read_bytes()))


def test_the_command_refuses_a_file_that_is_not_a_blob(tmp_path: Path) -> None:
    path, out = tmp_path / "not.blob", tmp_path / "out"
    path.write_bytes(b"no blob")
    arguments = ["export", str(path), "--format", "mmdb", "-o", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("flags", [[], ["--force"]])
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
@pytest.mark.parametrize("form", ["mmdb", "csv"])
def test_the_command_does_not_replace_its_input(
    fictional_file: Path, tmp_path: Path, form: str, link: str | None, flags: list[str]
) -> None:
    out = tmp_path / "link" if link else fictional_file
    if link:
        getattr(out, link)(fictional_file)
    done = compiler("export", fictional_file, "--format", form, "-o", out, *flags)
    assert (done.status, done.out) == (2, "")
    assert f" is the input {fictional_file}: it would be replaced\n" in done.err
    assert fictional_file.read_bytes() == blobs.fictional(gap=True)


def test_only_force_lets_the_command_replace_another_blob(
    fictional_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "other.blob"
    out.write_bytes(blobs.fictional())
    command = ["export", fictional_file, "--format", "csv", "-o", out]
    done = compiler(*command)
    problem = "exists and is an ipgeo blob; --force replaces it"
    assert (done.status, done.out, done.err) == (1, "", f"Error: {out}: {problem}\n")
    assert out.read_bytes() == blobs.fictional()
    assert compiler(*command, "--force").status == 0
    assert out.read_bytes().startswith(b"first,last,")
    assert compiler(*command).status == 0, "what is no blob it replaces as ever"


def test_a_too_long_name_is_reported(fictional_file: Path, tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") - len("." + ".abcd1234.ipgeo-new")
    out = tmp_path / ("x" * (longest + 1))
    command = ["export", fictional_file, "--format", "csv", "-o"]
    done = compiler(*command, out)
    problem = "the name is 1 bytes too long for the files that are written beside it"
    assert (done.status, done.err) == (1, f"Error: {out}: {problem}\n")
    assert compiler(*command, tmp_path / ("x" * longest)).status == 0


def test_the_file_system_limits_the_length_of_a_name(
    fictional_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An overlay in a container may allow 251 bytes instead of 255, encryption 143."""
    command = ["export", fictional_file, "--format", "csv", "-o"]
    room = 143 - len("." + ".abcd1234.ipgeo-new")
    monkeypatch.setattr(os, "pathconf", lambda _path, _name: 143)
    done = compiler(*command, tmp_path / ("x" * (room + 1)))
    assert done.status == 1
    assert "the name is 1 bytes too long" in done.err
    assert compiler(*command, tmp_path / ("x" * room)).status == 0
    monkeypatch.setattr(os, "pathconf", lambda _path, _name: -1)  # no limit
    assert compiler(*command, tmp_path / ("x" * (room + 1))).status == 0
