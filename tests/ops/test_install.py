"""ipgeo-compile starts wherever it is installed: by pip anywhere, and in .venv."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import ROOT
from harness.compiler import PROGRAM


def version(*command: object, cwd: Path = Path("/"), **variables: str) -> str:
    done = subprocess.run(
        [*map(str, command), "--version"],
        capture_output=True,
        check=False,
        cwd=cwd,
        env=os.environ | variables,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project installed by pip into a folder that has no Python of its own."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("compiler", "fallback"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.egg-info"))
    folder = tmp_path_factory.mktemp("prefix")
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    # --ignore-installed: pip would remove the project from the environment of the tests.
    options = ["-q", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    where = ["--no-warn-script-location", "--prefix", str(folder)]
    subprocess.run([*pip, "install", *options, *where, str(source)], check=True)
    return folder


def test_installed_by_pip(prefix: Path) -> None:
    program = prefix / "bin" / PROGRAM.name
    assert not (prefix / "bin" / "python3").exists()
    (library,) = prefix.glob("lib/python3*/site-packages")
    found = version(program, PYTHONPATH=str(library))
    assert found.startswith("ipgeo-compile, version ")


def test_the_built_in_tables_are_installed(prefix: Path) -> None:
    (library,) = prefix.glob("lib/python3*/site-packages")
    tables = ROOT / "compiler" / "ipgeo" / "places" / "tables"
    installed = library / "ipgeo" / "places" / "tables"
    assert {path.name for path in installed.iterdir()} == {path.name for path in tables.iterdir()}


def test_the_program_of_the_environment(tmp_path: Path) -> None:
    expected = version(PROGRAM)
    assert b"--block-signal=INT" in PROGRAM.read_bytes(), "compiler/bin/ipgeo-compile"
    link = tmp_path / "link"
    link.symlink_to(PROGRAM)
    assert version(link) == expected
    assert version("sh", PROGRAM.name, cwd=PROGRAM.parent) == expected
    assert version("sh", link.name, cwd=tmp_path) == expected
