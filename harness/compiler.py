"""The command `ipgeo-compile`: in this process, and as the program that is installed."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from harness import ROOT
from harness.process import Done
from ipgeo.cli.main import main

PROGRAM = Path(sys.executable).parent / "ipgeo-compile"
SAMPLE = ROOT / "data" / "sample.dat"
SAMPLE_CODES = ROOT / "data"
NOBODY = 65534

_UNPRIVILEGED = f"""
import os
from click.testing import CliRunner
from ipgeo.__main__ import main
from ipgeo.cli.main import main as commands
from ipgeo.places.kinds import kind_of
kind_of("")  # reads the built-in tables
CliRunner().invoke(commands, ["inspect", "-x"])  # imports what click leaves for later
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
main()
"""


def compiler(*arguments: object, stdin: str = "") -> Done:
    """Run a command in this process; an exception that it lets through is raised."""
    result = CliRunner().invoke(main, [*map(str, arguments)], input=stdin, prog_name=PROGRAM.name)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def unprivileged(*arguments: object, **settings: str) -> Done:
    """Run a command as an unprivileged user, which may not be able to read the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", _UNPRIVILEGED, *map(str, arguments)],
        capture_output=True,
        check=False,
        env=os.environ | settings,
        timeout=60,
        text=True,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def build(out: Path, source: Path = SAMPLE, codes: Path | None = SAMPLE_CODES) -> bytes:
    """Compile a source, which must succeed; return the blob."""
    arguments = ["build", source, "-o", out] + (["--codes", codes] if codes else [])
    done = compiler(*arguments)
    assert done.status == 0, done.err
    return out.read_bytes()


def exchanged(data: bytes, one: int, other: int) -> bytes:
    """Return a `.dat` file in which two records have exchanged their contents."""
    changed = bytearray(data)
    parts = [slice(1028 + record * 8 + 4, 1028 + record * 8 + 8) for record in (one, other)]
    first, second = (data[part] for part in parts)
    assert first != second
    changed[parts[0]], changed[parts[1]] = second, first
    return bytes(changed)
