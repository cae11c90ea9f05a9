"""Settings are checked before they reach a service: running services stay unchanged."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import ROOT, engine
from harness.client import get
from harness.containers import EDGE, QUICK_HEALTH, Project
from harness.process import Done
from harness.tempdirs import short_tempdir

BAD = {
    "check": (
        "IPGEO_WORKERS",
        "nginx/start: IPGEO_WORKERS must be auto or a number from 1 to 1024",
    ),
    "check-fallback": (
        "IPGEO_FALLBACK_WORKERS",
        "gunicorn.conf.py: IPGEO_FALLBACK_WORKERS must be a number from 1 to 999",
    ),
}
"""Checking services, each with a setting that only it checks, and its message."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_tempdir() as path:
        yield path


@pytest.fixture(scope="module")
def serving(images: None, folder: Path) -> Iterator[Project]:
    """An edge that serves; as the project's folder the checks see another one."""
    (folder / "project").mkdir()
    other = {"type": "bind", "source": str(folder / "project"), "target": "/project"}
    override = yaml.safe_dump({"services": {"check": {"volumes": [other]}}})
    with Project(folder, QUICK_HEALTH, override) as project:
        project.up(EDGE)
        project.wait_until_healthy(EDGE)
        yield project


def check(project: Project, service: str, **settings: object) -> Done:
    command = ["docker-compose", "run", "--rm", "-T", service]
    return engine.call(command, project.variables(**settings))


@pytest.fixture
def untouched(serving: Project) -> Iterator[Project]:
    """The project; in the end the same container must still answer, and be the only one."""
    before = serving.containers()
    yield serving
    assert serving.containers() == before
    assert set(engine.left_of(serving.name)["container"]) == {id_[:12] for id_ in before}
    assert get(serving.address, "/readyz").status == 200


@pytest.mark.parametrize("service", BAD)
def test_good_settings(untouched: Project, service: str) -> None:
    done = check(untouched, service)
    assert (done.status, printed(done)) == (0, [])


@pytest.mark.parametrize("service", BAD)
def test_a_bad_setting_is_named_and_replaces_nothing(untouched: Project, service: str) -> None:
    setting, message = BAD[service]
    done = check(untouched, service, **{setting: "banana"})
    assert done.status == 1
    assert message in done.err


@pytest.mark.parametrize("service", BAD)
def test_roll_replaces_nothing_by_a_bad_setting(untouched: Project, service: str) -> None:
    setting, message = BAD[service]
    command = [str(ROOT / "script" / "roll"), EDGE]
    done = engine.call(command, untouched.variables(**{setting: "banana"}))
    assert done.status == 1
    assert message in done.err
    assert done.err.endswith(f"roll: {service} fails: nothing is replaced\n")


def test_a_misspelt_setting_is_named(untouched: Project, folder: Path) -> None:
    """Compose passes on only known names, so the container never gets the others."""
    (folder / "project" / ".env").write_text(
        "# IPGEO_COMMENT=1\nIPGEO_WORKERS=2\nexport IPGEO_WORKER=2\n IPGEO_Bind = 1\nOTHER=3\n"
    )
    done = check(untouched, "check")
    assert done.status == 0
    assert printed(done) == [
        f"render: .env: there is no setting {name}: it has no effect"
        for name in ("IPGEO_WORKER", "IPGEO_Bind")
    ]


def printed(done: Done) -> list[str]:
    """A check's messages, without docker-compose's own lines."""
    return [
        line.removeprefix("nginx/")
        for line in (done.out + done.err).splitlines()
        if not line.startswith(("Creating ", " Container "))
    ]
