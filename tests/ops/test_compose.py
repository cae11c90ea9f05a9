"""docker-compose.yml and what belongs to it: valid, described, with the pins that are tested."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness import ROOT, engine
from harness.process import Done, environment

COMPOSE = ROOT / "docker-compose.yml"
CHECK_SCHEMA = Path(sys.executable).parent / "check-jsonschema"

VARIABLE = re.compile(r"\$\{([A-Z_]+):?-([^}]*)\}")
EXAMPLE = re.compile(r"^#([A-Z_]+)=(.*)$", re.MULTILINE)
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def config(folder: Path, **settings: object) -> Done:
    """What docker-compose makes of the file; an .env beside it does not count."""
    nothing = folder / "env"
    nothing.touch()
    command = ["docker-compose", "--file", str(COMPOSE), "--env-file", str(nothing), "config"]
    return engine.call(command, environment(settings))


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / f"requirements-{name}.lock").read_text()))


def check_schema(path: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(CHECK_SCHEMA), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def compose() -> None:
    if shutil.which("docker-compose") is None:
        engine.require()


def test_docker_compose_accepts_the_file_silently(compose: None, tmp_path: Path) -> None:
    done = config(tmp_path)
    assert (done.status, done.err) == (0, "")
    services = yaml.safe_load(done.out)["services"]
    servers = {"edge", "fallback1", "fallback2", "fallback3"}
    assert set(services) == servers | {"compiler", "check", "check-fallback"}


def test_a_check_gets_what_its_service_gets(compose: None, tmp_path: Path) -> None:
    services = yaml.safe_load(config(tmp_path).out)["services"]
    for check, service in (("check", "edge"), ("check-fallback", "fallback1")):
        for key in ("image", "environment", "logging", "pids_limit"):
            assert services[check][key] == services[service][key], key
        limits = [services[name]["deploy"]["resources"]["limits"] for name in (check, service)]
        assert limits[0] == limits[1]
        assert services[check]["network_mode"] == "none"
        assert services[check]["deploy"]["replicas"] == 0


def test_the_file_follows_the_published_schema() -> None:
    done = check_schema(COMPOSE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_refuses_an_unknown_key(tmp_path: Path) -> None:
    bogus = tmp_path / "docker-compose.yml"
    bogus.write_text(COMPOSE.read_text().replace("  edge:\n", "  edge:\n    bogus: 1\n", 1))
    done = check_schema(bogus)
    assert done.returncode == 1
    assert "bogus" in done.stdout


def test_each_setting_is_in_the_example_with_its_default() -> None:
    used: dict[str, set[str]] = {}
    for name, default in VARIABLE.findall(COMPOSE.read_text()):
        used.setdefault(name, set()).add(default)
    shown = {name: {default} for name, default in EXAMPLE.findall(example())}
    # Its default is put together from another setting; see below.
    assert used.pop("IPGEO_UPSTREAMS") == {""}
    del shown["IPGEO_UPSTREAMS"]
    assert shown == used


def test_the_example_names_the_fallbacks(compose: None, tmp_path: Path) -> None:
    edge = yaml.safe_load(config(tmp_path).out)["services"]["edge"]["environment"]
    assert f"#IPGEO_UPSTREAMS={edge['IPGEO_UPSTREAMS_DEFAULT']}\n" in example()


def example() -> str:
    return (ROOT / ".env.example").read_text()


@pytest.mark.parametrize("image", ["compiler", "fallback"])
def test_an_image_has_what_is_tested(image: str) -> None:
    pinned = pins(image)
    assert pinned
    assert pinned.items() <= pins("dev").items()
