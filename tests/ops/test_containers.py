"""The service in containers as an operator starts it: healthy, confined, refreshed, stopped."""

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from harness import engine, measurements, wait
from harness.client import get
from harness.compiler import SAMPLE, SAMPLE_CODES
from harness.containers import (
    ALL,
    EDGE,
    FALLBACKS,
    QUICK_HEALTH,
    RELOAD,
    Project,
    execute,
    fields_of,
    inspect,
)
from harness.engine import docker
from harness.judged_load import assert_faultless, under_load
from harness.process import Done
from harness.soak.expected import ExpectedFromSource
from harness.soak.tally import FAILED
from harness.sources import END, dat, write_codes
from harness.tempdirs import short_tempdir

SAMPLE_ANSWER = '["美国","US","美国","None","","None","Google Public DNS",""]'
DATA = "/var/lib/ipgeo"
OWNER = "10001"

CLOSED_TO_WRITERS = ("/", "/etc", "/home", "/opt", "/opt/ipgeo", "/usr/local", "/var", "/var/tmp")  # noqa: S108 - nothing is written
MAX_MEMORY_SHARE = 0.6
MEGABYTES = {"edge": 100, "fallback": 120}
"""The most that an image may have beyond the base image."""

WORKERS = 2
GIBIBYTE = 1 << 20  # in KiB
HUPS = 6
LARGE_RUNS = 200_000
KILLED = 137
KILLED_AT = (0.2, 0.4, 0.6, 0.7, 0.8)
"""In the course of a build."""

SMALL_VOLUME = """
volumes:
  data:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=400k,uid=10001,gid=10001"}
"""
"""The sample fits in, once."""

FORGED = "6.6.6.6"
REFUSED = re.compile(
    r"failed: (connecting: |\w+: the connection closed (again, )?before the first byte)"
)


@pytest.fixture(scope="module")
def fresh(images: None) -> Iterator[Project]:
    """All services with their defaults, just started with an empty volume."""
    with short_tempdir() as path, Project(path) as project:
        project.up()
        project.wait_until_healthy()
        yield project


@pytest.fixture(scope="module")
def sample() -> ExpectedFromSource:
    return ExpectedFromSource("sample", SAMPLE, SAMPLE_CODES)


@pytest.fixture(scope="module")
def real(real_data: Path) -> ExpectedFromSource:
    return ExpectedFromSource("real", real_data / "17monipdb.dat", real_data)


@pytest.fixture
def serving(fresh: Project, sample: ExpectedFromSource) -> Project:
    """All services as after a fresh start, whatever earlier tests have done."""
    fresh.up(EDGE, IPGEO_MODE="edge", IPGEO_TRUSTED_PROXIES="")
    fresh.build(SAMPLE_CODES, SAMPLE.name, "--force")
    wait_until_served(fresh, sample)
    return fresh


def wait_until_served(project: Project, expected: ExpectedFromSource) -> None:
    addresses = (project.address, *(node(project, service) for service in FALLBACKS))
    for address in addresses:
        wait.until(
            partial(serves_only, address, expected), f"{expected.name} is served", seconds=20
        )


def serves_only(address: tuple[str, int], expected: ExpectedFromSource) -> bool:
    """Whether all workers serve it: none of many new connections meets another one."""
    return {serves(address) for _ in range(10 * WORKERS)} == {expected.build_id}


def serves(address: tuple[str, int]) -> str | None:
    """The build id that /readyz names."""
    try:
        reply = get(address, "/readyz")
    except (OSError, ValueError):
        return None
    return str(json.loads(reply.body)["build_id"]) if reply.status == 200 else None


def node(project: Project, service: str) -> tuple[str, int]:
    """Where this host reaches a fallback."""
    host, _, port = project.node(service).partition(":")
    return host, int(port)


def test_a_fresh_start_serves_the_sample(fresh: Project) -> None:
    reply = get(fresh.address, "/api/ip_query?ip=8.8.8.8")
    assert (reply.status, reply.body.decode()) == (200, SAMPLE_ANSWER)
    assert "x-ipgeo-served-by" not in reply.headers


def test_only_the_edge_is_reached_from_outside(fresh: Project) -> None:
    ports = {service: fresh.inspect(service)["NetworkSettings"]["Ports"] for service in ALL}
    published = {name: {k: v for k, v in at.items() if v} for name, at in ports.items()}
    assert published.pop(EDGE) == {
        "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(fresh.port)}]
    }
    assert not any(published.values())


def test_the_compiler_is_not_started(fresh: Project) -> None:
    assert not fresh.containers("compiler")
    assert len(fresh.containers()) == len(ALL)


# What a container may do


@pytest.fixture(scope="module")
def compiler(fresh: Project) -> Iterator[str]:
    """A container of the compiler that waits."""
    python = ("--entrypoint", "/opt/ipgeo/bin/python3", "compiler")
    done = fresh.compose("run", "-d", *python, "-c", "import signal; signal.pause()")
    yield done.out.strip()
    docker("kill", done.out.strip())


@pytest.fixture(params=[EDGE, "fallback2", "compiler"])
def container(request: pytest.FixtureRequest, fresh: Project, compiler: str) -> str:
    """One of each image."""
    return compiler if request.param == "compiler" else fresh.container(request.param)


def test_container_runs_unprivileged(container: str) -> None:
    status = fields_of(container, "/proc/1/status")
    assert set(status["Uid"].split()) == {OWNER}
    assert set(status["Gid"].split()) == {OWNER}
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"


def test_container_is_confined_by_the_engine(container: str) -> None:
    host = inspect(container)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert not host["Privileged"]
    assert not host["CapAdd"]
    assert not host["Devices"]
    assert not host["Binds"]
    assert not host["PidMode"]
    assert host["IpcMode"] == "private"
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "10m", "max-file": "4"},
    }


def test_container_writes_only_where_it_must(container: str) -> None:
    mounts = {mount["Destination"]: mount["RW"] for mount in inspect(container)["Mounts"]}
    closed = [*CLOSED_TO_WRITERS, *(mount for mount, writable in mounts.items() if not writable)]
    assert set(mounts) <= {DATA, "/run/ipgeo"}
    for mount in closed:
        done = execute(container, "touch", f"{mount}/new")
        assert (done.status, done.err.count("Read-only file system")) == (1, 1), mount
    for mount in set(mounts) - set(closed):
        assert execute(container, "touch", f"{mount}/new").status == 0, mount
        assert execute(container, "rm", f"{mount}/new").status == 0, mount


def test_only_the_compiler_writes_the_data(fresh: Project, compiler: str) -> None:
    writes = {
        name: {m["Destination"]: m["RW"] for m in inspect(id_)["Mounts"]}[DATA]
        for name, id_ in [(s, fresh.container(s)) for s in ALL] + [("compiler", compiler)]
    }
    assert writes == dict.fromkeys(ALL, False) | {"compiler": True}


def test_the_networks(fresh: Project, compiler: str) -> None:
    """The fallbacks are in a network without a way out; the compiler is in none."""
    inner, outer = f"{fresh.name}_inner", f"{fresh.name}_outer"
    networks = {
        service: set(fresh.inspect(service)["NetworkSettings"]["Networks"]) for service in ALL
    }
    assert networks == {EDGE: {inner, outer}} | {name: {inner} for name in FALLBACKS}
    assert docker("network", "inspect", "-f", "{{.Internal}}", inner).strip() == "true"
    assert set(inspect(compiler)["NetworkSettings"]["Networks"]) == {"none"}


@pytest.mark.parametrize("image", MEGABYTES)
def test_the_size_of_an_image(images: None, image: str) -> None:
    sizes = [
        int(docker("image", "inspect", "-f", "{{.Size}}", name))
        for name in (f"ipgeo-{image}:{engine.TAG}", "debian:bookworm-slim")
    ]
    beyond = (sizes[0] - sizes[1]) / 1e6
    measurements.add_line(f"image {image}: {beyond:.1f} MB on top of the base image")
    assert beyond <= MEGABYTES[image]


# New data, under load


@pytest.mark.parametrize("mode", ["edge", "proxy"])
def test_a_refresh(
    serving: Project,
    sample: ExpectedFromSource,
    real: ExpectedFromSource,
    real_data: Path,
    mode: str,
) -> None:
    serving.up(EDGE, IPGEO_MODE=mode)
    wait_until_served(serving, sample)
    with under_load(serving.address, [sample, real], f"refresh, {mode}") as running:
        running.run_for(1)
        running.timeline.publish(1)
        done = serving.build(real_data, "17monipdb.dat")
        wait.until(lambda: serves(serving.address) == real.build_id, "the new data", seconds=2)
        if mode == "proxy":
            # Each worker looks at its next request, at most once a second.
            running.run_for(2)
        running.timeline.confirm(1)
        running.run_for(2)
    assert real.build_id in done.out
    assert_faultless(running.tally)
    assert running.tally.retried == 0
    assert running.tally.by_fallback == (running.tally.responses if mode == "proxy" else 0)
    assert all(serves_only(node(serving, service), real) for service in FALLBACKS)
    serving.wait_until_healthy()
    assert RELOAD not in serving.logs[EDGE].error_log.text()


def test_memory_is_ample(fresh: Project, real_data: Path) -> None:
    """Of the servers after that load; of the compiler with the real data."""
    shares = {service: memory_share(fresh.container(service)) for service in ALL}
    shares["compiler"] = compiler_share(fresh, real_data)
    for name, share in shares.items():
        measurements.add_line(f"memory {name}: {share:.1%} of its limit")
        assert 0 < share < MAX_MEMORY_SHARE


def memory_share(container: str) -> float:
    text = docker("stats", "--no-stream", "--format", "{{.MemPerc}}", container)
    return float(text.strip().removesuffix("%")) / 100


def compiler_share(project: Project, inputs: Path) -> float:
    program = (
        "import atexit, resource; from ipgeo.cli.main import main;"
        " atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss));"
        " main()"
    )
    python = ("--entrypoint", "/opt/ipgeo/bin/python3", "compiler", "-c", program)
    source = ("build", "/in/17monipdb.dat", "--codes", "/in")
    done = project.compose("run", "--rm", "-T", "-v", f"{inputs}:/in:ro", *python, *source)
    assert done.status == 0, done.err
    return int(done.out.splitlines()[-1]) / GIBIBYTE


# The client's address


@pytest.mark.parametrize("trusted", [False, True], ids=["untrusted", "trusted"])
def test_forwarded_for(fresh: Project, trusted: bool) -> None:
    """A host that is not a trusted proxy claims another address."""
    networks = fresh.inspect(EDGE)["NetworkSettings"]["Networks"]
    gateway = networks[f"{fresh.name}_outer"]["Gateway"]
    fresh.up(EDGE, IPGEO_MODE="proxy", IPGEO_TRUSTED_PROXIES=gateway if trusted else "")
    fresh.wait_until_healthy(EDGE)
    marks = {service: mark(fresh, service) for service in ALL}
    header = f"X-Forwarded-For: {FORGED}"
    assert get(fresh.address, "/api/ip_query?ip=8.8.8.8", header).status == 200
    clients = wait.until(lambda: logged_clients(fresh, marks), "the request is logged")
    assert clients == [FORGED if trusted else gateway] * 2


def mark(project: Project, service: str) -> int:
    """The end of a service's log so far."""
    project.fetch_logs()
    return project.logs[service].access_log.stat().st_size


def logged_clients(project: Project, marks: dict[str, int]) -> list[str] | None:
    """The clients that the edge and a fallback have logged since; None unless both have."""
    project.fetch_logs()
    logs = [project.logs[service].access_log.read_bytes()[at:] for service, at in marks.items()]
    lines = [line for log in logs for line in log.decode().splitlines() if "/api/ip_query" in line]
    return [line.split(" ")[0] for line in lines] if len(lines) == 2 else None


# Signals


def test_hup(serving: Project, sample: ExpectedFromSource) -> None:
    log = serving.logs[EDGE].error_log
    before = log.text().count(RELOAD)

    def reloaded(times: int) -> bool:
        serving.fetch_logs()
        return log.text().count(RELOAD) == before + times

    with under_load(serving.address, [sample], f"HUP {HUPS} times, edge") as running:
        for times in range(1, HUPS + 1):
            docker("kill", "--signal", "HUP", serving.container(EDGE))
            wait.until(partial(reloaded, times), "the configuration is read again")
            running.run_for(0.5)
    assert_faultless(running.tally)


def test_stop_of_the_edge(serving: Project, sample: ExpectedFromSource) -> None:
    """Requests in progress are answered; later ones are refused, as they must be."""
    container = serving.container(EDGE)
    with under_load(serving.address, [sample], "edge stopped, refused from then on") as running:
        running.run_for(1)
        docker("stop", container)
    assert inspect(container)["State"]["ExitCode"] == 0
    assert set(running.tally.faults) <= {FAILED}
    assert [text for text in running.tally.examples if not REFUSED.match(text)] == []
    docker("start", container)
    serving.wait_until_healthy(EDGE)


# A builder that fails


@pytest.fixture(scope="module")
def large(fresh: Project) -> Iterator[Path]:
    """A folder with large.dat, which takes some time to compile."""
    with short_tempdir() as path:
        starts = range(0, END, END // LARGE_RUNS)
        contents = [(start, ("large", f"{n % 3_000}", "", "")) for n, start in enumerate(starts)]
        (path / "large.dat").write_bytes(dat(contents))
        write_codes(path)
        yield path


def started_build(project: Project, inputs: Path) -> str:
    volume = f"{inputs}:/in:ro"
    flags = ("--codes", "/in", "--force")
    done = project.compose("run", "-d", "-v", volume, "compiler", "build", "/in/large.dat", *flags)
    return done.out.strip()


def lifetime(container: str) -> tuple[float, float]:
    """When a container was started, and when it ended."""
    state = inspect(container)["State"]
    times = (state["StartedAt"], state["FinishedAt"])
    start, end = (datetime.fromisoformat(text).timestamp() for text in times)
    return start, end


def test_a_build_that_is_killed(serving: Project, sample: ExpectedFromSource, large: Path) -> None:
    """At several moments: the blob stays the old one, whole, and it is served all the time.

    A build that has ended before the kill, or is killed after the rename, does not count.
    """
    start, end = lifetime(ended(started_build(serving, large)))
    serving.build(SAMPLE_CODES, SAMPLE.name, "--force")
    wait_until_served(serving, sample)
    all_expected = [sample, ExpectedFromSource("large", large / "large.dat", large)]
    killed = 0
    with under_load(serving.address, all_expected, "compiler killed") as running:
        for share in KILLED_AT:
            running.timeline.publish(1)
            was_killed = ended_by_kill(started_build(serving, large), share * (end - start))
            left = sound_blob(serving)
            assert left in {expected.build_id for expected in all_expected}
            if was_killed and left == sample.build_id:
                killed += 1
            else:
                serving.build(SAMPLE_CODES, SAMPLE.name, "--force")
                wait_until_served(serving, sample)
            running.timeline.confirm(running.timeline.publish(0))
            running.run_for(1)
    assert_faultless(running.tally)
    assert killed >= len(KILLED_AT) // 2


def sound_blob(project: Project) -> str:
    """Return the build id of the blob in the volume, which must be whole."""
    done = project.run("verify", f"{DATA}/ipgeo.blob")
    found = re.search(r": sound, build id ([0-9a-f]+)", done.out)
    assert found, done.err
    return found[1]


def ended_by_kill(container: str, seconds: float) -> bool:
    """Kill it so long after its start; False if it has ended before by itself."""
    moment = lifetime(container)[0] + seconds
    wait.until(lambda: time.time() >= moment, "the moment to kill")
    engine.call(["docker", "kill", container])
    return bool(inspect(ended(container))["State"]["ExitCode"] == KILLED)


def ended(container: str) -> str:
    docker("wait", container)
    return container


def test_a_volume_that_is_read_only(
    serving: Project, sample: ExpectedFromSource, large: Path
) -> None:
    volumes = ("--volume", f"{serving.name}_data:{DATA}:ro", "--volume", f"{large}:/in:ro")
    image = f"ipgeo-compiler:{engine.TAG}"
    done = engine.call(["docker", "run", "--rm", *volumes, image, "build", "/in/large.dat"])
    assert done.status == 1
    assert complaint(done).endswith("Read-only file system")
    assert serves(serving.address) == sample.build_id


def test_a_volume_that_is_full(images: None, sample: ExpectedFromSource, large: Path) -> None:
    with short_tempdir() as path, Project(path, QUICK_HEALTH, SMALL_VOLUME) as project:
        project.up(EDGE)
        project.build(SAMPLE_CODES, SAMPLE.name)
        project.wait_until_healthy(EDGE)
        with under_load(project.address, [sample], "volume full") as running:
            done = project.run("build", "/in/large.dat", inputs=large)
            running.run_for(1)
        assert done.status == 1
        assert complaint(done).endswith("No space left on device")
        assert_faultless(running.tally)
        assert serves(project.address) == sample.build_id


def complaint(done: Done) -> str:
    """The only line of the compiler; docker-compose has its own beside it."""
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    return line
