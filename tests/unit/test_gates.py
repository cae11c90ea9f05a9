"""The gates of a build: what fails each, what passes it, and what a refusal leaves unchanged."""

import json
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from harness import blobs
from harness.compiler import SAMPLE, SAMPLE_CODES, build, compiler
from harness.process import Done
from harness.sources import dat, patched, write_codes
from ipgeo.blob.reader import Blob
from ipgeo.compiling.compile import BuildResult
from ipgeo.files.reading import open_regular
from ipgeo.places.answers import Answer
from ipgeo.places.location import NO_DATA
from ipgeo.ranges.address import ADDRESS_COUNT
from ipgeo.release.gates import State

DONE, BAD_INPUT, USAGE, REFUSED = 0, 1, 2, 3

CHINA = ("中国", "北京", "北京", "")
JAPAN = ("日本", "东京", "", "")
NOWHERE = ("乌有", "", "", "")

PERCENT = ADDRESS_COUNT // 100


class Workspace:
    """A folder with codes, where sources are built to one blob."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "served.blob"
        self.codes = write_codes(folder / "codes")
        self._folder = folder

    def source(self, name: str, *contents: tuple[int, tuple[str, ...]]) -> Path:
        path = self._folder / name
        path.write_bytes(dat(contents))
        return path

    def build(self, source: Path, *flags: object) -> Done:
        return compiler("build", source, "--codes", self.codes, "-o", self.out, *flags)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """What is in every file of the blob, and the inodes: untouched is the same file."""
        return {
            path.name: (path.read_bytes(), path.stat().st_ino)
            for path in self._folder.glob("*served.blob*")
        }

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.beside(".json").read_bytes())
        return manifest

    def beside(self, suffix: str) -> Path:
        return self.out.with_name(self.out.name + suffix)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """All is China."""
    workspace = Workspace(tmp_path)
    assert workspace.build(workspace.source("all.dat", (0, CHINA))).status == DONE
    return workspace


def verdicts(done: Done) -> dict[str, str]:
    return {row["gate"]: row["state"] for row in json.loads(done.out)["gates"]}


def refused(done: Done, gate: str) -> str:
    """Assert that this gate alone refuses; return its message."""
    assert done.status == REFUSED
    assert f"served.blob: left as it is, the new blob is refused by {gate}\n" in done.err
    assert done.err.endswith("--force publishes it anyway\n")
    return done.err


# max-change


@pytest.mark.parametrize(
    ("percent", "flags", "status"),
    [
        (19, [], DONE),
        (21, [], REFUSED),
        (21, ["--max-change", "22"], DONE),
        (21, ["--max-change", "100"], DONE),
        (1, ["--max-change", "0.5"], REFUSED),
        (1, ["--max-change", "0"], REFUSED),
        (21, ["--force"], DONE),
    ],
)
def test_max_change(workspace: Workspace, percent: int, flags: list[str], status: int) -> None:
    new = workspace.source("new.dat", (0, JAPAN), (percent * PERCENT, CHINA))
    before = workspace.files()
    done = workspace.build(new, *flags)
    assert done.status == status
    if status == REFUSED:
        assert workspace.files() == before
        text = refused(done, "max-change")
        assert f"gate max-change   failed: {percent} % of all addresses" in text
        assert "the largest changed ranges:\n" in text
        assert f"  {percent * PERCENT:>13,}  0.0.0.0 - " in text
        assert '["中国","CN","北京","110000","北京","110000","",""] → ["日本","JP",' in text
    else:
        assert "日本" in compiler("lookup", workspace.out, "0.0.0.1").out
        assert workspace.beside(".previous").read_bytes() == before["served.blob"][0]


def test_max_change_is_weighted_by_addresses(workspace: Workspace) -> None:
    """Thousands of runs with few addresses pass; one more run with many fails."""
    little = [(n << 8, JAPAN if n % 2 else NOWHERE) for n in range(4000)]
    assert workspace.build(workspace.source("new.dat", *little, (4000 << 8, CHINA))).status == DONE
    done = workspace.build(workspace.source("much.dat", (0, CHINA), (1 << 31, JAPAN)))
    refused(done, "max-change")


def test_ten_changes_are_shown(workspace: Workspace) -> None:
    eights = [(n << 24, JAPAN if n % 2 else CHINA) for n in range(256)]
    text = refused(workspace.build(workspace.source("new.dat", *eights)), "max-change")
    assert "the largest changed ranges, 10 of 128:\n" in text
    assert text.count("     16,777,216  ") == 10


def test_nan_is_refused_as_a_limit(workspace: Workspace) -> None:
    for value in ("nan", "-1", "101", "inf", "x", ""):
        for flag in ("--max-change", "--max-codeless-rise"):
            done = workspace.build(workspace.source("new.dat", (0, JAPAN)), flag, value)
            assert done.status == USAGE
    assert Blob(workspace.out.read_bytes()).runs == 1


# country-code


@pytest.mark.parametrize(
    ("percent", "flags", "status"),
    [
        (0.9, [], DONE),
        (1.1, [], REFUSED),
        (1.1, ["--max-codeless-rise", "1.2"], DONE),
        (0.1, ["--max-codeless-rise", "0"], REFUSED),
        (1.1, ["--force"], DONE),
    ],
)
def test_country_code(workspace: Workspace, percent: float, flags: list[str], status: int) -> None:
    before = workspace.files()
    end = int(percent * PERCENT)
    done = workspace.build(workspace.source("new.dat", (0, NOWHERE), (end, CHINA)), *flags)
    assert done.status == status
    if status == REFUSED:
        assert workspace.files() == before
        text = refused(done, "country-code")
        assert "data without a country code, before 0 % (limit: a rise of " in text
        assert f"failed: {percent} % of all addresses" in text


def test_fewer_uncoded_addresses_pass(workspace: Workspace) -> None:
    nowhere = workspace.source("nowhere.dat", (0, NOWHERE), (10 * PERCENT, CHINA))
    assert workspace.build(nowhere, "--force").status == DONE
    flags = ["--max-codeless-rise", "0"]
    assert workspace.build(workspace.source("back.dat", (0, CHINA)), *flags).status == DONE


def test_unknown_names_fail_two_gates(workspace: Workspace) -> None:
    source = workspace.source("all.dat", (0, ("Atlantis", "", "", "")))
    done = compiler("build", source, "-o", workspace.out)
    refused(done, "max-change, country-code")


# coverage: no .dat file has a gap, so these blobs come from elsewhere


def build_result(runs: dict[int, int], *, sample: bool = False) -> BuildResult:
    """First addresses to 0 (China) or NO_DATA."""
    answer = Answer(b'["x"]', b'"country":"x","country_code":"XX"}')
    columns = array("I", runs), array("I", runs.values())
    data = blobs.of_answers(*columns, [answer], {"sample": sample, "sources": [{"format": "x"}]})
    return BuildResult(data, Blob(data), Counter(), Counter())


@pytest.fixture
def building(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    source = workspace.source("any.dat", (0, CHINA))

    def build(result: BuildResult, *flags: object) -> Done:
        monkeypatch.setattr("ipgeo.cli.build.compile_blob", lambda *_: result)
        return workspace.build(source, *flags)

    return build


WHOLE = {0: 0}
GAP = {0: 0, 5: NO_DATA, 6: 0}
MOVED_GAP = {0: 0, 7: NO_DATA, 8: 0}


@pytest.mark.parametrize(
    ("old", "new", "flags", "status"),
    [
        (WHOLE, GAP, [], REFUSED),
        (WHOLE, GAP, ["--allow-less-coverage"], DONE),
        (WHOLE, GAP, ["--force"], DONE),
        (GAP, WHOLE, [], DONE),
        (GAP, MOVED_GAP, [], DONE),
    ],
)
def test_coverage(
    workspace: Workspace,
    building: Callable[..., Done],
    *,
    old: dict[int, int],
    new: dict[int, int],
    flags: list[str],
    status: int,
) -> None:
    assert building(build_result(old), "--force").status == DONE
    before = workspace.files()
    done = building(build_result(new), *flags)
    assert done.status == status
    if status == REFUSED:
        assert workspace.files() == before
        text = refused(done, "coverage")
        assert "failed: 4,294,967,295 addresses have data, before 4,294,967,296\n" in text
        assert '\n              1  0.0.0.5 - 0.0.0.5  ["x"] → null\n' in text
    elif "--allow-less-coverage" in flags:
        assert "gate coverage     skipped: --allow-less-coverage: 4,294,967,295" in done.out


# expect


def expect(folder: Path, text: str | bytes) -> Path:
    path = folder / "golden.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


ARRAY = '["中国","CN","北京","110000","北京","110000","",""]'


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (f"1.2.3.4\t{ARRAY}\n", DONE),
        (f"\n1.2.3.4\t{ARRAY}\r\n\r\n", DONE),
        (f"\ufeff1.2.3.4\t{ARRAY.replace(',', ' , ')}", DONE),
        ("1.2.3.4\tnull\n", REFUSED),
        ("1.2.3.4\t[]\n", REFUSED),
        ("1.2.3.4\t{}\n", REFUSED),
        (f"1.2.3.4\t{ARRAY}\n5.6.7.8\t{ARRAY.replace('CN', 'cn')}\n", REFUSED),
    ],
)
def test_expect(workspace: Workspace, tmp_path: Path, text: str, status: int) -> None:
    before = workspace.files()
    new = workspace.source("new.dat", (0, CHINA), (0xF0000000, JAPAN))
    done = workspace.build(new, "--expect", expect(tmp_path, text))
    assert done.status == status
    if status == REFUSED:
        assert workspace.files() == before
        count = len(text.split("\n")) - 1
        message = refused(done, "expect")
        assert f"expect       failed: 1 of {count} addresses do not answer as expected\n" in message
        assert f", found {'{' if '{}' in text else ARRAY[:7]}" in message
    else:
        assert "gate expect       passed: 1 addresses answer as expected\n" in done.out


@pytest.mark.parametrize("form", ["array", "object"])
def test_expect_takes_the_output_of_lookup(workspace: Workspace, tmp_path: Path, form: str) -> None:
    asked = ["1.2.3.4", "255.255.255.255"]
    printed = compiler("lookup", workspace.out, *asked, "--format", form).out
    golden = expect(tmp_path, printed)
    new = workspace.source("new.dat", (0, CHINA), (0xF0000000, JAPAN), (0xF0000001, CHINA))
    assert workspace.build(new, "--expect", golden).status == DONE
    wrong = workspace.source("wrong.dat", (0, CHINA), (0xFFFFFFFF, JAPAN))
    message = refused(workspace.build(wrong, "--expect", golden), "expect")
    assert "\n  255.255.255.255: expected " in message


def test_expect_applies_without_a_current_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    golden = expect(tmp_path, "1.2.3.4\tnull\n")
    source = workspace.source("all.dat", (0, CHINA))
    done = workspace.build(source, "--expect", golden)
    assert done.status == REFUSED
    assert workspace.files() == {}
    done = workspace.build(source, "--expect", golden, "--force")
    assert done.status == DONE
    assert "\n--force overrode expect\n" in done.out


def test_expect_applies_to_the_blob_that_is_served_already(
    workspace: Workspace, tmp_path: Path
) -> None:
    golden = expect(tmp_path, "1.2.3.4\tnull\n")
    before = workspace.files()
    refused(workspace.build(workspace.source("all.dat", (0, CHINA)), "--expect", golden), "expect")
    assert workspace.files() == before


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no addresses"),
        ("\n \n", "no addresses"),
        ("1.2.3.4 []\n", "line 1: no tab"),
        ("1.2.3.4\t[]\n\n1.2.3\t[]\n", "line 3: '1.2.3' is not an IP address"),
        ("1.2.3.04\t[]\n", "line 1: '1.2.3.04' is not"),
        (" 1.2.3.4\t[]\n", "line 1: ' 1.2.3.4' is not"),
        ("1.2.3.4\t\n", "line 1: the answer is not JSON"),
        ("1.2.3.4\t['x']\n", "line 1: the answer is not JSON"),
        ("1.2.3.4\t" + "[" * 100_000, "line 1: the answer is not JSON"),
        ('1.2.3.4\t"x"\n', "line 1: the answer is not an array, an object or null"),
        ("1.2.3.4\t5\n", "line 1: the answer is not an array, an object or null"),
        (b"1.2.3.4\t[]\n\xff\n", "line 2: not UTF-8"),
    ],
)
def test_a_bad_line_is_named(
    workspace: Workspace, tmp_path: Path, text: str | bytes, problem: str
) -> None:
    before = workspace.files()
    golden = expect(tmp_path, text)
    done = workspace.build(
        workspace.source("new.dat", (0, CHINA), (5, JAPAN), (6, CHINA)), "--expect", golden
    )
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err.startswith(f"Error: {golden}: {problem}")
    assert done.err.count("\n") == 1
    assert workspace.files() == before


def test_a_missing_file_of_golden_addresses(workspace: Workspace) -> None:
    done = workspace.build(
        workspace.source("new.dat", (0, CHINA)), "--expect", workspace.beside(".none")
    )
    assert (done.status, done.err) == (
        BAD_INPUT,
        f"Error: {workspace.beside('.none')}: No such file or directory\n",
    )


# When nothing can be compared


def assert_not_compared(done: Done, why: str) -> None:
    assert (done.status, done.err) == (DONE, "")
    assert f"\nno gate but expect and rolled-back applies: {why}" in done.out


def test_without_a_current_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    done = workspace.build(workspace.source("all.dat", (0, CHINA)))
    assert_not_compared(done, "there is no current file\n")
    assert sorted(workspace.files()) == ["served.blob", "served.blob.json"]


def test_the_sample_is_replaced_by_anything(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    sample = build(workspace.out)
    assert_not_compared(
        workspace.build(workspace.source("all.dat", (0, CHINA))), "the current file is the sample\n"
    )
    assert workspace.beside(".previous").read_bytes() == sample


def test_the_sample_replaces_nothing(workspace: Workspace) -> None:
    done = compiler("build", SAMPLE, "--codes", SAMPLE_CODES, "-o", workspace.out)
    refused(done, "max-change, country-code")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda _: b"", "is not sound: 0 bytes, shorter than a blob's header"),
        (lambda data: data[:-8], "is not sound: the header says"),
        (lambda data: patched(data, 8, b"\1"), "is not sound: blob layout 1, this reader reads 2"),
        (lambda data: patched(data, 100_000, b"\xaa"), "is not sound: the checksum does not match"),
    ],
)
def test_a_current_file_that_is_not_sound(
    workspace: Workspace, change: Callable[[bytes], bytes], why: str
) -> None:
    good = workspace.out.read_bytes()
    middle = workspace.source("middle.dat", (0, CHINA), (5, JAPAN), (6, CHINA))
    assert workspace.build(middle).status == DONE
    workspace.out.write_bytes(change(workspace.out.read_bytes()))
    done = workspace.build(workspace.source("new.dat", (0, JAPAN)))
    assert_not_compared(done, f"the current file {why}")
    assert "\nthe current file is not kept as the previous one\n" in done.out
    assert workspace.beside(".previous").read_bytes() == good, "the last good one is still there"


def test_a_current_file_that_cannot_be_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> BinaryIO:
        if path == workspace.out:
            raise PermissionError(13, "Permission denied", str(path))
        return open_regular(path)

    monkeypatch.setattr("ipgeo.release.publish.open_regular", refuse)
    done = workspace.build(workspace.source("new.dat", (0, JAPAN)))
    assert_not_compared(done, "the current file cannot be read: Permission denied\n")


# Reports


def test_a_passed_gate_is_reported_with_its_figures(workspace: Workspace) -> None:
    done = workspace.build(workspace.source("new.dat", (0, JAPAN), (1 << 24, CHINA)))
    assert done.status == DONE
    assert [line for line in done.out.splitlines() if line.startswith("gate ")] == [
        "gate expect       skipped: no --expect",
        "gate max-change   passed: 0.390625 % of all addresses changed (limit 20 %)",
        "gate coverage     passed: 4,294,967,296 addresses have data, before 4,294,967,296",
        (
            "gate country-code passed: 0 % of all addresses have data without a country code,"
            " before 0 % (limit: a rise of 1 points)"
        ),
        "gate rolled-back  passed: this build was never rolled back",
    ]


def test_json_of_a_pass_a_refusal_and_a_forced_build(workspace: Workspace) -> None:
    done = workspace.build(workspace.source("new.dat", (0, JAPAN), (1 << 24, CHINA)), "--json")
    summary = json.loads(done.out)
    assert (done.status, done.err, summary["status"]) == (DONE, "", "published")
    assert summary["change"]["addresses"] == 1 << 24
    assert set(verdicts(done).values()) == {State.PASSED, State.SKIPPED}
    other = workspace.source("other.dat", (0, NOWHERE))
    done = workspace.build(other, "--json")
    summary = json.loads(done.out)
    assert (done.status, summary["status"]) == (REFUSED, "refused")
    assert refused(done, "max-change, country-code")
    assert verdicts(done)["max-change"] == verdicts(done)["country-code"] == State.FAILED
    assert summary["change"]["largest"][0]["new"][0] == "乌有"
    done = workspace.build(other, "--json", "--force")
    assert (done.status, done.err, json.loads(done.out)["status"]) == (DONE, "", "published")
    assert verdicts(done)["max-change"] == verdicts(done)["country-code"] == State.FORCED


def test_overridden_gates_are_reported_and_kept(workspace: Workspace) -> None:
    done = workspace.build(workspace.source("new.dat", (0, NOWHERE)), "--force")
    assert (done.status, done.err) == (DONE, "")
    assert "\ngate max-change   forced: 100 % of all addresses" in done.out
    assert "\n--force overrode max-change, country-code\n" in done.out
    assert "\n  4,294,967,296  0.0.0.0 - 255.255.255.255  [" in done.out
    kept = {row["gate"]: row for row in workspace.manifest()["gates"]}
    assert kept["max-change"]["state"] == "forced"
    assert kept["max-change"]["percent"] == 100
    assert kept["coverage"]["state"] == "passed"


def test_force_overrides_only_gates(workspace: Workspace, tmp_path: Path) -> None:
    broken = tmp_path / "broken.dat"
    broken.write_bytes(b"nothing")
    before = workspace.files()
    assert workspace.build(broken, "--force").status == BAD_INPUT
    assert workspace.files() == before


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_unchanged_build_publishes_nothing(workspace: Workspace, flags: list[str]) -> None:
    second = workspace.source("second.dat", (0, CHINA), (5, JAPAN), (6, CHINA))
    assert workspace.build(second).status == DONE
    before = workspace.files()
    done = workspace.build(second, *flags)
    assert (done.status, done.err) == (DONE, "")
    assert workspace.files() == before, "the previous file is not this one"
    if flags:
        assert json.loads(done.out)["status"] == "unchanged"
        assert json.loads(done.out)["change"] is None
    else:
        assert "no gate but expect applies: this blob is already the current one\n" in done.out
        assert "\nnothing new is published, the previous file stays\n" in done.out
