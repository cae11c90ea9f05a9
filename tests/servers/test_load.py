"""Many connections: judged by counts alone, as speed depends on the machine.

A request may take 5 s, tens of times what a right server needs on an idle machine.
"""

import contextlib
import re
import resource
import subprocess
from pathlib import Path

import pytest

from harness import ROOT, blobs
from harness.client import connect, request
from harness.gunicorn import Gunicorn
from harness.ports import free_port

QUERY = f"/api/ip_query?ip={blobs.ATLANTIS_IP}"
SECONDS = 10


def wrk(port: int, connections: int, *options: str) -> str:
    """Load a server; return wrk's output."""
    url = f"http://127.0.0.1:{port}{QUERY}"
    command = ["wrk", "-t2", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "5s", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def assert_faultless(printed: str) -> None:
    """All were answered, rightly, in time; wrk reports any failure in a line of its own."""
    found = re.search(r"(\d+) requests in ", printed)
    assert found, printed
    assert int(found[1]) > 0, printed
    assert "Socket errors" not in printed, printed
    assert "Non-2xx" not in printed, printed


@pytest.mark.parametrize(
    ("connections", "options"),
    [(200, ()), (100, ("-H", "Connection: close"))],
    ids=["kept", "churn"],
)
def test_the_fallback_leaves_no_client_waiting(
    folder: Path, connections: int, options: tuple[str, ...]
) -> None:
    blob = folder / "test.blob"
    blob.write_bytes(blobs.fictional())
    port = free_port()
    with Gunicorn(folder, blob, IPGEO_FALLBACK_BIND=f"127.0.0.1:{port}", IPGEO_FALLBACK_WORKERS=2):
        assert_faultless(wrk(port, connections, *options))


def test_the_fallback_keeps_thousands_of_connections(folder: Path) -> None:
    """More than gunicorn's default of a worker: those beyond it would wait for others to close."""
    blob = folder / "test.blob"
    blob.write_bytes(blobs.fictional())
    port = free_port()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        Gunicorn(folder, blob, IPGEO_FALLBACK_BIND=f"127.0.0.1:{port}") as server,
        contextlib.ExitStack() as kept,
    ):
        for number in range(1500):
            connection = kept.enter_context(connect(server.address))
            connection.sendall(request("GET", "/healthz", close=False))
            assert connection.recv(12) == b"HTTP/1.1 200", number


def test_the_predecessors_load_commands(folder: Path) -> None:
    """The program's status reports failures and timeouts, over 5,000 connections."""
    blob = folder / "test.blob"
    blob.write_bytes(blobs.fictional())
    program = [str(ROOT / "bench" / "predecessor"), str(blob)]
    command = [*program, "--seconds", str(SECONDS), "--timeout", "5s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    faultless = re.findall(r"^\| (\w+ \w+) \|.*\| 0 \| 0? *\|$", done.stdout, re.MULTILINE)
    assert faultless == ["wrk GET", "wrk POST", "ab GET", "ab POST"], done.stdout
