"""What publishing keeps beside a blob, what a kill between its steps leaves, and rollbacks."""

import fcntl
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness import wait
from harness.compiler import PROGRAM, compiler
from harness.process import Done
from harness.rights import as_root
from harness.sources import dat, patched, write_codes
from ipgeo import __version__
from ipgeo.blob.reader import Blob, read_blob
from ipgeo.files.atomic import write_atomically
from ipgeo.files.locks import locked
from ipgeo.ranges.address import ADDRESS_COUNT

DONE, BAD_INPUT, REFUSED = 0, 1, 3

CHINA = ("中国", "北京", "北京", "")
JAPAN = ("日本", "东京", "", "")


class Workspace:
    """A folder in which sources A, B, C are built to one blob."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "served.blob"
        self.codes = write_codes(folder / "codes")
        self.data: dict[str, bytes] = {}
        for number, name in enumerate("ABC"):
            self.source(name).write_bytes(dat([(0, CHINA), (0x01000000 + number, JAPAN)]))
            scratch = folder / f"{name}.scratch"
            assert self.build(name, "-o", scratch).status == DONE
            self.data[name] = scratch.read_bytes()
            for path in folder.glob(f"{name}.scratch*"):
                path.unlink()

    def source(self, name: str) -> Path:
        return self.folder / f"{name}.dat"

    def command(self, name: str, *flags: object) -> list[object]:
        workspace = [] if "-o" in flags else ["-o", self.out]
        return ["build", self.source(name), "--codes", self.codes, *workspace, *flags]

    def build(self, name: str, *flags: object) -> Done:
        return compiler(*self.command(name, *flags))

    def rollback(self) -> Done:
        return compiler("rollback", self.out)

    def id(self, name: str) -> str:
        return Blob(self.data[name]).build_id

    def beside(self, suffix: str) -> Path:
        return self.out.with_name(self.out.name + suffix)

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.beside(".json").read_bytes())
        return manifest

    def name_of(self, path: Path) -> str:
        """Return which of A, B, C is in a file, whole."""
        data = path.read_bytes()
        return next(name for name, known in self.data.items() if known == data)

    def state(self) -> tuple[str, str]:
        """Return which blob is current and which is previous; the manifest is the current's."""
        assert self.manifest()["build_id"] == read_blob(self.out).build_id
        return self.name_of(self.out), self.name_of(self.beside(".previous"))

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.glob("*served.blob*")}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def after_two(workspace: Workspace) -> Workspace:
    assert [workspace.build(name).status for name in "AB"] == [DONE, DONE]
    return workspace


# What publishing keeps


def test_previous_and_manifest(workspace: Workspace) -> None:
    assert workspace.build("A").status == DONE
    assert sorted(workspace.files()) == ["served.blob", "served.blob.json"]
    assert workspace.manifest()["previous"] is None
    for before, name in ("AB", "BC"):
        assert workspace.build(name).status == DONE
        assert workspace.state() == (name, before)
        assert workspace.manifest()["previous"]["build_id"] == workspace.id(before)
        assert "previous" not in workspace.manifest()["previous"]
    assert len(workspace.files()) == 3


def test_content_of_the_manifest(after_two: Workspace) -> None:
    manifest = after_two.manifest()
    blob = read_blob(after_two.out)
    files = [
        after_two.source("B"),
        *(
            after_two.codes / f"{name}.txt"
            for name in ("country_list", "china_province_code", "china_city_code")
        ),
    ]
    assert [(row["name"], row["sha256"]) for row in manifest["inputs"]] == [
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files
    ]
    assert manifest["tool"] == f"ipgeo {__version__}"
    assert manifest["counts"] == {
        "bytes": blob.size,
        "records": 2,
        "runs": 2,
        "locations": 2,
        "names_without_code": 0,
    }
    assert manifest["proof"] == {
        "result": "equal to the source",
        "addresses": ADDRESS_COUNT,
        "families": ["IPv4"],
    }
    assert {row["gate"]: row["state"] for row in manifest["gates"]} == {
        "expect": "skipped",
        "max-change": "passed",
        "coverage": "passed",
        "country-code": "passed",
        "rolled-back": "passed",
    }
    assert manifest["rolled_back_from"] is None
    published = time.strptime(manifest["published"], "%Y-%m-%dT%H:%M:%SZ")
    assert abs(time.mktime(published) - time.mktime(time.gmtime())) < 60


def test_no_path_is_in_the_manifest(after_two: Workspace) -> None:
    assert str(after_two.folder).encode() not in after_two.beside(".json").read_bytes()


def test_a_name_that_is_not_utf8(workspace: Workspace) -> None:
    source = Path(os.fsdecode(os.fsencode(workspace.folder) + b"/\xff.dat"))
    source.write_bytes(workspace.source("A").read_bytes())
    command: list[str | Path] = [PROGRAM, "build", source]
    command += ["--codes", workspace.codes, "-o", workspace.out]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (DONE, b"")
    workspace.beside(".json").read_bytes().decode()
    assert workspace.manifest()["inputs"][0]["name"] == "\udcff.dat"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b'{"build_id": "other", "previous": 5}'),
    ],
)
def test_a_manifest_that_is_lost_is_written_by_the_same_build(
    after_two: Workspace, damage: Callable[[Path], object]
) -> None:
    inode = after_two.out.stat().st_ino
    damage(after_two.beside(".json"))
    assert after_two.build("B").status == DONE
    assert after_two.state() == ("B", "A")
    assert after_two.manifest()["previous"]["build_id"] == after_two.id("A")
    assert after_two.manifest()["previous"]["proof"] is None, "that is not known any more"
    assert after_two.out.stat().st_ino == inode


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(workspace: Workspace) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in workspace.folder.glob("*served.blob*")}


def test_all_files_are_as_readable_as_the_blob(workspace: Workspace, umask: int) -> None:
    assert workspace.build("A").status == DONE
    assert modes(workspace) == {0o644 & ~umask}
    workspace.out.chmod(0o640)
    workspace.beside(".json").unlink()
    assert [workspace.build("B").status, workspace.rollback().status] == [DONE, DONE]
    assert len(workspace.files()) == 4
    assert modes(workspace) == {0o640}


def test_a_mode_given_to_the_manifest_is_kept(after_two: Workspace, umask: int) -> None:
    after_two.beside(".json").chmod(0o604)
    assert after_two.build("C").status == DONE
    assert stat.S_IMODE(after_two.beside(".json").stat().st_mode) == 0o604


@as_root
def test_all_files_have_the_owner_of_the_blob(workspace: Workspace) -> None:
    assert workspace.build("A").status == DONE
    os.chown(workspace.out, 33, 34)
    workspace.beside(".json").unlink()
    assert [workspace.build("B").status, workspace.rollback().status] == [DONE, DONE]
    owners = {
        (path.stat().st_uid, path.stat().st_gid) for path in workspace.folder.glob("*served*")
    }
    assert owners == {(33, 34)}


def test_the_file_is_given_to_its_group_if_not_to_its_user(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def refuse(_descriptor: int, user: int, group: int) -> None:
        given.append((user, group))
        if user != -1:
            raise PermissionError(1, "Operation not permitted")

    assert workspace.build("A").status == DONE
    monkeypatch.setattr(os, "fchown", refuse)
    write_atomically(workspace.out, b"x")
    status = workspace.out.stat()
    assert given == [(status.st_uid, status.st_gid), (-1, status.st_gid)]


def test_the_previous_file_shares_nothing_with_the_blob(after_two: Workspace) -> None:
    """Overwriting the blob in place must not damage the previous file."""
    after_two.rollback()
    after_two.out.write_bytes(b"overwritten")
    assert after_two.name_of(after_two.beside(".previous")) == "B"


def test_files_of_a_linked_blob_are_beside_its_target(workspace: Workspace) -> None:
    link = workspace.folder / "link"
    link.symlink_to(workspace.out.name)
    for name in "AB":
        assert workspace.build(name, "-o", link).status == DONE
    assert compiler("rollback", link).status == DONE
    assert link.is_symlink()
    assert workspace.state() == ("A", "B")
    assert not [*workspace.folder.glob("link.*")]


@pytest.mark.parametrize("suffix", [".previous", ".json"])
def test_a_folder_at_an_output_path_is_named_and_nothing_is_touched(
    workspace: Workspace, suffix: str
) -> None:
    assert workspace.build("A").status == DONE
    workspace.beside(suffix).unlink(missing_ok=True)
    workspace.beside(suffix).mkdir()
    done = workspace.build("B")
    assert done.status == BAD_INPUT
    assert done.err == f"Error: {workspace.beside(suffix)}: exists and is not a regular file\n"
    assert workspace.name_of(workspace.out) == "A"
    assert not [*workspace.folder.glob(".served*")]


# Killed and failing between the steps

STEPS = """
import os, signal, sys
from ipgeo.cli.main import main
kill_at, when = int(sys.argv[1]), sys.argv[2]
replace, done = os.replace, []
def watched(source, target):
    if len(done) == kill_at and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    done.append(target)
    if len(done) - 1 == kill_at and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = watched
main(sys.argv[3:])
"""


def killed(step: int, when: str, command: list[object]) -> None:
    """Run a command that is killed before or after its rename number ``step``, from 0."""
    arguments = [sys.executable, "-c", STEPS, str(step), when, *map(str, command)]
    done = subprocess.run(arguments, capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


KILLS = [(0, "before"), (0, "after"), (1, "before"), (1, "after"), (2, "before"), (2, "after")]


@pytest.mark.parametrize(
    ("kill", "current", "previous", "manifest"),
    [*zip(KILLS, "BBBCCC", "ABBBBB", "BBBBBC", strict=True)],
)
def test_a_build_killed_between_two_steps(
    after_two: Workspace, kill: tuple[int, str], current: str, previous: str, manifest: str
) -> None:
    """Previous, blob, manifest: in this order."""
    killed(*kill, after_two.command("C"))
    assert after_two.name_of(after_two.out) == current
    assert after_two.name_of(after_two.beside(".previous")) == previous
    assert after_two.manifest()["build_id"] == after_two.id(manifest)
    assert after_two.build("C").status == DONE, "the next one goes on from there"
    assert after_two.state() == ("C", "B")
    assert after_two.manifest()["previous"]["proof"], "and lost nothing"
    assert len([*after_two.folder.glob("*served*")]) == 3, "nor left anything behind"
    assert after_two.rollback().status == DONE
    assert after_two.state() == ("B", "C")


ROLLBACK_KILLS = [*KILLS, (3, "before"), (3, "after")]


@pytest.mark.parametrize(
    ("kill", "current", "previous", "manifest", "recorded"),
    [*zip(ROLLBACK_KILLS, "BBBAAAAA", "AAAAABBB", "BBBBBBBA", " BBBBBBB", strict=True)],
)
def test_a_rollback_killed_between_two_steps(
    after_two: Workspace,
    *,
    kill: tuple[int, str],
    current: str,
    previous: str,
    manifest: str,
    recorded: str,
) -> None:
    """List, blob, previous, manifest: the build to go back to is always in one of the files."""
    killed(*kill, ["rollback", after_two.out])
    assert after_two.name_of(after_two.out) == current
    assert after_two.name_of(after_two.beside(".previous")) == previous
    assert after_two.manifest()["build_id"] == after_two.id(manifest)
    assert after_two.beside(".rolled-back").exists() == (recorded == "B")
    if current == "B":
        assert after_two.rollback().status == DONE
    assert after_two.build("B").status == REFUSED, "it is not brought back"
    assert after_two.build("C").status == DONE
    assert after_two.state() == ("C", "A")


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_rename_that_fails(
    after_two: Workspace, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    replace = os.replace
    done: list[Path] = []

    def fail_once(source: str, target: Path) -> None:
        done.append(target)
        if len(done) == step + 1:
            raise OSError(5, "Input/output error", source)
        replace(source, target)

    before = after_two.files()
    monkeypatch.setattr(os, "replace", fail_once)
    failed = after_two.build("C")
    monkeypatch.undo()
    names = ["served.blob.previous", "served.blob", "served.blob.json"]
    path = after_two.folder / names[step]
    assert (failed.status, failed.out) == (BAD_INPUT, "")
    assert failed.err == f"Error: {path}: Input/output error; nothing is changed\n"
    assert after_two.files() == before
    assert after_two.state() == ("B", "A")


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_nothing_is_touched_before_everything_is_on_the_disk(
    after_two: Workspace, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A full disk shows before the work, or at one of the three files."""
    before, fsync = after_two.files(), os.fsync
    synced: list[int] = []

    def fail(descriptor: int) -> None:
        if len(synced) == step:
            raise OSError(28, "No space left on device")
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    failed = after_two.build("C")
    assert failed.status == BAD_INPUT
    assert failed.err.endswith(": No space left on device\n")
    assert failed.err.count("\n") == 1
    assert after_two.files() == before


def test_only_leftovers_of_killed_commands_are_removed(after_two: Workspace) -> None:
    leftovers = [
        f".served.blob{suffix}.abcd_123.{kind}"
        for suffix in ("", ".previous", ".json", ".rolled-back")
        for kind in ("ipgeo-new", "ipgeo-old")
    ]
    others = [
        ".served.blob.abcd_123",
        ".served.blob.abc.ipgeo-new",
        ".other.blob.abcd_123.ipgeo-new",
        "served.blob.abcd_123.ipgeo-new",
        ".served.blob.20251126.old",
        ".served.blob.20251126.new",
        ".served.blob.abcd_123.kept",
    ]
    for name in (*leftovers, *others):
        (after_two.folder / name).write_bytes(b"x")
    assert after_two.build("C").status == DONE
    assert not [name for name in leftovers if (after_two.folder / name).exists()]
    assert all((after_two.folder / name).exists() for name in others)


# Two at once


def test_two_builds_at_once_come_one_after_the_other(after_two: Workspace) -> None:
    """The second one waits while a publisher holds the folder, and judges what that one left."""
    descriptor = os.open(after_two.folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    command = [str(PROGRAM), *map(str, after_two.command("C"))]
    builds = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for build in builds:
            wait.until(partial(folder_is_open, build.pid, after_two.folder), "it waits")
        assert after_two.state() == ("B", "A")
    finally:
        os.close(descriptor)
    texts = [build.communicate(timeout=60)[0] for build in builds]
    assert [build.returncode for build in builds] == [DONE, DONE]
    assert sum("nothing new is published" in text for text in texts) == 1
    assert after_two.state() == ("C", "B")


def folder_is_open(process: int, folder: Path) -> bool:
    descriptors = Path(f"/proc/{process}/fd")
    try:
        return any(entry.resolve() == folder.resolve() for entry in descriptors.iterdir())
    except FileNotFoundError:
        return False


def test_a_lock_timeout_is_reported(after_two: Workspace) -> None:
    with (
        locked(after_two.folder),
        pytest.raises(OSError, match="another build or rollback is still publishing") as failure,
        locked(after_two.folder, timeout=0.1),
    ):
        pass
    assert failure.value.filename == str(after_two.folder)


# rollback


def test_rollback_and_back_again(after_two: Workspace) -> None:
    for now, before in ("AB", "BA", "AB"):
        done = after_two.rollback()
        assert (done.status, done.err) == (DONE, "")
        old, new = after_two.id(before), after_two.id(now)
        assert done.out.splitlines() == [
            f"{after_two.out}: rolled back from build id {old} to {new}",
            f"build refuses {old} from now on, unless --force is given",
        ]
        assert after_two.state() == (now, before)
        manifest = after_two.manifest()
        assert manifest["rolled_back_from"] == old
        assert manifest["inputs"][0]["name"] == f"{now}.dat"
        assert manifest["proof"]["addresses"] == ADDRESS_COUNT
        assert manifest["previous"]["inputs"][0]["name"] == f"{before}.dat"


def test_a_rollback_keeps_the_age_of_the_data(after_two: Workspace) -> None:
    os.utime(after_two.beside(".previous"), (1000, 1000))
    current = after_two.out.stat().st_mtime_ns
    assert after_two.rollback().status == DONE
    assert after_two.out.stat().st_mtime == 1000
    assert after_two.beside(".previous").stat().st_mtime_ns == current


def test_a_rolled_back_build_is_refused(after_two: Workspace) -> None:
    assert after_two.rollback().status == DONE
    before = after_two.files()
    done = after_two.build("B")
    assert done.status == REFUSED
    assert "refused by rolled-back\n" in done.err
    assert f"gate rolled-back  failed: build id {after_two.id('B')} was rolled back at " in done.err
    assert after_two.files() == before
    assert after_two.build("C").status == DONE, "another one is not"
    assert after_two.build("B").status == REFUSED, "a publication later it still is"
    done = after_two.build("B", "--force")
    assert "\n--force overrode rolled-back\n" in done.out
    assert after_two.state() == ("B", "C")
    assert [after_two.build(name).status for name in "CB"] == [DONE, DONE], "forgotten by force"


def test_a_rolled_back_build_is_refused_over_the_sample_and_over_nothing(
    after_two: Workspace,
) -> None:
    assert after_two.rollback().status == DONE
    after_two.out.unlink()
    assert after_two.build("B").status == REFUSED
    assert not after_two.out.exists()


def test_several_rollbacks_are_recorded(after_two: Workspace) -> None:
    assert after_two.rollback().status == DONE
    assert after_two.build("C").status == DONE
    assert after_two.rollback().status == DONE
    assert [after_two.build(name).status for name in "BC"] == [REFUSED, REFUSED]
    lines = after_two.beside(".rolled-back").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [after_two.id("B"), after_two.id("C")]


def test_without_a_previous_file(workspace: Workspace) -> None:
    assert workspace.build("A").status == DONE
    before = workspace.files()
    done = workspace.rollback()
    path = workspace.beside(".previous")
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err == f"Error: {path}: there is no previous file to go back to\n"
    assert workspace.files() == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _: b"", "0 bytes"),
        (lambda data: data[:-8], "the header says"),
        (lambda data: patched(data, 100_000, b"\xaa"), "the checksum does not match"),
        (
            lambda data: patched(data, 8, b"\1"),
            "blob layout 1, this reader reads 2: build it again",
        ),
    ],
)
def test_a_damaged_previous_file(
    after_two: Workspace, change: Callable[[bytes], bytes], problem: str
) -> None:
    path = after_two.beside(".previous")
    path.write_bytes(change(path.read_bytes()))
    before = after_two.files()
    done = after_two.rollback()
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err.startswith(f"Error: {path}: {problem}")
    assert done.err.count("\n") == 1
    assert after_two.files() == before


@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_back_from_a_current_file_that_is_not_sound(after_two: Workspace, damage: str) -> None:
    if damage == "gone":
        after_two.out.unlink()
        problem = "there is no current file"
    else:
        after_two.out.write_bytes(b"garbage")
        problem = "the current file is not sound: 7 bytes, shorter than a blob's header"
    done = after_two.rollback()
    assert (done.status, done.err) == (DONE, "")
    assert done.out.splitlines() == [
        f"{after_two.out}: rolled back to build id {after_two.id('A')}",
        f"{problem}: it is neither kept nor recorded",
    ]
    assert after_two.state() == ("A", "A")
    done = after_two.rollback()
    assert done.status == BAD_INPUT
    assert f"build id {after_two.id('A')} is already the current one\n" in done.err
    assert after_two.build("B").status == DONE


def test_an_invalid_list_of_rollbacks_is_named(after_two: Workspace) -> None:
    assert after_two.rollback().status == DONE
    path = after_two.beside(".rolled-back")
    path.write_text(f"{after_two.id('B')}\n\nnonsense\n")
    before = after_two.files()
    for done in (after_two.build("C"), after_two.rollback()):
        assert done.status == BAD_INPUT
        assert done.err == f"Error: {path}: line 3: does not begin with a build id\n"
    assert after_two.files() == before
    path.write_text(f"{after_two.id('B')}\n")
    assert "was rolled back at an unknown time" in after_two.build("B").err


@pytest.mark.parametrize("name", ["none.blob", "none/none.blob", "codes", "null"])
def test_rollback_names_a_path_that_cannot_be_rolled_back(workspace: Workspace, name: str) -> None:
    (workspace.folder / "null").symlink_to("/dev/null")
    done = compiler("rollback", workspace.folder / name)
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err.startswith(f"Error: {workspace.folder / name.split('/', maxsplit=1)[0]}")
    assert done.err.count("\n") == 1
