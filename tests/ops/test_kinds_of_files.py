"""ipgeo-compile reads only regular files, size and head first, and never waits."""

import fcntl
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.compiler import PROGRAM, SAMPLE, SAMPLE_CODES, build, compiler
from harness.process import Done
from ipgeo.blob.layout import LAYOUT, MAGIC
from ipgeo.sources.dat import MAX_TEXT, TEXT_OVERLAP

BAD_INPUT = 1
SECONDS = 20
"""For what is refused at once: a publisher would wait 60 s for the lock."""
MEMORY = 1 << 30
"""Bytes of address space: enough for the program, too little for a file of gigabytes."""

CODES = ("country_list.txt", "china_province_code.txt", "china_city_code.txt")


class Workspace:
    """A folder with one of everything that the commands read."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder = folder
        shutil.copytree(template, folder, dirs_exist_ok=True)

    def run(self, *arguments: object) -> Done:
        """Run a command, in little memory and not for long."""
        with self._entered(), little_memory(), not_for_long():
            return compiler(*arguments)

    def run_program(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the installed program, with ``MEMORY`` in all."""
        script = f'ulimit -v {MEMORY >> 10}; exec "$0" "$@"'
        return subprocess.run(
            ["bash", "-c", script, str(PROGRAM), *arguments],
            cwd=self.folder,
            capture_output=True,
            check=False,
            timeout=SECONDS,
            text=True,
        )

    @contextmanager
    def _entered(self) -> Iterator[None]:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            yield
        finally:
            os.chdir(before)


@contextmanager
def little_memory() -> Iterator[None]:
    """Let this process take ``MEMORY`` more than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def not_for_long() -> Iterator[None]:
    """Fail the test after ``SECONDS``, also out of a call that waits."""

    def give_up(_signal: int, _frame: object) -> None:
        pytest.fail(f"not refused within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    folder.chmod(0o755)
    shutil.copy(SAMPLE, folder / "source.dat")
    for name in CODES:
        shutil.copy(SAMPLE_CODES / name, folder / name)
    (folder / "expect.tsv").write_text("8.8.8.8\tnull\n")
    build(folder / "served.blob")
    build(folder / "other.blob", codes=None)
    (folder / "other.blob.json").unlink()
    shutil.copy(folder / "other.blob", folder / "served.blob.previous")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, template: Path) -> Workspace:
    return Workspace(tmp_path, template)


BUILD = ["build", "source.dat", "--codes", ".", "--expect", "expect.tsv", "-o", "served.blob"]

READ: dict[str, tuple[str, list[str]]] = {
    "the source": ("source.dat", BUILD),
    **{name: (name, BUILD) for name in CODES},
    "the golden addresses": ("expect.tsv", BUILD),
    "the current file": ("served.blob", BUILD),
    "the current file, by force": ("served.blob", [*BUILD, "--force"]),
    "the manifest": ("served.blob.json", BUILD),
    "the manifest, by force": ("served.blob.json", [*BUILD, "--force"]),
    "the memory": ("served.blob.rolled-back", BUILD),
    "the memory, by force": ("served.blob.rolled-back", [*BUILD, "--force"]),
    "the previous file": ("served.blob.previous", BUILD),
    "the previous file, of a rollback": ("served.blob.previous", ["rollback", "served.blob"]),
    "the current file, of a rollback": ("served.blob", ["rollback", "served.blob"]),
    "the manifest, of a rollback": ("served.blob.json", ["rollback", "served.blob"]),
    "the memory, of a rollback": ("served.blob.rolled-back", ["rollback", "served.blob"]),
    "a blob to verify": ("other.blob", ["verify", "other.blob"]),
    "a source to verify against": (
        "source.dat",
        ["verify", "other.blob", "--against", "source.dat"],
    ),
    "codes to verify with": (
        CODES[1],
        ["verify", "other.blob", "--against", "source.dat", "--codes", "."],
    ),
    "the old blob": ("other.blob", ["diff", "other.blob", "served.blob"]),
    "the new blob": ("other.blob", ["diff", "served.blob", "other.blob"]),
    "a blob to look into": ("other.blob", ["lookup", "other.blob", "8.8.8.8"]),
    "a blob to inspect": ("other.blob", ["inspect", "other.blob"]),
    "a blob to export": ("other.blob", ["export", "other.blob", "--format", "csv", "-o", "out"]),
    "an export to replace": (
        "out",
        ["export", "other.blob", "--format", "csv", "-o", "out"],
    ),
}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


KINDS: dict[str, Callable[[Path], None]] = {
    "a FIFO": fifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a socket": bound_socket,
}


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_ino for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", READ)
def test_a_file_that_is_not_regular_is_refused_at_once(
    workspace: Workspace, read: str, kind: str
) -> None:
    refused_at_once(workspace, read, kind)


@pytest.mark.parametrize("read", [read for read in READ if READ[read][0].startswith("served.")])
def test_a_fifo_is_refused_while_another_build_publishes(workspace: Workspace, read: str) -> None:
    descriptor = os.open(workspace.folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        refused_at_once(workspace, read, "a FIFO")
    finally:
        os.close(descriptor)


def refused_at_once(workspace: Workspace, read: str, kind: str) -> None:
    name, command = READ[read]
    path = workspace.folder / name
    path.unlink(missing_ok=True)
    KINDS[kind](path)
    before = files(workspace.folder)
    done = workspace.run(*command)
    assert done.status == BAD_INPUT
    assert done.err.startswith("Error: ")
    assert name in done.err
    assert done.err.count("\n") == 1
    assert files(workspace.folder) == before


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    path.write_bytes(head)
    os.truncate(path, size)


HUGE = 2_500_000_000

HUGE_FILES: dict[str, tuple[str, bytes, str]] = {
    "a source": ("the source", b"", f"{HUGE} bytes (limit 2147483648)"),
    "codes": (CODES[1], b"", f"{HUGE} bytes (limit 67108864)"),
    "golden addresses": ("the golden addresses", b"", f"{HUGE} bytes (limit 268435456)"),
    "a manifest": ("the manifest", b"", f"{HUGE} bytes (limit 67108864)"),
    "a memory": ("the memory", b"", f"{HUGE} bytes (limit 67108864)"),
    "a previous file": (
        "the previous file, of a rollback",
        MAGIC + struct.pack("<IIQ", LAYOUT, 6, HUGE),
        f"{HUGE} bytes, a blob has at most 2147483647",
    ),
    "a blob": ("a blob to inspect", b"", f"{HUGE} bytes, a blob has at most 2147483647"),
}


@pytest.mark.parametrize("case", HUGE_FILES)
def test_a_file_of_gigabytes_is_refused_before_it_is_read(workspace: Workspace, case: str) -> None:
    """With less memory than the file has bytes: read first, it would be out of memory."""
    read, head, problem = HUGE_FILES[case]
    name, command = READ[read]
    sparse(workspace.folder / name, HUGE, head)
    before = files(workspace.folder)
    done = workspace.run(*command)
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert f"{name}: {problem}" in done.err
    assert done.err.count("\n") == 1
    assert files(workspace.folder) == before


def test_a_current_file_of_gigabytes_is_not_sound(workspace: Workspace) -> None:
    sparse(workspace.folder / "served.blob", HUGE, MAGIC)
    done = workspace.run(*BUILD[:4], "-o", "served.blob")
    assert (done.status, done.err) == (0, "")
    assert f"the current file is not sound: {HUGE} bytes, a blob has at most" in done.out


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["lookup", "8.8.8.8"]])
def test_too_little_memory_is_reported(workspace: Workspace, command: list[str]) -> None:
    size = 2_000_000_000
    sparse(workspace.folder / "other.blob", size, MAGIC + struct.pack("<IIQ", LAYOUT, 6, size))
    done = workspace.run_program(command[0], "other.blob", *command[1:])
    assert (done.returncode, done.stdout) == (BAD_INPUT, "")
    assert done.stderr == "Error: out of memory\n"


def test_the_longest_text_is_read(workspace: Workspace) -> None:
    """The limit is exact: bytes that a record might reach are no reason to refuse a file."""
    text_start = int.from_bytes(SAMPLE.read_bytes()[:4], "big") - TEXT_OVERLAP
    os.truncate(workspace.folder / "source.dat", text_start + MAX_TEXT)
    assert workspace.run("build", "source.dat", "-o", "fits.blob").status == 0
    os.truncate(workspace.folder / "source.dat", text_start + MAX_TEXT + 1)
    done = workspace.run("build", "source.dat", "-o", "fits.blob")
    assert done.status == BAD_INPUT
    assert f"records reach {MAX_TEXT}\n" in done.err
