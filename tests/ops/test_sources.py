"""What may be a source of ipgeo-compile: packed files, standard input, and files that are named."""

import json
import os
import pty
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.compiler import PROGRAM, SAMPLE, build, compiler
from harness.packed import PACKED, zipped
from ipgeo.sources.registry import FORMATS

DONE, BAD_INPUT, USAGE = 0, 1, 2
CONTENT = SAMPLE.read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The blob of the sample."""
    return build(tmp_path_factory.mktemp("expected") / "sample.blob", codes=None)


def run(
    folder: Path, command: str, stdin: int | None = None, data: bytes | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the installed program under a shell; ``data`` is piped to it."""
    return subprocess.run(
        ["bash", "-c", command.replace("ipgeo-compile", f"exec {PROGRAM}")],
        cwd=folder,
        stdin=stdin,
        input=data.decode("latin-1") if data is not None else None,
        encoding="latin-1",
        capture_output=True,
        check=False,
        timeout=60,
    )


# Packed


@pytest.mark.parametrize("form", PACKED)
def test_a_packed_source_gives_the_same_blob(tmp_path: Path, expected: bytes, form: str) -> None:
    path, out = tmp_path / "source.packed", tmp_path / "out.blob"
    path.write_bytes(PACKED[form](CONTENT))
    assert build(out, path, codes=None) == expected
    manifest = json.loads((tmp_path / "out.blob.json").read_text())
    assert manifest["inputs"][0]["name"] == "source.packed"
    assert manifest["inputs"][0]["bytes"] == len(CONTENT)
    done = compiler("verify", out, "--against", path)
    assert (done.status, done.err) == (DONE, "")


def test_a_zip_of_several_files_is_refused_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "source.zip"
    path.write_bytes(zipped({"Blocks-IPv4.csv": b"", "说明.txt": b""}))
    done = compiler("build", path, "-o", tmp_path / "out.blob")
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err == (
        f"Error: {path}: zip: 2 files inside: Blocks-IPv4.csv, 说明.txt;"
        " a zip with one file is read\n"
    )


def test_a_name_inside_a_zip_reaches_no_terminal_raw(tmp_path: Path) -> None:
    path = tmp_path / "source.zip"
    path.write_bytes(zipped({"a\x1b[2J": b"", "b": b""}))
    done = compiler("build", path, "-o", tmp_path / "out.blob")
    assert done.status == BAD_INPUT
    assert "\x1b" not in done.err


# Standard input

READ_FROM_STDIN = {
    "a pipe": "cat {source} | ipgeo-compile build - -o out.blob",
    "a file": "ipgeo-compile build - -o out.blob < {source}",
    "a file, from its second line on": (
        "(echo line; cat {source}) > lined;"
        " {{ read -r _; ipgeo-compile build - -o out.blob; }} < lined"
    ),
    "a slow pipe": (
        "{{ head -c 1 {source}; sleep 0.1; tail -c +2 {source}; }}"
        " | ipgeo-compile build - -o out.blob"
    ),
}


@pytest.mark.parametrize("form", [None, "gzip", "zip"])
@pytest.mark.parametrize("way", READ_FROM_STDIN)
def test_a_source_from_standard_input(
    tmp_path: Path, expected: bytes, way: str, form: str | None
) -> None:
    source = tmp_path / "source"
    source.write_bytes(PACKED[form](CONTENT) if form else CONTENT)
    done = run(tmp_path, READ_FROM_STDIN[way].format(source=source))
    assert (done.returncode, done.stderr) == (DONE, "")
    assert (tmp_path / "out.blob").read_bytes() == expected
    manifest = json.loads((tmp_path / "out.blob.json").read_text())
    assert manifest["inputs"][0]["name"] == "-"


def test_verify_against_standard_input(tmp_path: Path, expected: bytes) -> None:
    (tmp_path / "one.blob").write_bytes(expected)
    done = run(tmp_path, f"ipgeo-compile verify one.blob --against - < {SAMPLE}")
    assert (done.returncode, done.stderr) == (DONE, "")
    assert "\nequal to standard input at all 4294967296 addresses\n" in done.stdout


def test_a_file_named_dash_is_another_source(tmp_path: Path, expected: bytes) -> None:
    shutil.copy(SAMPLE, tmp_path / "-")
    done = run(tmp_path, "ipgeo-compile build ./- -o out.blob", subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert (tmp_path / "out.blob").read_bytes() == expected


def a_terminal() -> int:
    keyboard, terminal = pty.openpty()
    os.close(keyboard)
    return terminal


def a_socket() -> int:
    one, other = socket.socketpair()
    other.close()
    return one.detach()


NOT_A_SOURCE: dict[str, Callable[[], int]] = {
    "a terminal": a_terminal,
    "a socket": a_socket,
    "a device": lambda: os.open("/dev/zero", os.O_RDONLY),
}


@pytest.mark.parametrize("kind", NOT_A_SOURCE)
def test_another_kind_of_standard_input_is_refused(tmp_path: Path, kind: str) -> None:
    stdin = NOT_A_SOURCE[kind]()
    try:
        done = run(tmp_path, "ipgeo-compile build - -o out.blob", stdin)
    finally:
        os.close(stdin)
    assert (done.returncode, done.stdout) == (BAD_INPUT, "")
    assert done.stderr == "Error: standard input: neither a regular file nor a pipe\n"
    assert list(tmp_path.iterdir()) == []


def test_closed_standard_input_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "ipgeo-compile build - -o out.blob <&-")
    assert done.returncode == BAD_INPUT
    assert done.stderr == "Error: standard input: neither a regular file nor a pipe\n"


def test_bad_content_of_standard_input_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "echo '<html>' | ipgeo-compile build - -o out.blob")
    assert done.returncode == BAD_INPUT
    assert done.stderr.startswith("Error: standard input: an HTML or XML page: ")


def test_the_file_that_is_standard_input_is_not_replaced(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "out.blob")
    done = run(tmp_path, "ipgeo-compile build - -o out.blob --force < out.blob")
    assert done.returncode == USAGE
    assert "is the input " in done.stderr
    assert (tmp_path / "out.blob").read_bytes() == CONTENT


# Formats


def test_formats_as_text() -> None:
    done = compiler("formats")
    assert (done.status, done.err) == (DONE, "")
    header, *rows = done.out.splitlines()
    assert [row.split("  ")[0] for row in rows] == [known.name for known in FORMATS]
    for row, known in zip(rows, FORMATS, strict=True):
        assert row.endswith(", ".join(known.carries.fields))
        assert row.index(known.title) == header.index("title")


def test_formats_as_json() -> None:
    done = compiler("formats", "--json")
    assert (done.status, done.err) == (DONE, "")
    first = json.loads(done.out)[0]
    assert first["name"] == "17mon-dat"
    assert first["families"] == ["IPv4"]
    assert first["languages"] == ["zh-CN"]
    assert first["fields"][:5] == ["country", "province", "city", "organization", "isp"]


@pytest.mark.parametrize("name", [known.name for known in FORMATS])
def test_a_format_may_be_given(tmp_path: Path, name: str) -> None:
    """A file of another format is then refused by the reader of that one."""
    path = tmp_path / "source"
    path.write_bytes(b"a,b\n")
    done = compiler("build", path, "--format", name, "-o", tmp_path / "out.blob")
    assert done.status == BAD_INPUT
    assert done.err.startswith(f"Error: {path}: ")
    assert "a text" not in done.err


# What cannot be read

NAMED = {
    "nothing": (b"", "empty: 0 bytes"),
    "a page": (b"<!DOCTYPE html><title>404</title>", "an HTML or XML page: not a database; see "),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: not the "),
    "a text": (b"1.0.0.0,1.0.0.255,AU\n", "a text (CSV, TSV, geofeed, ip2region …): a format tha"),
    "a packed text": (PACKED["zip"](b"1.0.0.0/24,AU,,,\n"), "a text (CSV, "),
    "an unknown one": (bytes(100), "damaged, or no format that is read ("),
    "a cut source": (CONTENT[:2000], "offset 0: the index ends at "),
    "a cut packed one": (PACKED["xz"](CONTENT)[:-20], "damaged or truncated xz: "),
}


@pytest.mark.parametrize("case", NAMED)
def test_what_cannot_be_read_is_named(tmp_path: Path, case: str) -> None:
    data, problem = NAMED[case]
    path = tmp_path / "source"
    path.write_bytes(data)
    done = compiler("build", path, "-o", tmp_path / "out.blob")
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err.startswith(f"Error: {path}: {problem}")
    assert done.err.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]
