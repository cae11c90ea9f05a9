"""Nodes that are killed, hang, are cut off, restarted and replaced, under load.

Each case twice: with the edge as a mere load balancer, and with an edge that has no data and hands
every query to the fallbacks. No answer may be missing or wrong.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from harness import ROOT, engine, wait
from harness.client import get
from harness.containers import EDGE, FALLBACKS, QUICK_HEALTH, Project
from harness.engine import docker
from harness.judged_load import NO_NODE_LEFT, NODE_FAILS, assert_faultless, differing, under_load
from harness.process import Done
from harness.soak.expected import ExpectedFromSource
from harness.soak.tally import Tally
from harness.tempdirs import short_tempdir

BLOB = "/var/lib/ipgeo/ipgeo.blob"
WITHOUT_DATA = """
services:
  edge:
    environment:
      IPGEO_BLOB: ${IPGEO_TEST_BLOB:-%s}
""".replace("%s", BLOB)
PROXY = {"IPGEO_MODE": "proxy", "IPGEO_TEST_BLOB": BLOB}
NO_DATA = {"IPGEO_MODE": "edge", "IPGEO_TEST_BLOB": "/nonexistent"}

NEW = f"{engine.TAG}-new"
BROKEN = f"{engine.TAG}-broken"
DOCKERFILES = {
    NEW: "LABEL ipgeo.test=new",
    # Its settings are good and it starts, but it answers nothing.
    BROKEN: """ENTRYPOINT ["sh", "-c", "[ \\"$0\\" = --check-config ] || sleep 1000"]
CMD []
STOPSIGNAL SIGKILL
HEALTHCHECK --interval=1s --retries=1 --start-period=1s CMD ["healthy", "8000"]""",
}

pytestmark = pytest.mark.provokes(*NODE_FAILS)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_tempdir() as path:
        yield path


@pytest.fixture(scope="module")
def expected(folder: Path) -> ExpectedFromSource:
    (folder / "in").mkdir()
    return differing(folder / "in", "one", 2_000)


@pytest.fixture(scope="module")
def project(images: None, folder: Path, expected: ExpectedFromSource) -> Iterator[Project]:
    """All services, over a source of which no two runs answer alike."""
    overrides = (QUICK_HEALTH, WITHOUT_DATA)
    with Project(folder, *overrides, IPGEO_FALLBACK_ACCESS_LOG="") as started:
        started.up()
        started.wait_until_healthy()
        started.build(folder / "in", "one.dat")
        yield started


@pytest.fixture(scope="module", params=[PROXY, NO_DATA], ids=["proxy", "without-data"])
def through(project: Project, request: pytest.FixtureRequest) -> Project:
    """The project, of which every query goes to the fallbacks, in one way or the other."""
    project.up(EDGE, **request.param)
    wait_until_asked(project)
    return project


@pytest.fixture
def nodes(through: Project) -> Iterator[Project]:
    """The same with all fallbacks, whatever the test before has done to them."""
    yield through
    restore(through)


def restore(project: Project) -> None:
    for service in FALLBACKS:
        state = project.inspect(service)["State"]
        if state["Paused"]:
            docker("unpause", project.container(service))
        if not state["Running"]:
            docker("start", project.container(service))
    project.wait_until_healthy(*FALLBACKS)
    wait_until_asked(project)


def wait_until_asked(project: Project) -> None:
    """Wait until every fallback has answered the edge."""
    project.fetch_logs()
    log = project.logs[EDGE].access_log
    start = log.stat().st_size
    answered = [re.compile(rf" 200 {node}$", re.MULTILINE) for node in map(project.node, FALLBACKS)]

    def asked() -> bool:
        for _ in FALLBACKS:
            reachable(project)
        project.fetch_logs()
        new = log.read_bytes()[start:].decode()
        return all(pattern.search(new) for pattern in answered)

    wait.until(asked, "the edge asks all fallbacks", seconds=30)


def reachable(project: Project) -> bool:
    try:
        return get(project.address, "/api/ip_query?ip=8.8.8.8").status == 200
    except (OSError, ValueError):
        return False


def case(project: Project, text: str) -> str:
    """The name of a measurement, with the kind of edge."""
    return f"{text}, {'proxy' if is_proxy(project) else 'edge without data'}"


def is_proxy(project: Project) -> bool:
    return project.variables()["IPGEO_MODE"] == "proxy"


def assert_all_by_fallbacks(tally: Tally) -> None:
    assert_faultless(tally)
    assert tally.by_fallback == tally.responses


def test_two_of_three_nodes_killed(nodes: Project, expected: ExpectedFromSource) -> None:
    with under_load(nodes.address, [expected], case(nodes, "two of three killed")) as running:
        running.run_for(1)
        for service in FALLBACKS[:2]:
            docker("kill", nodes.container(service))
            running.run_for(3)
    assert_all_by_fallbacks(running.tally)


def pause(container: str) -> None:
    """Pause it; the engine fails if a process does not stop within the engine's short timeout."""

    def is_paused() -> bool:
        return engine.call(["docker", "pause", container]).status == 0

    wait.until(is_paused, "it is paused")


def test_one_node_paused(nodes: Project, expected: ExpectedFromSource) -> None:
    """Paused for longer than a try may take, and then there again."""
    with under_load(nodes.address, [expected], case(nodes, "one paused")) as running:
        running.run_for(1)
        pause(nodes.container("fallback2"))
        running.run_for(8)
        docker("unpause", nodes.container("fallback2"))
        running.run_for(3)
    assert_all_by_fallbacks(running.tally)


def test_one_node_disconnected(nodes: Project, expected: ExpectedFromSource) -> None:
    network, container = f"{nodes.name}_inner", nodes.container("fallback3")
    address = nodes.node("fallback3").partition(":")[0]
    with under_load(nodes.address, [expected], case(nodes, "one disconnected")) as running:
        running.run_for(1)
        docker("network", "disconnect", network, container)
        running.run_for(5)
        docker("network", "connect", "--ip", address, network, container)
        running.run_for(3)
    assert_all_by_fallbacks(running.tally)


@pytest.mark.provokes(NO_NODE_LEFT)
def test_all_nodes_restarted(nodes: Project, expected: ExpectedFromSource) -> None:
    """One after the other, as soon as the engine says that the one before has started."""
    with under_load(nodes.address, [expected], case(nodes, "all three restarted")) as running:
        running.run_for(1)
        docker("restart", *map(nodes.container, FALLBACKS))
        running.run_for(3)
    if is_proxy(nodes):
        # It has data, and answers itself while all nodes count as failed.
        assert_faultless(running.tally)
    else:
        assert_all_by_fallbacks(running.tally)


def test_one_node_stopped(nodes: Project, expected: ExpectedFromSource) -> None:
    with under_load(nodes.address, [expected], case(nodes, "one stopped")) as running:
        running.run_for(1)
        docker("stop", nodes.container("fallback1"))
        running.run_for(1)
    assert_all_by_fallbacks(running.tally)
    assert nodes.inspect("fallback1")["State"]["ExitCode"] == 0


# Replacing them by a new image


@pytest.fixture
def image(project: Project, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The tag of an image that differs from the run's own; afterwards the old one is back."""
    tag = request.param
    (folder / tag).mkdir(exist_ok=True)
    base = f"FROM ipgeo-fallback:{engine.TAG}\n"
    (folder / tag / "Dockerfile").write_text(base + DOCKERFILES[tag] + "\n")
    docker("build", "--tag", f"ipgeo-fallback:{tag}", str(folder / tag))
    docker("tag", f"ipgeo-edge:{engine.TAG}", f"ipgeo-edge:{tag}")
    try:
        yield tag
    finally:
        # All at once, so that for a moment no node is left.
        project.up(*FALLBACKS)
        docker("image", "rm", f"ipgeo-fallback:{tag}", f"ipgeo-edge:{tag}")


def roll(project: Project, tag: str) -> Done:
    return engine.call([ROOT / "script" / "roll"], project.variables(IPGEO_TAG=tag))


def images(project: Project) -> list[str]:
    return [project.inspect(service)["Config"]["Image"] for service in FALLBACKS]


@pytest.mark.provokes(NO_NODE_LEFT)
@pytest.mark.parametrize("through", [PROXY], indirect=True, ids=["proxy"])
@pytest.mark.parametrize("image", [NEW], indirect=True, ids=["new"])
def test_all_nodes_replaced(nodes: Project, expected: ExpectedFromSource, image: str) -> None:
    with under_load(nodes.address, [expected], case(nodes, "all three replaced")) as running:
        running.run_for(1)
        done = roll(nodes, image)
        running.run_for(1)
    assert done.status == 0, done.err
    assert images(nodes) == [f"ipgeo-fallback:{image}"] * 3
    assert_all_by_fallbacks(running.tally)


@pytest.mark.provokes(NO_NODE_LEFT)
@pytest.mark.parametrize("through", [PROXY], indirect=True, ids=["proxy"])
@pytest.mark.parametrize("image", [BROKEN], indirect=True, ids=["broken"])
def test_a_bad_image_replaces_one_only(
    nodes: Project, expected: ExpectedFromSource, image: str
) -> None:
    before = [nodes.container(service) for service in FALLBACKS[1:]]
    with under_load(nodes.address, [expected], case(nodes, "one replaced badly")) as running:
        running.run_for(1)
        done = roll(nodes, image)
        running.run_for(1)
    assert done.status == 1
    assert "fallback1 does not become healthy" in done.err
    assert images(nodes)[0] == f"ipgeo-fallback:{image}"
    assert [nodes.container(service) for service in FALLBACKS[1:]] == before
    assert_all_by_fallbacks(running.tally)


# No node is left


@pytest.fixture(params=["edge", "proxy"])
def whole(project: Project, request: pytest.FixtureRequest) -> Iterator[Project]:
    """The project with its data at the edge too; afterwards the fallbacks are there again."""
    project.up(EDGE, **PROXY)
    restore(project)
    project.up(EDGE, IPGEO_MODE=request.param)
    wait.until(partial(reachable, project), "the edge answers", seconds=20)
    yield project
    project.up(EDGE, **PROXY)
    restore(project)


@pytest.mark.provokes(NO_NODE_LEFT)
def test_without_any_fallback_the_edge_answers(
    whole: Project, expected: ExpectedFromSource
) -> None:
    mode = whole.variables()["IPGEO_MODE"]
    with under_load(whole.address, [expected], f"all three killed, {mode}") as running:
        running.run_for(1)
        docker("kill", *map(whole.container, FALLBACKS))
        running.run_for(3)
    assert_faultless(running.tally)
    assert (running.tally.by_fallback > 0) == (mode == "proxy")
    assert running.tally.by_fallback < running.tally.responses
    assert get(whole.address, "/readyz").status == (503 if mode == "proxy" else 200)
