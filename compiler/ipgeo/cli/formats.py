"""The command ``formats``: which sources can be read, and what they carry."""

from dataclasses import asdict

import click

from ipgeo.cli.present import aligned, need_stdout, print_json
from ipgeo.sources.registry import FORMATS, Format

_HEADER = ("format", "title", "families", "languages", "fields")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def formats(as_json: bool) -> None:
    """List the formats of sources, with the families, languages and fields that they can carry."""
    need_stdout()
    if as_json:
        print_json([{"name": f.name, "title": f.title, **asdict(f.carries)} for f in FORMATS])
    else:
        click.echo("\n".join(aligned([_HEADER, *map(_row, FORMATS)])))


def _row(known: Format) -> tuple[str, ...]:
    carries = known.carries
    languages = carries.languages or ("the file's",)
    lists = (carries.families, languages, carries.fields)
    return (known.name, known.title, *map(", ".join, lists))
