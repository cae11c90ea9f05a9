"""Commands about earlier builds: ``diff`` and ``rollback``."""

from pathlib import Path

import click

from ipgeo.blob.reader import read_blob
from ipgeo.cli.errors import reporting
from ipgeo.cli.paths import BlobPath, InputPath
from ipgeo.cli.present import need_stdout, print_json, warn
from ipgeo.cli.readers import readers
from ipgeo.release.diff import diff
from ipgeo.release.diff_report import as_dict, as_lines
from ipgeo.release.publish import rollback


@click.command("diff")
@click.argument("old", type=InputPath)
@click.argument("new", type=InputPath)
@click.option("--json", "as_json", is_flag=True, help="Print the difference as JSON.")
def diff_command(old: Path, new: Path, as_json: bool) -> None:
    """Print which addresses have another answer in the blob NEW than in OLD."""
    need_stdout()
    before, after = read_blob(old), read_blob(new)
    found = diff(before, after)
    if as_json:
        print_json({"old": before.build_id, "new": after.build_id} | as_dict(found))
        return
    for name, blob in (("old", before), ("new", after)):
        click.echo(f"{name}  build id {blob.build_id}, {blob.runs} runs")
    click.echo("\n".join(as_lines(found)))


@click.command("rollback")
@click.argument("blob", type=BlobPath)
def rollback_command(blob: Path) -> None:
    """Publish BLOB.previous as BLOB, and keep the old BLOB as BLOB.previous.

    The old build's id is recorded: from now on build refuses it unless --force is given.
    """
    done = rollback(blob)
    with reporting(blob, "rolled back"):
        warn(*readers(blob, done.warnings)["warnings"])
        if done.before:
            click.echo(f"{blob}: rolled back from build id {done.before} to {done.build_id}")
            click.echo(f"build refuses {done.before} from now on, unless --force is given")
        else:
            click.echo(f"{blob}: rolled back to build id {done.build_id}")
            click.echo(f"{done.problem}: it is neither kept nor recorded")
