"""The shell completes what ipgeo-compile takes: by the installed program, at a terminal."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from harness.compiler import PROGRAM
from ipgeo.sources.registry import FORMATS

SETUP = 'eval "$(_IPGEO_COMPILE_COMPLETE=bash_source ipgeo-compile)"\n'
"""As docs/command-line.md has it."""

TO_THE_BEGINNING = "\x01"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with files, and with what bash reads when it starts."""
    for name in ("source.dat", "served.blob"):
        (tmp_path / name).touch()
    (tmp_path / "codes").mkdir()
    (tmp_path / "rc").write_text(SETUP)
    return tmp_path


def completed(workspace: Path, typed: str) -> str:
    """Return what bash makes of a line after which TAB is pressed."""
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, f"{typed}\t{TO_THE_BEGINNING}>printed echo \nexit\n".encode())
        subprocess.run(
            ["bash", "--noprofile", "--rcfile", "rc", "-i"],
            cwd=workspace,
            env=os.environ | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "TERM": "dumb"},
            stdin=terminal,
            capture_output=True,
            check=True,
            timeout=60,
            start_new_session=True,
        )
    finally:
        os.close(keyboard)
        os.close(terminal)
    return (workspace / "printed").read_text().rstrip("\n")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("b", "build"),
        ("roll", "rollback"),
        ("fo", "formats"),
        ("formats --j", "formats --json"),
        ("build --allow", "build --allow-less-coverage"),
        ("build so", "build source.dat"),
        ("build source.dat --codes co", "build source.dat --codes codes/"),
        ("build source.dat -o se", "build source.dat -o served.blob"),
        ("export served.blob --format m", "export served.blob --format mmdb"),
        ("lookup served.blob --format o", "lookup served.blob --format object"),
        ("no-such-command so", "no-such-command so"),
    ],
)
def test_a_line_is_completed(workspace: Path, typed: str, line: str) -> None:
    assert completed(workspace, f"ipgeo-compile {typed}") == f"ipgeo-compile {line}"


@pytest.mark.parametrize("name", [known.name for known in FORMATS])
def test_formats_of_sources_are_offered(workspace: Path, name: str) -> None:
    """Whole, as click offers it: of several formats the shell shows a list."""
    shown = subprocess.run(
        [PROGRAM],
        env=os.environ
        | {
            "_IPGEO_COMPILE_COMPLETE": "bash_complete",
            "COMP_WORDS": f"ipgeo-compile build source.dat --format {name}",
            "COMP_CWORD": "4",
        },
        capture_output=True,
        check=True,
        text=True,
    )
    assert f"plain,{name}" in shown.stdout.splitlines()


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _ipgeo_compile_completion ipgeo-compile"),
        ("zsh", "#compdef ipgeo-compile"),
        ("fish", "complete --no-files --command ipgeo-compile"),
    ],
)
def test_the_scripts_of_three_shells(shell: str, line: str) -> None:
    done = subprocess.run(
        [PROGRAM],
        env=os.environ | {"_IPGEO_COMPILE_COMPLETE": f"{shell}_source"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert line in done.stdout
    assert done.stderr == ""
