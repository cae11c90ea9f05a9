"""The command ``sample``: a small source to try everything with."""

from pathlib import Path

import click

from ipgeo.cli.errors import reporting
from ipgeo.cli.paths import FolderPath
from ipgeo.cli.present import warn
from ipgeo.sources.sample import write_sample


@click.command()
@click.argument("folder", type=FolderPath)
def sample(folder: Path) -> None:
    """Write a small source and its code files into FOLDER: enough to try everything with."""
    paths = write_sample(folder, warn)
    with reporting(folder, "the sample is written"):
        for path in paths:
            click.echo(path)
