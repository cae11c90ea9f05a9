"""Misspelt settings: a warning names them, as the default applies instead."""

import subprocess
from pathlib import Path

from harness import ROOT
from harness.process import environment


def render(folder: Path, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "nginx" / "render"],
        env=environment({"IPGEO_VAR": folder, **settings}),
        capture_output=True,
        check=True,
        text=True,
    )


def test_an_unknown_setting_is_named(folder: Path) -> None:
    done = render(folder, IPGEO_WORKER=2, IPGEO_PORT_=8081, IPGEO_WORKERS=2)
    assert sorted(done.stderr.splitlines()) == [
        f"nginx/render: environment: there is no setting {name}: it has no effect"
        for name in ("IPGEO_PORT_", "IPGEO_WORKER")
    ]


def test_known_settings_give_no_warning(folder: Path) -> None:
    assert render(folder, IPGEO_TAG="x", IPGEO_WORKERS=2, IPGEO_LOG_BYTES="x").stderr == ""


def test_names_from_elsewhere_are_checked_too() -> None:
    """As docker/check does with the names in .env."""
    done = subprocess.run(
        [ROOT / "nginx" / "render", "--unknown-names", ".env"],
        input="IPGEO_PORT\nIPGEO_PROT\nOTHER\nIPGEO_LOG_BYTES\n",
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == "nginx/render: .env: there is no setting IPGEO_PROT: it has no effect\n"
