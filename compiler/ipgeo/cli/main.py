"""The console script ``ipgeo-compile``: thin commands over the library."""

import click

from ipgeo import __version__
from ipgeo.cli.build import build
from ipgeo.cli.errors import Commands
from ipgeo.cli.export import export
from ipgeo.cli.formats import formats
from ipgeo.cli.history import diff_command, rollback_command
from ipgeo.cli.query import inspect, lookup, verify
from ipgeo.cli.sample import sample


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ipgeo-compile")
def main() -> None:
    """Compile IP-geolocation sources into the blob that nginx and the fallback serve."""


for _command in (
    build,
    diff_command,
    rollback_command,
    verify,
    lookup,
    inspect,
    export,
    formats,
    sample,
):
    main.add_command(_command)
