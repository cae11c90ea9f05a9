"""The edge in containers without some of the others: alone, without data, with names to follow."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from harness import wait
from harness.client import Reply, get
from harness.compiler import SAMPLE, SAMPLE_CODES
from harness.containers import EDGE, QUICK_HEALTH, RELOAD, Project
from harness.engine import docker
from harness.judged_load import NO_NODE_LEFT, NODE_FAILS, assert_faultless, under_load
from harness.soak.expected import ExpectedFromSource
from harness.tempdirs import short_tempdir

PATH = "/api/ip_query?ip=8.8.8.8"

WITHOUT_BLOB = """
services:
  edge: {environment: {IPGEO_BLOB: /nonexistent}}
"""
ALIAS = """
services:
  fallback2: {networks: {inner: {aliases: [late]}}}
"""


@pytest.fixture(scope="module")
def sample() -> ExpectedFromSource:
    return ExpectedFromSource("sample", SAMPLE, SAMPLE_CODES)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_tempdir() as path:
        yield path


def answer(project: Project, target: str = PATH) -> Reply | None:
    try:
        return get(project.address, target)
    except (OSError, ValueError):
        return None


def first_answer(project: Project) -> Reply:
    return wait.until(partial(answer, project), "the edge answers", seconds=20)


def test_the_edge_alone(images: None, folder: Path) -> None:
    """Started before there is any fallback."""
    with Project(folder, QUICK_HEALTH) as project:
        project.up(EDGE)
        assert first_answer(project).status == 200
        assert get(project.address, "/readyz").status == 200
        project.wait_until_healthy(EDGE)
        assert len(project.containers()) == 1


@pytest.mark.provokes(*NODE_FAILS, NO_NODE_LEFT)
def test_the_edge_alone_as_a_proxy(images: None, folder: Path) -> None:
    with Project(folder, QUICK_HEALTH, IPGEO_MODE="proxy") as project:
        project.up(EDGE)
        reply = first_answer(project)
        assert reply.status == 200
        assert "x-ipgeo-served-by" not in reply.headers
        assert get(project.address, "/readyz").status == 503


@pytest.mark.provokes(*NODE_FAILS, NO_NODE_LEFT)
@pytest.mark.parametrize("mode", ["edge", "proxy"])
def test_neither_blob_nor_fallback(images: None, folder: Path, mode: str) -> None:
    with Project(folder, QUICK_HEALTH, WITHOUT_BLOB, IPGEO_MODE=mode) as project:
        project.up(EDGE)
        reply = first_answer(project)
        assert reply.status == 503
        assert json.loads(reply.body)["error"]["code"] == "unavailable"
        assert reply.headers["content-type"] == "application/json"
        assert get(project.address, "/readyz").status == 503


# Names


@pytest.mark.provokes(*NODE_FAILS)
def test_names_of_nodes_are_followed(
    images: None, folder: Path, sample: ExpectedFromSource
) -> None:
    """A name that no container has, then one has, then none again."""
    settings = {
        "IPGEO_MODE": "proxy",
        "IPGEO_UPSTREAMS": "fallback1:8000,late:8000",
        "IPGEO_RESOLVE_INTERVAL": 1,
        "IPGEO_FALLBACK_ACCESS_LOG": "",
    }
    with Project(folder, QUICK_HEALTH, ALIAS, **settings) as project:
        project.up("fallback1")
        project.wait_until_healthy("fallback1")
        project.up(EDGE)
        project.wait_until_healthy(EDGE)
        assert "'late:8000' does not resolve and is left out" in logged(project)
        with under_load(project.address, [sample], "a name comes and goes") as running:
            running.run_for(4)
            assert logged(project).count(RELOAD) == 0

            project.up("fallback2")
            new = f"nginx reloads: +{project.node('fallback2')}\n"
            wait.until(lambda: new in logged(project), "the name is followed", seconds=20)
            project.wait_until_healthy("fallback2")
            wait.until(lambda: answers_of(project, "fallback2") > 100, "it is asked", seconds=20)
            before = [answers_of(project, service) for service in ("fallback1", "fallback2")]
            running.run_for(3)
            after = [answers_of(project, service) for service in ("fallback1", "fallback2")]
            assert logged(project).count(RELOAD) == 1

            docker("kill", project.container("fallback2"))
            running.run_for(4)
            assert "'late:8000' does not resolve and keeps its last addresses" in logged(project)
            assert logged(project).count(RELOAD) == 1
        assert_faultless(running.tally)
        assert running.tally.by_fallback == running.tally.responses
        # Each has half of them, except those in progress during the count.
        old, new_one = (late - early for early, late in zip(before, after, strict=True))
        assert old == pytest.approx(new_one, rel=0.3)


def logged(project: Project) -> str:
    project.fetch_logs()
    return project.logs[EDGE].error_log.text()


def answers_of(project: Project, service: str) -> int:
    """How many answers of a fallback the edge has logged."""
    project.fetch_logs()
    line = re.compile(rf" 200 {project.node(service)}$", re.MULTILINE)
    return len(line.findall(project.logs[EDGE].access_log.read_text()))
