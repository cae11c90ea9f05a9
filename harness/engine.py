"""The Docker engine: whether it is there, and what a run of the tests has made in it.

Projects, their networks and images carry the name of the run, so that concurrent runs do not
collide. A later run removes the leftovers of a killed one.
"""

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Network, ip_network
from itertools import islice
from pathlib import Path

import pytest

from harness import ROOT, wait
from harness.process import Done

PROJECT_LABEL = "com.docker.compose.project"
_NAME = "ipgeo-test-"
_SECONDS = 120
_BUILD_SECONDS = 1200

# Outside the ranges that the engine assigns to networks by default.
_NETWORKS = [IPv4Network(f"10.213.{number}.0/24") for number in range(256)]


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
    """Make the base image, if it is not there, and the three images, tagged as this run's own."""
    variables = {**os.environ, "IPGEO_TAG": TAG}
    with _alone():
        for command in (["script/base-image"], ["docker-compose", "build"]):
            done = call(command, variables, _BUILD_SECONDS)
            if done.status:
                pytest.fail(f"{' '.join(command)}: {done.out[-2000:]}{done.err}", pytrace=False)


# --- runs -----------------------------------------------------------------------------------------

_kept: list[socket.socket] = []


def _take(name: str) -> socket.socket | None:
    """Take a name until the socket is closed or this process ends; None if another one has it.

    The name is that of an abstract unix socket (unix(7)), which leaves no file.
    """
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0{name}")
    except OSError:
        holder.close()
        return None
    return holder


def _keep(name: str) -> bool:
    """Take a name for as long as this process lives; False if another one has it."""
    holder = _take(name)
    if holder:
        _kept.append(holder)
    return holder is not None


def _is_taken(name: str) -> bool:
    holder = _take(name)
    if holder:
        holder.close()
    return holder is None


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other run builds, looks for networks or removes leftovers."""
    with wait.until(partial(_take, f"{_NAME}alone"), "other runs build", _BUILD_SECONDS):
        yield


def _namespace() -> str:
    """Return a name for the scope of abstract sockets: a network namespace until the next boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    namespace = Path("/proc/self/ns/net").readlink()
    return hashlib.sha256(f"{boot}{namespace}".encode()).hexdigest()[:8]


_PREFIX = f"{_NAME}{_namespace()}-"


def _begin() -> str:
    while not _keep(run := f"{_PREFIX}{os.urandom(4).hex()}"):
        pass
    return run


RUN = _begin()
"""The name of this run. Its process holds it: as long as the name is taken, the run is alive."""

TAG = RUN
"""Of the images that this run makes."""


def project_name(number: int) -> str:
    """Return a name that shows which run the project belongs to."""
    return f"{RUN}-{number}"


def _run_of(name: str) -> str:
    """Return the run that a project or a tag belongs to; empty if it is of no run here.

    Runs in another network namespace count as none: whether they are alive is not visible here.
    """
    number = name.removeprefix(_PREFIX).partition("-")[0]
    return f"{_PREFIX}{number}" if name.startswith(_PREFIX) else ""


def _is_abandoned(name: str) -> bool:
    run = _run_of(name)
    return bool(run) and not _is_taken(run)


def remove_abandoned() -> None:
    """Remove the leftovers of killed runs."""
    with _alone():
        for project in filter(_is_abandoned, _projects()):
            remove(project)
        _remove_images(_is_abandoned)


def remove_own_images() -> None:
    """Remove the images that this run has made."""
    _remove_images(lambda tag: _run_of(tag) == RUN)


def _remove_images(chosen: Callable[[str], bool]) -> None:
    images = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    found = [image for image in images if chosen(image.rpartition(":")[2])]
    if found:
        docker("image", "rm", *found)


# --- projects -------------------------------------------------------------------------------------


def left_of(project: str) -> dict[str, list[str]]:
    """Return the engine's objects of a project: ids by kind."""
    of_project = f"label={PROJECT_LABEL}={project}"
    found = {
        "container": docker("ps", "-aq", "--filter", of_project).split(),
        "network": docker("network", "ls", "-q", "--filter", of_project).split(),
        "volume": docker("volume", "ls", "-q", "--filter", of_project).split(),
    }
    return {kind: ids for kind, ids in found.items() if ids}


def remove(project: str) -> None:
    """Remove all of the engine's objects of a project, by force."""
    for kind, ids in left_of(project).items():
        force = [] if kind == "network" else ["--force"]
        docker(kind, "rm", *force, *ids)


def _projects() -> set[str]:
    labels = (f"label={PROJECT_LABEL}", f'{{{{.Label "{PROJECT_LABEL}"}}}}')
    commands = (("ps", "-a"), ("network", "ls"), ("volume", "ls"))
    return {
        name
        for command in commands
        for name in docker(*command, "--filter", labels[0], "--format", labels[1]).split()
    }


def free_networks(count: int) -> list[IPv4Network]:
    """Return networks of 256 addresses that nothing here uses, for this run alone."""
    with _alone():
        ids = docker("network", "ls", "-q").split()
        subnets = "{{range .IPAM.Config}}{{.Subnet}} {{end}}"
        # One that another run has just removed has no subnet; the rest is still printed.
        known = call(["docker", "network", "inspect", "-f", subnets, *ids]).out.split()
        taken = [net for net in map(ip_network, known) if isinstance(net, IPv4Network)]
        free = (net for net in _NETWORKS if not any(map(net.overlaps, taken)))
        # Another run may be about to make one that the engine does not know yet.
        return [*islice((net for net in free if _keep(f"{_NAME}{net}")), count)]
