"""With standard error closed, a failing command prints nothing on standard output instead."""

import subprocess
from pathlib import Path

import pytest

from harness.compiler import PROGRAM, SAMPLE, build

BAD_INPUT, USAGE, REFUSED = 1, 2, 3

FAILURES = {
    "no blob to export": (BAD_INPUT, ["export", "none", "--format", "csv", "-o", "-"]),
    "no source": (BAD_INPUT, ["build", "none", "--json", "-o", "z.blob"]),
    "no file to diff": (BAD_INPUT, ["diff", "none", "one.blob"]),
    "no blob to inspect": (BAD_INPUT, ["inspect", "none", "--json"]),
    "no blob to verify": (BAD_INPUT, ["verify", "none"]),
    "no folder": (BAD_INPUT, ["sample", "one.blob/x"]),
    "nothing to go back to": (BAD_INPUT, ["rollback", "one.blob"]),
    "refused": (REFUSED, ["build", str(SAMPLE), "-o", "one.blob", "--expect", "golden"]),
    "no command": (USAGE, ["frob"]),
    "no option": (USAGE, ["lookup", "--frob", "one.blob"]),
    "no value": (USAGE, ["export", "one.blob", "--format", "frob", "-o", "-"]),
    "no blob but -": (USAGE, ["build", str(SAMPLE), "-o", "-"]),
}


@pytest.mark.parametrize("name", FAILURES)
def test_nothing_on_standard_output(tmp_path: Path, name: str) -> None:
    build(tmp_path / "one.blob", codes=None)
    (tmp_path / "golden").write_text("1.1.1.1\tnull\n")
    status, command = FAILURES[name]
    done = subprocess.run(
        ["bash", "-c", 'exec "$0" "$@" 2>&-', PROGRAM, *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (status, b"")
