"""Every command of ipgeo-compile is in a table of the documents, with all its options."""

import re

import click
import pytest

from harness import ROOT
from harness.compiler import compiler
from ipgeo.cli.main import main

DOCS = ROOT / "docs"
TEXT = (DOCS / "command-line.md").read_text()


def row_of(command: str) -> str:
    """Return the command's row of the table, with the sections that it links to."""
    row = re.search(rf"^\| `{command}\b.*", TEXT, re.MULTILINE)
    assert row, f"no table has {command}"
    links = re.findall(r"\((\S+\.md)#(\S+)\)", row[0])
    return "\n".join([row[0], *(section(page, anchor) for page, anchor in links)])


def section(page: str, anchor: str) -> str:
    """Return the text from a heading of one word to the next heading."""
    pattern = rf"(?ims)^#+ {anchor}\n(.*?)^#"
    found = re.search(pattern, (DOCS / page).read_text())
    assert found, f"{page} has no section {anchor}"
    return found[1]


def test_the_formats_are_documented() -> None:
    assert f"ipgeo-compile formats\n{compiler('formats').out}```\n" in TEXT


@pytest.mark.parametrize("name", sorted(main.commands))
def test_a_command_and_its_options_are_documented(name: str) -> None:
    text = row_of(name)
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            names = "|".join(map(re.escape, parameter.opts))
            assert re.search(rf"(?<![\w-])({names})(?![\w-])", text), f"{name}: {parameter.opts}"
