"""A command that has published reports it, also when it fails after that."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.compiler import NOBODY, PROGRAM, build, compiler, unprivileged
from harness.rights import as_root
from harness.sources import dat

DONE, BAD_INPUT, INTERRUPTED = 0, 1, 130

CHINA = ("中国", "北京", "北京", "")

FULL = "the summary cannot be written: No space left on device"

INTERRUPT = """
import os, signal
replace, calls = os.replace, []
def interrupting(source, target):
    calls.append(target)
    if len(calls) == int(os.environ["INTERRUPT_AT"]):
        os.kill(os.getpid(), signal.SIGINT)
    replace(source, target)
os.replace = interrupting
"""

KILL = """
import os, signal
def killing(source, target):
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = killing
"""


@pytest.fixture
def out(folder: Path) -> Path:
    """A published blob; a source that differs is beside its folder."""
    (folder / "source.dat").write_bytes(dat([(0, CHINA)]))
    path = folder / "store" / "served.blob"
    path.parent.mkdir(mode=0o755)
    build(path, codes=None)
    return path


def command(out: Path) -> list[str]:
    return ["build", str(out.parent.parent / "source.dat"), "-o", str(out), "--force"]


def run(
    arguments: list[str], redirection: str = "", hook: Path | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run the program under a shell that redirects; Python executes ``hook`` first."""
    script = f'umask 022; exec env --default-signal=INT "$0" "$@" {redirection}'
    path = {"PYTHONPATH": str(hook)} if hook else {}
    return subprocess.run(
        ["bash", "-c", script, str(PROGRAM), *arguments],
        capture_output=True,
        check=False,
        env=os.environ | path | variables,
        text=True,
        timeout=60,
    )


def hooked(folder: Path, code: str) -> Path:
    hook = folder / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(code)
    return hook


# The summary cannot be written


@as_root
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_build_whose_summary_cannot_be_written(out: Path, options: list[str]) -> None:
    out.chmod(0o600)
    done = run([*command(out), *options], ">/dev/full", IPGEO_USER="nobody")
    warning, error = done.stderr.splitlines()
    assert done.returncode == BAD_INPUT
    assert warning.startswith(f"Warning: {out}: published, but the servers cannot read it: ")
    assert error == f"Error: {out}: published, but {FULL}"
    assert out.with_name("served.blob.previous").exists()


def test_other_commands_whose_summary_cannot_be_written(out: Path, folder: Path) -> None:
    assert compiler(*command(out)).status == DONE
    done = run(["rollback", str(out)], ">/dev/full")
    assert (done.returncode, done.stderr) == (BAD_INPUT, f"Error: {out}: rolled back, but {FULL}\n")
    done = run(["sample", str(folder / "new")], ">/dev/full")
    error = f"Error: {folder / 'new'}: the sample is written, but {FULL}\n"
    assert (done.returncode, done.stderr) == (BAD_INPUT, error)
    done = run([*command(out), "--json"])
    assert done.returncode == DONE
    done = run(command(out), ">/dev/full")
    assert done.stderr == f"Error: {out}: unchanged, but {FULL}\n"


# Interrupted too late


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_interrupt_during_the_renames_comes_too_late(out: Path, folder: Path, at: int) -> None:
    hook = hooked(folder, INTERRUPT)
    done = run(command(out), hook=hook, INTERRUPT_AT=str(at))
    names = ", ".join(f"{out}{suffix}" for suffix in (".previous", "", ".json"))
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == f"{names}: published\n"
    assert not [*out.parent.glob(".*")]
    done = run(["rollback", str(out)], hook=hook, INTERRUPT_AT=str(at))
    assert done.returncode == INTERRUPTED
    assert done.stderr.endswith(": published\n")


def test_an_interrupt_during_the_summary_comes_too_late(out: Path, folder: Path) -> None:
    code = """
import os, signal
getxattr = os.getxattr
def interrupting(path, name):
    if str(path) == os.environ["INTERRUPT_ON"]:
        os.kill(os.getpid(), signal.SIGINT)
    return getxattr(path, name)
os.getxattr = interrupting
"""
    done = run(command(out), hook=hooked(folder, code), INTERRUPT_ON=str(out.parent))
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == f"{out}: published\n"


# Before the work, and after a kill


@as_root
@pytest.mark.parametrize(("suffix", "force"), [(".json", []), (".rolled-back", ["--force"])])
def test_lost_readers_of_the_other_files_are_reported_before_the_work(
    out: Path, suffix: str, force: list[str]
) -> None:
    path = out.with_name(out.name + suffix)
    path.touch()
    os.chown(out.parent, NOBODY, NOBODY)
    os.chown(out, NOBODY, NOBODY)
    os.chown(path, NOBODY, 0)
    path.chmod(0o640)
    done = unprivileged("build", out.parent.parent / "not looked at", "-o", out, *force)
    assert done.status == BAD_INPUT
    assert done.err.startswith(f"Error: {path}: its group root could not read the new file")


@pytest.mark.parametrize("name", ["export", "sample"])
def test_leftovers_of_a_killed_command_are_removed_by_the_next(
    out: Path, folder: Path, name: str
) -> None:
    target = folder / "place"
    target.mkdir()
    arguments = {
        "export": ["export", str(out), "--format", "csv", "-o", str(target / "x.csv")],
        "sample": ["sample", str(target)],
    }[name]
    hook = hooked(folder, KILL)
    assert run(arguments, hook=hook).returncode < 0
    assert [*target.glob(".*")]
    shutil.rmtree(hook)
    other = target / ".x.csv.20251126.old"
    other.touch()
    assert run(arguments).returncode == DONE
    assert [*target.glob(".*")] == [other]


def test_an_export_clears_the_folder_once_it_has_the_lock(out: Path) -> None:
    held = ["flock", str(out.parent), str(PROGRAM), "lookup", str(out)]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdin
        assert owner.stdout
        owner.stdin.write("8.8.8.8\n")
        owner.stdin.flush()
        assert owner.stdout.readline()
        export = [str(PROGRAM), "export", str(out), "--format", "csv", "-o", f"{out}.csv"]
        with subprocess.Popen(export) as waiting:
            left = out.with_name(f".{out.name}.csv.abcd1234.ipgeo-new")
            left.touch()
            owner.stdin.close()
            assert owner.wait(60) == DONE
            assert waiting.wait(60) == DONE
        assert not left.exists()
