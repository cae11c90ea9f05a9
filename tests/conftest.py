"""Fixtures that every test may use."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harness import blobs, containers, engine, logs, measurements
from harness.stack import Stack
from harness.tempdirs import short_tempdir

# The time of an example depends on the machine's load, not on the tested code.
settings.register_profile("ipgeo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ipgeo")


ROOMS = {
    "unit": "it starts no process: one module of the compiler each",
    "lua": "it runs Lua's modules by luajit, or in an nginx for that alone",
    "contract": "what every server answers: edge, fallback, and the fallback through the edge",
    "servers": "it starts nginx and gunicorn",
    "ops": "what operators call: ipgeo-compile, the scripts, containers",
}
"""The folders of the tests, by what they start; each is a marker."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "provokes(*expressions): the error lines, as regular expressions, that the servers log"
        " because of this test; any other one fails it",
    )
    config.addinivalue_line("markers", "docker: a test that builds images and starts containers")
    config.addinivalue_line(
        "markers",
        "slow: a test that computes for seconds, which would be minutes while coverage measures",
    )
    for room, what in ROOMS.items():
        config.addinivalue_line("markers", f"{room}: {what}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by their room, and those of containers: for which images are built."""
    for item in items:
        item.add_marker(item.path.parent.name)
        if "images" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.docker)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    measured = measurements.lines()
    if measured:
        terminalreporter.section("measured in containers")
        for line in measured:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _last_lines() -> Iterator[None]:
    """Check the logs again when the servers that live as long as the run have ended."""
    yield
    _fail_for(logs.undeclared(()))


@pytest.fixture(autouse=True)
def _declared_lines(_last_lines: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which a server logged an error that the test does not declare."""
    yield
    markers = request.node.iter_markers("provokes")
    _fail_for(logs.undeclared(expression for marker in markers for expression in marker.args))


@pytest.fixture(autouse=True)
def _container_logs(_declared_lines: None) -> Iterator[None]:
    """Fetch the containers' logs before they are judged."""
    yield
    containers.fetch_logs()


def _fail_for(lines: list[str]) -> None:
    if lines:
        pytest.fail("error lines that no test declares:\n" + "\n".join(lines), pytrace=False)


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """Let programs take SIGINT, though a shell may have started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Pytest's own folder, but open to others, as the folder of a server's blob must be."""
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the run-time files of a server."""
    with short_tempdir() as path:
        yield path


@pytest.fixture(scope="session")
def fiction() -> Iterator[Stack]:
    """Both servers over the fictional blob with a gap, for tests that change nothing."""
    with _serving("fiction.blob", blobs.fictional(gap=True)) as stack:
        yield stack


@pytest.fixture(scope="session")
def dual() -> Iterator[Stack]:
    """Both servers over the blob of both families, for tests that change nothing."""
    with _serving("dual.blob", blobs.dual()) as stack:
        yield stack


@contextmanager
def _serving(name: str, data: bytes) -> Iterator[Stack]:
    with short_tempdir() as path:
        blob = path / name
        blob.write_bytes(data)
        with Stack(path, blob) as stack:
            yield stack


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data."""
    return blobs.real_data()


@pytest.fixture(scope="session")
def real_blob(real_data: Path) -> bytes:
    """The blob of the real data."""
    return blobs.real_blob(real_data)


@pytest.fixture(scope="session")
def real(real_blob: bytes) -> Iterator[Stack]:
    """Both servers over the real data."""
    with _serving("real.blob", real_blob) as stack:
        yield stack


@pytest.fixture(scope="session")
def images() -> Iterator[None]:
    """The three images of this checkout, tagged engine.TAG; removed at the end of the run."""
    engine.require()
    engine.remove_abandoned()
    try:
        engine.build_images()
        yield
    finally:
        engine.remove_own_images()
