"""The Docker engine: whether it is there, and what a project of docker-compose has made in it."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest

from support import ROOT

TAG = "test"
"""Of the images that the tests make; they stay, for the next run to be quick."""

PROJECT_LABEL = "com.docker.compose.project"
_NAME = "ipgeo-test-"
_SECONDS = 120
_BUILD_SECONDS = 1200

# Outside those that the engine gives to networks that want none in particular.
_NETWORKS = [IPv4Network(f"10.213.{number}.0/24") for number in range(256)]


class Done(NamedTuple):
    """How a program has ended and what it printed."""

    status: int
    out: str
    err: str


def call(
    command: Sequence[str | Path],
    variables: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> Done:
    """Run a program to its end."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def docker(*arguments: str, seconds: float = _SECONDS) -> str:
    """Run a command of docker, which must succeed; return what it printed."""
    done = call(["docker", *arguments], seconds=seconds)
    if done.status:
        raise RuntimeError(f"docker {' '.join(arguments)}: status {done.status}: {done.err}")
    return done.out


def require() -> None:
    """Skip the test where there is no engine; with IPGEO_REQUIRE_DOCKER=1 that is a failure."""
    reason = _missing()
    if not reason:
        return
    if os.environ.get("IPGEO_REQUIRE_DOCKER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _missing() -> str:
    for program in ("docker", "docker-compose"):
        if shutil.which(program) is None:
            return f"no {program} here"
    return "" if call(["docker", "version"]).status == 0 else "no Docker engine answers"


def build_images() -> None:
    """Make the base image, if it is not there, and the three images, tagged as the tests' own."""
    variables = {**os.environ, "IPGEO_TAG": TAG}
    for command in (["script/base-image"], ["docker-compose", "build"]):
        done = call(command, variables, _BUILD_SECONDS)
        if done.status:
            pytest.fail(f"{' '.join(command)}: {done.out[-2000:]}{done.err}", pytrace=False)


# --- projects -------------------------------------------------------------------------------------


def project_name(number: int) -> str:
    """Return a name that tells which process the project belongs to."""
    return f"{_NAME}{os.getpid()}-{number}"


def left_of(project: str) -> dict[str, list[str]]:
    """Return what the engine has of a project: kinds of things to their ids."""
    of_project = f"label={PROJECT_LABEL}={project}"
    found = {
        "container": docker("ps", "-aq", "--filter", of_project).split(),
        "network": docker("network", "ls", "-q", "--filter", of_project).split(),
        "volume": docker("volume", "ls", "-q", "--filter", of_project).split(),
    }
    return {kind: ids for kind, ids in found.items() if ids}


def remove(project: str) -> None:
    """Remove all that the engine has of a project, by force."""
    for kind, ids in left_of(project).items():
        force = [] if kind == "network" else ["--force"]
        docker(kind, "rm", *force, *ids)


def remove_abandoned() -> None:
    """Remove what runs that were killed have left."""
    for project in _projects():
        process = project.removeprefix(_NAME).partition("-")[0]
        if project.startswith(_NAME) and not Path(f"/proc/{process}").exists():
            remove(project)


def _projects() -> set[str]:
    labels = (f"label={PROJECT_LABEL}", f'{{{{.Label "{PROJECT_LABEL}"}}}}')
    commands = (("ps", "-a"), ("network", "ls"), ("volume", "ls"))
    return {
        name
        for command in commands
        for name in docker(*command, "--filter", labels[0], "--format", labels[1]).split()
    }


def free_networks(count: int) -> list[IPv4Network]:
    """Return networks of 256 addresses that nobody here uses."""
    ids = docker("network", "ls", "-q").split()
    subnets = "{{range .IPAM.Config}}{{.Subnet}} {{end}}"
    nets = [ip_network(net) for net in docker("network", "inspect", "-f", subnets, *ids).split()]
    taken = [net for net in nets if isinstance(net, IPv4Network)]
    free = (net for net in _NETWORKS if not any(map(net.overlaps, taken)))
    return [*islice(free, count)]
