"""A fresh clone: with LF everywhere, and without an operator's files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness import ROOT
from harness.process import environment, run

pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git"), reason="this is no clone"
)


def git(*arguments: object) -> str:
    command = ["git", "-c", "safe.directory=*", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_clone_with_autocrlf_starts(folder: Path) -> None:
    clone = folder / "clone"
    git("clone", "-q", "-c", "core.autocrlf=true", "-c", "safe.directory=*", ROOT, clone)
    files = [clone / name for name in git("-C", clone, "ls-files").splitlines()]
    assert len(files) > 100
    with_cr = [file.name for file in files if b"\r\n" in file.read_bytes()]
    assert [name for name in with_cr if not name.endswith(".dat")] == []
    for name in ("data/sample.dat", "script/server"):
        assert (clone / name).read_bytes() == (ROOT / name).read_bytes()
    settings = environment({"IPGEO_VAR": folder / "var"})
    run([clone / "nginx" / "start", "-t", "-q"], settings)


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        (".env", True),
        (".env.example", False),
        ("ipgeo.blob.json", True),
        ("x/ipgeo.blob.previous", True),
        ("17monipdb.dat", True),
        ("x/y.dat", True),
        (".venv", True),
        (".venvs/20260101T000000-1/bin/python", True),
        ("data/sample.dat", False),
        ("docs/blob-format.md", False),
    ],
)
def test_git_ignores_generated_files(name: str, ignored: bool) -> None:
    git = ["git", "-C", str(ROOT), "-c", "safe.directory=*"]
    command = [*git, "check-ignore", "--no-index", "-q", name]
    assert subprocess.run(command, check=False).returncode == (0 if ignored else 1)
