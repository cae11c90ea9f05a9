"""The command ``export``: a blob in a format that other programs read."""

import sys
from pathlib import Path

import click

from ipgeo.blob.reader import read_blob
from ipgeo.cli.inputs import keep_inputs
from ipgeo.cli.paths import STDOUT, ExportPath, InputPath
from ipgeo.cli.present import need_stdout, warn
from ipgeo.exports.formats import FORMATS
from ipgeo.files.atomic import write_atomically
from ipgeo.release.targets import output_target, refuse_blob


@click.command()
@click.argument("blob", type=InputPath)
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), required=True)
@click.option("-o", "--output", "out", type=ExportPath, required=True, help="File to write, or -.")
@click.option("--force", is_flag=True, help="Replace FILE even if it is a blob.")
def export(blob: Path, form: str, out: Path, force: bool) -> None:
    """Write BLOB as MMDB (MaxMind DB) or CSV; - is standard output.

    The records hold the members of the object answer. MMDB leaves out codes that are null, in CSV
    they are empty. The MMDB's build time is that of the file BLOB.
    """
    if out is STDOUT:
        need_stdout()
    else:
        target = output_target(out)
        keep_inputs([target], [blob])
        if not force:
            refuse_blob(target)
    data = FORMATS[form](read_blob(blob), int(blob.stat().st_mtime))
    if out is STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        warn(*write_atomically(out, data))
