"""IPGEO_BIND: several addresses, both families, and a kernel without IPv6."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import ROOT, blobs
from harness.client import get
from harness.edge import Edge
from harness.ports import free_port
from harness.process import environment

QUERY = f"/api/ip_query?ip={blobs.ATLANTIS_IP}"
V4, V6 = "127.0.0.1", "::1"

with_ipv6 = pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6"
)


def reached(port: int, other: int) -> dict[str, set[str]]:
    """Return at which addresses a server answers, by port."""
    return {
        name: {host for host in (V4, V6) if answers(host, number)}
        for name, number in (("port", port), ("other", other))
    }


def answers(host: str, port: int) -> bool:
    try:
        return get((host, port), QUERY).body == blobs.ATLANTIS_ARRAY
    except ConnectionRefusedError:
        return False


@with_ipv6
@pytest.mark.parametrize(
    ("bind", "port", "other"),
    [
        ("127.0.0.1", {V4}, set()),
        ("127.0.0.1 [::1]", {V4, V6}, set()),
        ("[::]", {V4, V6}, set()),
        ("0.0.0.0,[::]", {V4, V6}, set()),
        ("127.0.0.1,[::]:OTHER", {V4}, {V4, V6}),
        ("127.0.0.1 0.0.0.0:OTHER [::]:OTHER", {V4}, {V4, V6}),
        ("127.0.0.1:PORT , ::1, 127.0.0.1:OTHER", {V4, V6}, {V4}),
    ],
)
def test_where_the_edge_is_reached(
    folder: Path, blob: Path, bind: str, port: set[str], other: set[str]
) -> None:
    ports = {"PORT": free_port(), "OTHER": free_port()}
    text = re.sub("PORT|OTHER", lambda match: str(ports[match[0]]), bind)
    edge = Edge(folder, blob, IPGEO_BIND=text, IPGEO_PORT=ports["PORT"])
    edge.port = ports["PORT"]
    with edge:
        assert reached(ports["PORT"], ports["OTHER"]) == {"port": port, "other": other}


NO_IPV6 = """\
import ctypes, os, struct, sys

ALLOW, EAFNOSUPPORT = 0x7FFF0000, 0x00050000 | 97
SOCKET, AF_INET6 = 41, 10
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
rules = [
    (LOAD, 0, 0, 0), (EQUAL, 0, 3, SOCKET), (LOAD, 0, 0, 16), (EQUAL, 0, 1, AF_INET6),
    (RETURN, 0, 0, EAFNOSUPPORT), (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a program as on a kernel without IPv6: socket(2) says so, by a filter (seccomp(2))."""


def start_without_ipv6(folder: Path, program: str, bind: str) -> "subprocess.CompletedProcess[str]":
    settings = {"IPGEO_VAR": folder / "var", "IPGEO_PORT": free_port(), "IPGEO_BIND": bind}
    return subprocess.run(
        [
            sys.executable,
            "-c",
            NO_IPV6,
            ROOT / program,
            *(["-t", "-q"] if "nginx" in program else []),
        ],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter has x86-64's numbers")
@pytest.mark.parametrize(
    ("bind", "refused"), [("[::]", "[::]"), ("127.0.0.1 [::1]:81", "[::1]:81"), ("::1", "[::1]")]
)
@pytest.mark.parametrize("program", ["nginx/start", "script/server"])
def test_a_kernel_without_ipv6(folder: Path, program: str, bind: str, refused: str) -> None:
    done = start_without_ipv6(folder, program, bind)
    assert done.returncode == 1
    problem = f"this host has no IPv6, so it cannot listen on '{refused}'"
    assert done.stderr.splitlines()[-1] == f"nginx/start: IPGEO_BIND: {problem}"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter has x86-64's numbers")
def test_ipv4_needs_no_ipv6(folder: Path) -> None:
    done = start_without_ipv6(folder, "nginx/start", "127.0.0.1")
    assert (done.returncode, done.stderr) == (0, "")


def test_one_address_twice_by_the_default_port(folder: Path) -> None:
    settings = {"IPGEO_VAR": folder, "IPGEO_PORT": 81, "IPGEO_BIND": "127.0.0.1:81 127.0.0.1"}
    done = subprocess.run(
        [ROOT / "nginx" / "render", "--print"],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nginx/render: IPGEO_BIND: '127.0.0.1' repeats an address\n"
