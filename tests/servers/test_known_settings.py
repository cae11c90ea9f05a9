"""Misspelt settings: whoever sets one is told, instead of being served with the default."""

import json
import re
import subprocess
from pathlib import Path

from harness import ROOT
from harness.process import environment

NAME = re.compile(r"\bIPGEO_[A-Z_]*[A-Z]\b")
DOCUMENTED = ("docs/settings.md", ".env.example", "docker-compose.yml")
INNER = {"IPGEO_UPSTREAMS_DEFAULT", "IPGEO_SUPERVISOR_UID", "IPGEO_LOG_BYTES", "IPGEO_INSTANCE"}
"""What programs of the project hand to one another; no operator sets it."""


def known() -> list[str]:
    return [entry["name"] for entry in json.loads((ROOT / "contract/settings.json").read_text())]


def render(folder: Path, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "nginx" / "render"],
        env=environment({"IPGEO_VAR": folder, **settings}),
        capture_output=True,
        check=True,
        text=True,
    )


def test_the_known_settings_are_those_that_are_documented() -> None:
    names = known()
    documented = {name for file in DOCUMENTED for name in NAME.findall((ROOT / file).read_text())}
    assert set(names) == documented | INNER
    assert len(names) == len(set(names))


def test_an_unknown_setting_is_named(folder: Path) -> None:
    done = render(folder, IPGEO_WORKER=2, IPGEO_PORT_=8081, IPGEO_WORKERS=2)
    assert sorted(done.stderr.splitlines()) == [
        f"nginx/render: environment: there is no setting {name}: it has no effect"
        for name in ("IPGEO_PORT_", "IPGEO_WORKER")
    ]


def test_of_known_ones_nothing_is_said(folder: Path) -> None:
    assert render(folder, IPGEO_TAG="x", IPGEO_WORKERS=2, IPGEO_INSTANCE="x").stderr == ""


def test_names_from_elsewhere_are_checked_too() -> None:
    """As docker/check does with those in .env."""
    done = subprocess.run(
        [ROOT / "nginx" / "render", "--unknown-names", ".env"],
        input="IPGEO_PORT\nIPGEO_PROT\nOTHER\nIPGEO_INSTANCE\n",
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == "nginx/render: .env: there is no setting IPGEO_PROT: it has no effect\n"
