"""Every command and option of ipgeo-compile is documented."""

import re

import click
import pytest

from harness import ROOT
from ipgeo.cli.main import main

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_a_command_and_its_options_are_documented(name: str) -> None:
    assert re.search(rf"^\| `{name}\b", TEXT, re.MULTILINE), f"no table has {name}"
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            names = "|".join(map(re.escape, parameter.opts))
            assert re.search(rf"(?<![\w-])({names})(?![\w-])", TEXT), f"{name}: {parameter.opts}"
