"""The commands of ipgeo-compile: what they print, what they refuse, and with which status."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT, blobs
from harness.compiler import PROGRAM, SAMPLE, SAMPLE_CODES, build, compiler, exchanged
from harness.sources import dat, patched, small_dat, u32_be, u32_le, write_codes
from harness.tempdirs import short_tempdir
from ipgeo import __version__
from ipgeo.blob.layout import MAGIC
from ipgeo.blob.reader import Blob
from ipgeo.places.answers import Answer
from ipgeo.ranges.address import ADDRESS_COUNT

COMMANDS = ("build", "verify", "lookup", "inspect", "formats", "sample")
DONE, REFUSED, USAGE = 0, 1, 2
RECORDS = 1028

OLD = MAGIC + b"a damaged blob"

CHINA = ("中国", "北京", "北京", "")
JAPAN = ("日本", "山行县", "鹤岗", "")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.blob"


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    return write_codes(tmp_path / "codes")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """2.0.0.0/7 is Japan, the rest China."""
    path = tmp_path / "source.dat"
    path.write_bytes(dat([(0, CHINA), (0x02000000, JAPAN), (0x04000000, CHINA)]))
    return path


@pytest.fixture
def fiction(tmp_path: Path) -> Path:
    path = tmp_path / "fiction.blob"
    path.write_bytes(blobs.fictional(gap=True))
    return path


def refusal(*arguments: object, stdin: str = "") -> str:
    """Run a command that is to fail: one line on stderr, which is returned."""
    done = compiler(*arguments, stdin=stdin)
    assert done.status == REFUSED
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    return done.err


# Every command


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(command: str | None, flag: str) -> None:
    done = compiler(*([command] if command else []), flag)
    assert (done.status, done.err) == (DONE, "")
    assert done.out.startswith(f"Usage: ipgeo-compile{' ' + command if command else ''} ")
    if command is None:
        assert all(f"\n  {name} " in done.out for name in COMMANDS)


def test_version() -> None:
    assert compiler("--version") == (DONE, f"ipgeo-compile, version {__version__}\n", "")


def test_the_installed_program() -> None:
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, check=True)
    assert __version__.encode() in done.stdout


def test_the_module() -> None:
    command = [sys.executable, "-m", "ipgeo", "--help"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.startswith(b"Usage: ipgeo-compile ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["--nothing"],
        ["build"],
        ["build", SAMPLE],
        ["build", SAMPLE, SAMPLE, "-o", "x"],
        ["build", "-o", "x"],
        ["build", SAMPLE, "-o"],
        ["build", SAMPLE, "-o", "x", "--nothing"],
        ["verify"],
        ["verify", "x", "--codes", "x"],
        ["verify", "x", "--format", "17mon-dat"],
        ["lookup"],
        ["lookup", "x", "--format", "xml"],
        ["inspect"],
        ["inspect", "x", "y"],
        ["sample"],
    ],
)
def test_wrong_usage(arguments: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPGEO_BLOB", raising=False)
    done = compiler(*arguments)
    assert done.status == USAGE
    assert "Error: " in done.err
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["build", "{}/none.dat", "-o", "{}/x"], "none.dat: No such file"),
        (["build", "{}", "-o", "{}/x"], "Is a directory"),
        (["build", SAMPLE, "--codes", "{}/none", "-o", "{}/x"], "country_list.txt: No such file"),
        (["build", SAMPLE, "--codes", SAMPLE, "-o", "{}/x"], "country_list.txt: Not a directory"),
        (["verify", "{}/none.blob"], "none.blob: No such file"),
        (["verify", "{}"], "Is a directory"),
        (["verify", "{}/fiction.blob", "--against", "{}/none.dat"], "none.dat: No such file"),
        (["lookup", "{}/none.blob", "1.2.3.4"], "none.blob: No such file"),
        (["inspect", "{}/none.blob"], "none.blob: No such file"),
        (["inspect", "/dev/null"], "/dev/null: not a regular file"),
        (["sample", "{}/fiction.blob"], "fiction.blob: File exists"),
    ],
)
def test_unreadable_inputs_and_unwritable_outputs_are_reported(
    tmp_path: Path, fiction: Path, arguments: list[object], named: str
) -> None:
    assert named in refusal(*(str(argument).format(tmp_path) for argument in arguments))
    assert not (tmp_path / "x").exists()


# build


def test_the_summary(source: Path, codes: Path, out: Path) -> None:
    done = compiler("build", source, "--codes", codes, "-o", out)
    assert (done.status, done.err) == (DONE, "")
    blob = Blob(out.read_bytes())
    lines = done.out.splitlines()
    assert lines[:4] == [
        f"{out}: {out.stat().st_size} bytes, build id {blob.build_id}",
        "3 records, 3 runs, 2 locations",
        f"proven equal to the source at all {ADDRESS_COUNT} addresses",
        "0 names without a code",
    ]
    assert re.fullmatch(r"\d+\.\d\d s", lines[-1])


def test_the_output_is_what_is_served(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPGEO_BLOB", str(out))
    assert compiler("build", source).status == DONE
    assert out.exists()


def test_the_summary_as_json(source: Path, codes: Path, out: Path) -> None:
    done = compiler("build", source, "--codes", codes, "-o", out, "--json")
    assert (done.status, done.err) == (DONE, "")
    summary = json.loads(done.out)
    assert isinstance(summary["seconds"], float)
    expected = {
        "output": str(out),
        "records": 3,
        "runs": 3,
        "locations": 2,
        "bytes": out.stat().st_size,
        "build_id": Blob(out.read_bytes()).build_id,
        "sample": False,
        "proven_addresses": ADDRESS_COUNT,
        "families": ["IPv4"],
        "codes": True,
        "without_code": {"count": 0, "top": []},
        "non_places": {},
    }
    assert {name: summary[name] for name in expected} == expected


def test_equal_neighbours_are_merged(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "equal.dat"
    path.write_bytes(dat([(0, CHINA), (5, CHINA), (9, JAPAN), (12, JAPAN)]))
    summary = json.loads(compiler("build", path, "-o", out, "--json").out)
    assert (summary["records"], summary["runs"], summary["locations"]) == (4, 2, 2)


def test_the_names_without_a_code_that_cover_most(tmp_path: Path, codes: Path, out: Path) -> None:
    path = tmp_path / "unknown.dat"
    unknown = [(n << 8, (f"国{n}", "", "", "")) for n in range(12)]
    path.write_bytes(dat([*unknown, (1 << 24, CHINA), (1 << 31, ("中国", "江南", "南京", ""))]))
    text = compiler("build", path, "--codes", codes, "-o", out).out
    assert "\n13 names without a code; those with the most addresses:\n" in text
    assert "\n  2,147,483,648  中国 江南\n" in text
    assert f"\n  {(1 << 24) - (11 << 8):>13,}  国11\n" in text
    assert len([line for line in text.splitlines() if line.startswith("  ")]) == 10
    summary = json.loads(compiler("build", path, "--codes", codes, "-o", out, "--json").out)
    assert summary["without_code"]["count"] == 13
    assert summary["without_code"]["top"][0] == {"names": ["中国", "江南"], "addresses": 1 << 31}
    assert len(summary["without_code"]["top"]) == 10


def test_a_build_without_codes_is_reported(source: Path, out: Path) -> None:
    text = compiler("build", source, "-o", out).out
    assert "\nno --codes: all codes come from the built-in tables\n0 names without" in text
    assert json.loads(compiler("build", source, "-o", out, "--json").out)["codes"] is False
    assert '"中国","CN","北京","110000"' in compiler("lookup", out, "1.2.3.4").out


def test_non_places_are_counted_by_kind(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "kinds.dat"
    names = "保留地址", "中国", "欧盟", "亚太地区", "Atlantis"
    path.write_bytes(dat([(n << 24, (name, name, "", "")) for n, name in enumerate(names)]))
    text = compiler("build", path, "-o", out).out
    line = "addresses that are not places: region 33,554,432, reserved 16,777,216"
    assert "\n1 names without a code; those with the most addresses:\n" in text
    assert f"  Atlantis\n{line}\n" in text
    summary = json.loads(compiler("build", path, "-o", out, "--json").out)
    assert summary["non_places"] == {"region": 2 << 24, "reserved": 1 << 24}
    assert summary["without_code"]["count"] == 1


def test_the_same_inputs_give_the_same_bytes(source: Path, codes: Path, tmp_path: Path) -> None:
    first = build(tmp_path / "first.blob", source, codes)
    other = tmp_path / "other"
    other.mkdir()
    moved = source.rename(other / "moved.dat")
    os.utime(moved, (1, 1))
    assert build(other / "second.blob", moved, codes) == first
    assert build(other / "third.blob", moved, None) != first


HOSTILE_SOURCES = {
    "empty": (b"", "0 bytes"),
    "cut in the head": (small_dat()[:500], "500 bytes"),
    "cut in the index": (small_dat()[: RECORDS + 10], "offset 0: the index ends at"),
    "cut in the text": (small_dat()[:-1], f"offset {RECORDS + 8} (record 1): content"),
    "wrong count": (patched(small_dat(), 0, u32_be(2053)), "offset 0: 2053 is not"),
    "no records": (patched(small_dat(), 0, u32_be(2052)), "offset 0: 2052 is not"),
    "a hint": (patched(small_dat(), 4 + 4 * 2, u32_le(9)), "offset 12: the hint of 2.0.0.0"),
    "not ascending": (patched(small_dat(), RECORDS + 8, u32_be(1)), f"offset {RECORDS + 8}"),
    "the last bound": (patched(small_dat(), RECORDS + 16, b"\x7f"), f"offset {RECORDS + 16}"),
    "an empty content": (patched(small_dat(), RECORDS + 7, b"\0"), f"offset {RECORDS} (record 0)"),
    "not UTF-8": (patched(small_dat(), RECORDS + 24, b"\xff"), f"offset {RECORDS} (record 0)"),
    "mixed editions": (
        dat([(0, ("a", "b")), (9, ("a", "b", "c"))]),
        f"offset {RECORDS + 8} (record 1): 3 fields",
    ),
    "no edition": (dat([(0, ("a",))]), f"offset {RECORDS} (record 0): 1 fields"),
    "a latitude on two lines": (
        dat([(0, (*"abcde", "1\n2", "3", "", ""))]),
        f"offset {RECORDS} (record 0): latitude '1\\n2'",
    ),
    "not a .dat": (b"\x7fELF" + bytes(5000), "offset 0"),
}


@pytest.mark.parametrize("name", HOSTILE_SOURCES)
def test_a_hostile_source_is_refused(tmp_path: Path, out: Path, name: str) -> None:
    data, problem = HOSTILE_SOURCES[name]
    path = tmp_path / "hostile.dat"
    path.write_bytes(data)
    out.write_bytes(OLD)
    told = refusal("build", path, "--format", "17mon-dat", "-o", out)
    assert told.startswith(f"Error: {path}: {problem}")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["hostile.dat", "out.blob"]
    assert out.read_bytes() == OLD


HOSTILE_CODES = {
    "not UTF-8 after a byte order mark": (
        "country_list.txt",
        b"\xef\xbb\xbf\n\xe4\tCN\n",
        "line 2: not UTF-8",
    ),
    "not UTF-8": ("china_city_code.txt", b"1\tA\tB\tC\n\xff", "line 2: not UTF-8"),
    "too few": (
        "china_city_code.txt",
        b"111111\tA\tB\tC\n1\tA\tB\n",
        "line 2: 3 columns instead of 4",
    ),
    "too many": ("china_province_code.txt", b"1\tA\tB\tC\n", "line 1: 4 columns instead of 3"),
    "no name": ("china_province_code.txt", b"1\tA\t\n", "line 1: an empty name or code"),
    "no code": ("china_province_code.txt", b"\n\n\tA\tB\n", "line 3: an empty name or code"),
    "a short code": ("china_province_code.txt", b"111111\tA\tB\n2\tA\tB\n", "line 2: the code '2'"),
    "control": ("china_province_code.txt", b"1\tA\x1b\tB\n", "line 1: a control character"),
    "empty": ("country_list.txt", b"", "no rows"),
    "a .dat": ("country_list.txt", small_dat(), "line 1"),
    "UTF-16": ("country_list.txt", "中国\tCN".encode("utf-16"), "line 1: not UTF-8"),
}


@pytest.mark.parametrize("name", HOSTILE_CODES)
def test_a_hostile_code_file_is_refused(source: Path, codes: Path, out: Path, name: str) -> None:
    file, content, problem = HOSTILE_CODES[name]
    (codes / file).write_bytes(content)
    out.write_bytes(OLD)
    message = refusal("build", source, "--codes", codes, "-o", out)
    assert message.startswith(f"Error: {codes / file}: {problem}")
    assert out.read_bytes() == OLD


@pytest.mark.parametrize("name", ["country_list.txt", "china_province_code.txt"])
def test_all_code_files_are_required(source: Path, codes: Path, out: Path, name: str) -> None:
    (codes / name).unlink()
    assert f"{codes / name}: No such file" in refusal("build", source, "--codes", codes, "-o", out)
    assert not out.exists()


def test_any_mutant_is_refused_with_its_name_or_compiled(tmp_path: Path) -> None:
    chance = random.Random(5)
    path = tmp_path / "mutant.dat"
    statuses = []
    for number in range(150):
        mutant = bytearray(small_dat(chance.choice((4, 9))))
        for _ in range(chance.choice((1, 3))):
            mutant[chance.randrange(len(mutant))] ^= 1 << chance.randrange(8)
        path.write_bytes(mutant[: chance.choice((len(mutant), chance.randrange(len(mutant))))])
        done = compiler("build", path, "-o", tmp_path / f"{number}.blob")
        statuses.append(done.status)
        if done.status:
            assert done.err.startswith(f"Error: {path}: ")
            assert done.err.count("\n") == 1
    assert set(statuses) == {DONE, REFUSED}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none/out.blob", "No such file or directory"),
        ("folder", "folder: exists and is not a regular file"),
        ("null", "null: exists and is not a regular file"),
        ("loop", "loop"),
    ],
)
def test_an_impossible_output_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    message = refusal("build", SAMPLE, "-o", tmp_path / name)
    assert str(tmp_path / Path(name).parts[0]) in message
    assert problem in message
    assert sorted(tmp_path.iterdir()) == before
    assert not [*(tmp_path / "folder").iterdir()]
    assert (tmp_path / "null").readlink() == Path("/dev/null")


def test_dev_null_stays_a_device() -> None:
    assert "/dev/null: exists and is not a regular file" in refusal(
        "build", SAMPLE, "-o", "/dev/null"
    )
    assert Path("/dev/null").is_char_device()


# build: what it may not replace


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


INPUTS = ["source.dat", "codes/country_list.txt", "codes/china_city_code.txt", "expect"]
SUFFIXES = ["", ".previous", ".json", ".rolled-back"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", INPUTS)
def test_no_input_is_replaced(
    tmp_path: Path, source: Path, codes: Path, *, name: str, suffix: str, link: str, force: bool
) -> None:
    expect = tmp_path / "expect"
    expect.write_text('1.2.3.4\t["x"]\n')
    out = tmp_path / "out.blob"
    used = tmp_path / name
    if link:
        getattr(out.with_name(out.name + suffix), link)(used)
    elif suffix:  # the input itself is called as if it were beside the output
        used = used.rename(out.with_name(out.name + suffix))
        if "codes" in name:
            (codes / Path(name).name).symlink_to(used)
    else:
        out = used
    source, expect = (used if path.name == name else path for path in (source, expect))
    before = contents(tmp_path)
    flags = ["--force"] if force else []
    done = compiler("build", source, "--codes", codes, "--expect", expect, "-o", out, *flags)
    assert (done.status, done.out) == (USAGE, "")
    assert done.err.splitlines()[-1].startswith("Error: the output ")
    assert str(out) in done.err or link
    assert f" is the input {source if name == 'source.dat' else ''}" in done.err
    assert contents(tmp_path) == before


def test_only_force_replaces_a_file_that_is_not_a_blob(source: Path, out: Path) -> None:
    out.write_bytes(b"my thesis")
    before = contents(out.parent)
    message = refusal("build", source, "-o", out)
    assert message == f"Error: {out}: exists and is not an ipgeo blob; --force replaces it\n"
    assert contents(out.parent) == before
    assert compiler("build", source, "-o", out, "--force").status == DONE
    assert Blob(out.read_bytes()).runs == 3


@pytest.mark.parametrize("content", [b"", MAGIC[:5], MAGIC, OLD])
def test_a_damaged_blob_is_replaced(source: Path, out: Path, content: bytes) -> None:
    out.write_bytes(content)
    assert compiler("build", source, "-o", out).status == DONE
    assert Blob(out.read_bytes()).runs == 3


@pytest.mark.parametrize("content", [b"[1]", b"[" * 100_000, b'{"name": "x"}', b'{"build_id": 5}'])
def test_only_force_replaces_a_file_that_is_not_a_manifest(
    source: Path, out: Path, content: bytes
) -> None:
    path = out.with_name("out.blob.json")
    path.write_bytes(content)
    before = contents(out.parent)
    message = refusal("build", source, "-o", out)
    assert message == f"Error: {path}: exists and is not a blob's manifest; --force replaces it\n"
    assert contents(out.parent) == before
    assert compiler("build", source, "-o", out, "--force").status == DONE
    assert json.loads(path.read_bytes())["build_id"] == Blob(out.read_bytes()).build_id


@pytest.mark.parametrize("character", ["x", "中"])
def test_a_too_long_name_is_reported_at_once(tmp_path: Path, character: str) -> None:
    size = len(character.encode())
    room = os.pathconf(tmp_path, "PC_NAME_MAX") - len(".rolled-back" + "." + ".abcd1234.ipgeo-new")
    longest = room - room % size
    out = tmp_path / (character * (longest // size))
    assert compiler("build", SAMPLE, "-o", out).status == DONE
    assert compiler("build", SAMPLE, "-o", out, "--force").status == DONE
    out = tmp_path / (out.name + character)
    # The source is not even opened.
    message = refusal("build", tmp_path / "none.dat", "-o", out)
    excess = longest + size - room
    problem = f"the name is {excess} bytes too long for the files that are written beside it"
    assert message == f"Error: {out}: {problem}\n"
    assert str(tmp_path) in refusal("build", SAMPLE, "-o", tmp_path / ("x" * 300))


# verify


def test_verify(source: Path, codes: Path, out: Path) -> None:
    blob = Blob(build(out, source, codes))
    sound = f"{out}: sound, build id {blob.build_id}, 3 runs\n"
    equal = f"equal to {source} at all {ADDRESS_COUNT} addresses\n"
    assert compiler("verify", out) == (DONE, sound, "")
    against = ["--against", source, "--codes", codes]
    assert compiler("verify", out, *against) == (DONE, sound + equal, "")


def test_verify_refuses_damage(out: Path) -> None:
    data = build(out)
    for damaged, problem in (
        (b"", "0 bytes"),
        (data[:-1], "the header says"),
        (data + b"\0", "the header says"),
        (patched(data, len(data) // 2, b"\xaa\x55"), "the checksum does not match"),
        (patched(data, 8, b"\1"), "blob layout 1, this reader reads 2: build it again"),
        (SAMPLE.read_bytes(), "not an ipgeo blob"),
    ):
        out.write_bytes(damaged)
        for command in ("verify", "inspect"):
            assert refusal(command, out).startswith(f"Error: {out}: {problem}")
        assert refusal("lookup", out, "1.2.3.4").startswith(f"Error: {out}: {problem}")


def test_verify_against_another_source(source: Path, codes: Path, out: Path) -> None:
    build(out, source, codes)
    done = compiler("verify", out, "--against", SAMPLE, "--codes", SAMPLE_CODES)
    assert done.status == REFUSED
    assert done.err.startswith("Error: 0.0.0.0: the source answers ")
    assert "equal" not in done.out


def test_verify_against_other_codes(source: Path, codes: Path, out: Path) -> None:
    rows = (codes / "country_list.txt").read_text()
    (codes / "country_list.txt").write_text(rows.replace("CN", "ZZ"))
    build(out, source, codes)
    message = refusal("verify", out, "--against", source)
    assert '0.0.0.0: the source answers ["中国","CN"' in message
    assert 'the blob answers ["中国","ZZ"' in message


def test_verify_catches_two_exchanged_contents(tmp_path: Path, source: Path, out: Path) -> None:
    wrong = tmp_path / "exchanged.dat"
    wrong.write_bytes(exchanged(source.read_bytes(), 0, 1))
    build(out, wrong, None)
    assert compiler("verify", out, "--against", wrong).status == DONE
    assert refusal("verify", out, "--against", source).startswith("Error: 0.0.0.0: the source ")


def test_verify_names_where_the_difference_begins(tmp_path: Path, out: Path) -> None:
    right, wrong = tmp_path / "right.dat", tmp_path / "wrong.dat"
    right.write_bytes(dat([(0, CHINA), (0x01020304, JAPAN)]))
    wrong.write_bytes(dat([(0, CHINA), (0x01020305, JAPAN)]))
    build(out, wrong, None)
    message = refusal("verify", out, "--against", right)
    assert message.startswith("Error: 1.2.3.4: the source answers ")
    assert message.endswith("the blob goes on as before\n")


# lookup

ATLANTIS = f"{blobs.ATLANTIS_IP}\t{blobs.ATLANTIS_ARRAY.decode()}\n"
UTOPIA = f"{blobs.UTOPIA_IP}\t{blobs.UTOPIA_ARRAY.decode()}\n"
GAP = f"{blobs.GAP_IP}\tnull\n"


def test_lookup_of_arguments(fiction: Path) -> None:
    asked = (blobs.UTOPIA_IP, blobs.GAP_IP, blobs.ATLANTIS_IP, blobs.ATLANTIS_IP)
    done = compiler("lookup", fiction, *asked, stdin="not read\n")
    assert done == (DONE, UTOPIA + GAP + ATLANTIS + ATLANTIS, "")


def test_lookup_of_objects(fiction: Path) -> None:
    asked = (blobs.ATLANTIS_IP, blobs.UTOPIA_IP, blobs.GAP_IP)
    lines = compiler("lookup", fiction, "--format", "object", *asked).out.splitlines()
    assert lines == [
        f"{blobs.ATLANTIS_IP}\t{blobs.ATLANTIS_OBJECT.decode()}",
        f"{blobs.UTOPIA_IP}\t{blobs.UTOPIA_OBJECT.decode()}",
        GAP.rstrip(),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_lookup_of_lines(fiction: Path, end: str) -> None:
    lines = end.join([blobs.ATLANTIS_IP, blobs.GAP_IP, blobs.UTOPIA_IP])
    assert compiler("lookup", fiction, stdin=lines) == (DONE, ATLANTIS + GAP + UTOPIA, "")
    assert compiler("lookup", fiction, stdin="") == (DONE, "", "")


@pytest.mark.parametrize("as_lines", [True, False])
def test_lookup_reports_invalid_addresses_and_continues(fiction: Path, as_lines: bool) -> None:
    asked = ["010.0.0.1", blobs.ATLANTIS_IP, "x", "", "1.2.3.4.5", "::1%lo", blobs.UTOPIA_IP]
    given = {"stdin": "\n".join(asked)} if as_lines else {}
    done = compiler("lookup", fiction, *([] if as_lines else asked), **given)
    assert done.status == REFUSED
    assert done.out == ATLANTIS + UTOPIA
    assert done.err.splitlines() == [
        "input 1: '010.0.0.1' is not an IP address",
        "input 3: 'x' is not an IP address",
        *([] if as_lines else ["input 4: '' is not an IP address"]),
        "input 5: '1.2.3.4.5' is not an IP address",
        "input 6: '::1%lo' is not an IP address",
    ]


def program(*arguments: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)


def test_lookup_of_lines_that_are_not_utf8(fiction: Path) -> None:
    done = program("lookup", fiction, stdin=b"\xff\xfe\n1.2.3.4\n1.2.3.4\0\n\xe4\xb8\xad\n9.9.9.9")
    assert done.returncode == REFUSED
    assert done.stdout.decode() == ATLANTIS + UTOPIA
    assert done.stderr.decode().splitlines() == [
        r"input 1: '\\xff\\xfe' is not an IP address",
        r"input 3: '1.2.3.4\x00' is not an IP address",
        "input 4: '中' is not an IP address",
    ]


def test_lookup_in_a_pipe_whose_reader_leaves(fiction: Path) -> None:
    command = f"yes 1.2.3.4 | '{PROGRAM}' lookup '{fiction}' | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, timeout=60)
    assert (done.stdout.decode(), done.stderr) == (ATLANTIS, b"")


def test_a_full_disk_is_reported(fiction: Path) -> None:
    command = f"'{PROGRAM}' lookup '{fiction}' 1.2.3.4 >/dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=60)
    assert done.returncode == REFUSED
    assert done.stderr == b"Error: No space left on device\n"


def shell(command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, check=False, timeout=60, text=True
    )


def test_a_closed_standard_input_is_reported(fiction: Path) -> None:
    done = shell(f"'{PROGRAM}' lookup '{fiction}' <&-")
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.endswith("Error: standard input is closed and no IP is given\n")
    assert "Traceback" not in done.stderr
    done = shell(f"'{PROGRAM}' lookup '{fiction}' {blobs.ATLANTIS_IP} <&-")
    assert (done.returncode, done.stdout, done.stderr) == (DONE, ATLANTIS, "")


def test_lookup_skips_blank_lines(fiction: Path) -> None:
    asked = f"\n{blobs.ATLANTIS_IP}\n \t\r\nx\n\n"
    done = compiler("lookup", fiction, stdin=asked)
    assert (done.status, done.out) == (REFUSED, ATLANTIS)
    assert done.err == "input 4: 'x' is not an IP address\n"


def test_names_of_files_that_are_not_utf8(tmp_path: Path) -> None:
    out = os.fsencode(tmp_path) + b"/\xff.blob"
    for command in (
        [b"build", os.fsencode(SAMPLE), b"-o", out],
        [b"verify", out],
        [b"lookup", out, b"8.8.8.8"],
    ):
        done = subprocess.run(
            [os.fsencode(PROGRAM), *command], capture_output=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (DONE, b"")


# inspect


def test_inspect(source: Path, codes: Path, out: Path) -> None:
    blob = Blob(build(out, source, codes))
    facts = json.loads(compiler("inspect", out, "--json").out)
    assert facts["build_id"] == blob.build_id
    assert (facts["bytes"], facts["runs"], facts["rows"]) == (out.stat().st_size, 3, 2)
    assert facts["meta"] == blob.meta
    assert facts["meta"]["sample"] is False
    files = [
        source,
        *(codes / f"{n}.txt" for n in ("country_list", "china_province_code", "china_city_code")),
    ]
    assert [fact["bytes"] for fact in facts["meta"]["sources"]] == [f.stat().st_size for f in files]
    assert [row["tag"] for row in facts["sections"]] == [
        "meta", "v4index", "v4low", "v4record", "shape", "offset", "heap",
    ]  # fmt: skip
    end = 0
    for row in facts["sections"]:
        assert row["offset"] % 8 == 0
        assert row["offset"] >= end
        end = row["offset"] + row["length"]
    assert end <= facts["bytes"] < end + 8


def test_inspect_as_text(source: Path, codes: Path, out: Path) -> None:
    blob = Blob(build(out, source, codes))
    done = compiler("inspect", out)
    assert (done.status, done.err) == (DONE, "")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["build_id", blob.build_id] in rows
    assert ["bytes", str(blob.size)] in rows
    assert ["runs", "IPv4", "3"] in rows
    assert ["rows", "2"] in rows
    assert ["sample", "false"] in rows
    for section in blob.sections:
        assert [section.tag, str(section.offset), str(section.length)] in rows
    assert done.out.endswith(
        "column 0   the number of the row, 2 entries\n"
        "table 0    column 0, texts from 0 on\n"
        "table 1    column 0, texts from 2 on\n"
        "form 0     table 0\n"
        "form 1     table 1\n"
    )
    assert f"records {3}" in done.out


def test_inspect_escapes_control_characters(out: Path) -> None:
    evil = "\x1b]0;x\x07\x7f\x9b1m\n"
    meta = {"sources": [{evil: evil, "list": [evil]}], evil: {evil: evil}}
    data = blobs.of_answers(array("I", [0]), array("I", [0]), [SOUND], meta)
    out.write_bytes(data)
    for flags in ([], ["--json"]):
        done = compiler("inspect", out, *flags)
        assert (done.status, done.err) == (DONE, "")
        assert not [c for c in done.out if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f"]
        assert done.out.count("\\u001b") >= 5
    assert json.loads(done.out)["meta"] == meta | {"fields": ["country"]}


def test_uncoded_names_are_printed_without_control_characters(
    tmp_path: Path, codes: Path, out: Path
) -> None:
    path = tmp_path / "evil.dat"
    path.write_bytes(dat([(0, ("\x1b[2J", "", "", ""))]))
    done = compiler("build", path, "--codes", codes, "-o", out)
    assert "\x1b" not in done.out
    assert "  \\u001b[2J\n" in done.out


def test_a_locale_without_chinese(fiction: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    for command in (["inspect"], ["lookup", blobs.ATLANTIS_IP]):
        arguments = [str(PROGRAM), command[0], str(fiction), *command[1:]]
        done = subprocess.run(arguments, capture_output=True, check=True, env=environment)
        assert done.stderr == b""
    assert json.loads(done.stdout.partition(b"\t")[2]) == json.loads(blobs.ATLANTIS_ARRAY)


SOUND = Answer(b'["x"]', b'"country":"x"}')

ODD: dict[str, tuple[Answer, dict[str, Any]]] = {
    "sources are a number": (SOUND, {"sources": 5}),
    "a source is a number": (SOUND, {"sources": [1]}),
    "an answer has half a surrogate pair": (Answer(b'["\xed\xa0\x80"]', SOUND.object_tail), {}),
    "an answer has half an escaped pair": (Answer(b'["\\ud800"]', SOUND.object_tail), {}),
    "a member has half an escaped pair": (Answer(SOUND.array, b'"\\udfff":1}'), {}),
    "an answer has two lines": (Answer(b'["x",\n"y"]', SOUND.object_tail), {}),
    "an answer is UTF-16": (Answer('["中"]'.encode("utf-16-le"), SOUND.object_tail), {}),
    "an answer begins with a byte order mark": (
        Answer(b'\xef\xbb\xbf["x"]', SOUND.object_tail),
        {},
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_blob_with_a_valid_seal_raises_no_exception(out: Path, name: str) -> None:
    answer, meta = ODD[name]
    out.write_bytes(blobs.of_answers(array("I", [0]), array("I", [0]), [answer], meta))
    for command in (["inspect", out], ["inspect", out, "--json"], ["lookup", out, "1.2.3.4"]):
        done = compiler(*command)
        if done.status == REFUSED:
            assert done.err.startswith(f"Error: {out}: ")
        elif command[0] == "lookup":
            json.loads(done.out.removeprefix("1.2.3.4\t"))


# The script that installs it


@contextmanager
def unprivileged_checkout() -> Iterator[Path]:
    with short_tempdir() as folder:
        for name in ("script", "compiler", "nginx"):
            (folder / name).mkdir()
        for name in ("script/bootstrap", "script/lib.sh", "nginx/help.sh"):
            shutil.copy(ROOT / name, folder / name)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_read_only_checkout_is_reported() -> None:
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with unprivileged_checkout() as folder:
        command = [*(drop if os.geteuid() == 0 else []), str(folder / "script" / "bootstrap")]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"bootstrap: {folder} is not writable by ")
    assert done.stderr.count("\n") == 1


# sample


def test_sample(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    done = compiler("sample", folder)
    assert (done.status, done.err) == (DONE, "")
    assert [Path(line) for line in done.out.splitlines()] == [
        folder / name
        for name in (
            "sample.dat", "country_list.txt", "china_province_code.txt", "china_city_code.txt",
        )
    ]  # fmt: skip
    assert sorted(folder.iterdir()) == sorted(map(Path, done.out.splitlines()))


def test_an_unknown_source_format(tmp_path: Path) -> None:
    out = tmp_path / "out.blob"
    done = compiler("build", SAMPLE, "--format", "other", "-o", out)
    assert done.status == 2
    assert "'other' is not " in done.err
    assert not out.exists()
