"""Concurrent runs of the container tests: each has its own names, networks and images."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness import ROOT, engine
from harness.engine import docker

ANOTHER = """
import sys
from harness import engine
print(engine.RUN, *engine.free_networks(2), flush=True)
sys.stdin.read()
engine.remove_own_images()
"""


@pytest.fixture(autouse=True)
def _engine() -> None:
    engine.require()


@contextmanager
def another_run() -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """Another process that runs tests; its name, and the two networks that it has chosen."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        yield process, process.stdout.readline().split()


def network(project: str, subnet: object) -> None:
    label = f"{engine.PROJECT_LABEL}={project}"
    docker("network", "create", "--internal", "--label", label, "--subnet", str(subnet), project)


def test_things_of_another_run_stay_until_its_process_ends() -> None:
    with another_run() as (process, (run, subnet, _)):
        project = f"{run}-1"
        network(project, subnet)
        try:
            engine.remove_abandoned()
            assert set(engine.left_of(project)) == {"network"}
            process.kill()
            process.wait()
            engine.remove_abandoned()
            assert engine.left_of(project) == {}
        finally:
            engine.remove(project)


def test_two_runs_never_choose_the_same_network() -> None:
    """Not even before the engine knows of any of them."""
    with another_run() as (_, (run, *others)):
        assert run != engine.RUN
        assert not set(map(str, engine.free_networks(20))) & set(others)


def make_image(tag: str) -> str:
    image = f"ipgeo-fallback:{tag}"
    nothing = bytes(10240)  # as an archive of tar
    subprocess.run(["docker", "import", "-", image], input=nothing, check=True, capture_output=True)
    return image


def is_there(image: str) -> bool:
    return bool(docker("image", "ls", "-q", image).split())


def test_a_run_removes_only_its_own_images() -> None:
    own = make_image(f"{engine.TAG}-other")
    try:
        with another_run() as (process, (run, *_)):
            images = [make_image(tag) for tag in (run, f"{run}-new")]
            process.communicate()
            assert process.returncode == 0
            assert not any(map(is_there, images))
            assert is_there(own)
    finally:
        docker("image", "rm", own)


def test_images_of_a_run_that_was_killed_are_removed() -> None:
    with another_run() as (process, (run, *_)):
        image = make_image(run)
        engine.remove_abandoned()
        assert is_there(image)
        process.kill()
        process.wait()
        engine.remove_abandoned()
        assert not is_there(image)
