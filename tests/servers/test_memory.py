"""How much memory a worker of the edge takes for a batch, and what of it remains.

By the kernel's account of the worker: anonymous memory now, and at its highest so far. The blob's
pages, which all processes share, do not count.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from harness import blobs, wait
from harness.client import connect, request
from harness.edge import Edge
from harness.stack import Stack

PATH = "/api/ip_query"
OBJECTS = f"{PATH}?format=object"
TEXT = "Content-Type: text/plain"

MIB = 1 << 20
MAX_LEFT = 8 * MIB
MAX_BATCH = 100_000
"""The highest IPGEO_BATCH_LIMIT."""


def bodies(limit: int, size: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and requests: bodies of at most ``size`` bytes, and batches up to ``limit``."""

    def filled(unit: str, head: str = "", tail: str = "") -> bytes:
        return (head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail).encode()

    # The address with the longer answer.
    addresses = ",".join(['"1.2.3.4"'] * limit)
    for name, target, body, headers in (
        ("line feeds", PATH, filled("\n"), [TEXT]),
        ("lines", OBJECTS, b"1.2.3.4\n" * limit, [TEXT]),
        ("lines that are no addresses", PATH, b"x\n" * limit, [TEXT]),
        ("one line too many", OBJECTS, b"1.2.3.4\n" * (limit + 1), [TEXT]),
        ("a batch", PATH, f'{{"format":"object","ips":[{addresses}]}}'.encode(), []),
        ("another element at the end", PATH, f'{{"ips":[{addresses},1]}}'.encode(), []),
        ("another kind at the end", PATH, f'{{"ips":[{addresses},x]}}'.encode(), []),
        ("numbers", PATH, filled("1,", '{"ips":[', "1]}"), []),
        ("escapes", PATH, filled(r'"\u0031.2.3.4",', '{"format":"object","ips":[', "1]}"), []),
        ("nesting", PATH, filled("[[[[[[]]]]]],", '{"ips":[', "1]}"), []),
        ("a long string", PATH, filled("1", '{"ips":["', '"]}'), []),
        ("a long address", PATH, filled(r"\u0031", '{"ip":"', '"}'), []),
        ("keys", PATH, filled('"":1,', "{", '"":1}'), []),
        ("garbage", PATH, filled("x"), []),
    ):
        yield name, request("POST", target, *headers, body=body[:size], close=False)


def status(pid: int) -> dict[str, int]:
    """Return the sizes in /proc/PID/status, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {
        name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)
    }


def anonymous(pid: int) -> int:
    return status(pid)["RssAnon"]


def highest(pid: int) -> int:
    """Return the most anonymous memory that a process has had so far, or a little more."""
    now = status(pid)
    return now["VmHWM"] - now["RssFile"] - now["RssShmem"]


def is_back(worker: int, idle: int) -> bool:
    return anonymous(worker) - idle <= MAX_LEFT


def ask(edge: Edge, sent: bytes, times: int = 1) -> None:
    """Send a request some times over one connection, and read each answer to its end."""
    with connect(edge.address) as connection, connection.makefile("rb") as reader:
        for _ in range(times):
            connection.sendall(sent)
            read_answer(reader)


def read_answer(reader: BinaryIO) -> None:
    reader.readline()
    length = 0
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    assert len(reader.read(length)) == length


@pytest.mark.parametrize(
    ("limit", "size", "most"), [(1000, 65536, 16 * MIB), (MAX_BATCH, 4_801_024, 96 * MIB)]
)
def test_memory_of_batches(folder: Path, blob: Path, limit: int, size: int, most: int) -> None:
    settings = {"IPGEO_WORKERS": 1, "IPGEO_BATCH_LIMIT": limit}
    with Edge(folder, blob, None, **settings) as edge:
        (worker,) = edge.worker_pids()
        idle = anonymous(worker)
        for name, sent in bodies(limit, size):
            ask(edge, sent, times=3)
            over = highest(worker) - idle
            assert over <= most, f"{name}: {over / MIB:.1f} MiB over idle"
            given_back = partial(is_back, worker, idle)
            wait.until(given_back, f"{name}: the memory is given back")


def test_memory_of_an_answer_that_is_not_read(folder: Path, blob: Path) -> None:
    settings = {"IPGEO_WORKERS": 1, "IPGEO_BATCH_LIMIT": MAX_BATCH}
    sent = request("POST", OBJECTS, TEXT, body=b"1.2.3.4\n" * MAX_BATCH, close=False)
    length = MAX_BATCH * (len(blobs.ATLANTIS_OBJECT) + 1)
    with Edge(folder, blob, None, **settings) as edge:
        (worker,) = edge.worker_pids()
        idle = anonymous(worker)
        with connect(edge.address) as connection, connection.makefile("rb") as reader:
            connection.sendall(sent)
            wait.until(lambda: anonymous(worker) - idle > length / 2, "the answer waits")
            read_answer(reader)
        assert highest(worker) - idle <= 96 * MIB
        wait.until(partial(is_back, worker, idle), "the memory is given back")


def test_memory_of_an_answer_of_a_fallback(folder: Path, blob: Path) -> None:
    settings = {"IPGEO_WORKERS": 1, "IPGEO_BATCH_LIMIT": MAX_BATCH, "IPGEO_MODE": "proxy"}
    sent = request("POST", OBJECTS, TEXT, body=b"1.2.3.4\n" * MAX_BATCH, close=False)
    with Stack(folder, blob, **settings) as stack:
        (worker,) = stack.edge.worker_pids()
        idle = anonymous(worker)
        ask(stack.edge, sent, times=3)
        assert highest(worker) - idle <= 96 * MIB
        wait.until(partial(is_back, worker, idle), "the memory is given back")


def test_memory_of_clients_that_go_away(folder: Path, blob: Path) -> None:
    """Before they have read their answers."""
    settings = {"IPGEO_WORKERS": 1, "IPGEO_BATCH_LIMIT": MAX_BATCH}
    sent = request("POST", OBJECTS, TEXT, body=b"1.2.3.4\n" * MAX_BATCH, close=False)
    with Edge(folder, blob, None, **settings) as edge:
        (worker,) = edge.worker_pids()
        idle = anonymous(worker)
        for _ in range(5):
            with connect(edge.address) as connection:
                connection.sendall(sent)
                connection.recv(1)
        wait.until(partial(is_back, worker, idle), "the memory is given back")
        assert highest(worker) - idle <= 96 * MIB
