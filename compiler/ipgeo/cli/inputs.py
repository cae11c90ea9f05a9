"""The input files of commands: the code files, and that no output takes an input's place."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ipgeo.places.code_files import FILES, read_codes
from ipgeo.places.codes import Codes
from ipgeo.release.targets import same_file
from ipgeo.sources.content import STDIN
from ipgeo.sources.options import ReadOptions
from ipgeo.sources.registry import FORMATS

_OPENED = Path("/dev/stdin")
"""A path that leads to the file that standard input is."""

format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice([known.name for known in FORMATS]),
    help="Format of the source; without it, the source's content decides.",
)


def keep_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse an output that is also an input, whatever the paths."""
    same = same_file(outputs, [_OPENED if path is STDIN else path for path in inputs])
    if same:
        output, path = same
        raise click.UsageError(f"the output {output} is the input {path}: it would be replaced")


def code_files(folder: Path | None) -> list[Path]:
    """Return the code files of a folder, none without one."""
    return [folder / name for name in FILES] if folder else []


def codes_in(folder: Path | None) -> Codes:
    """Return the codes of a folder; without a folder, the built-in ones."""
    return read_codes(folder) if folder else Codes()


def options_of(meta: Mapping[str, Any]) -> ReadOptions:
    """Return the options with which the source of a blob that has this metadata was read."""
    lists = (meta.get(name) for name in ("languages", "keep"))
    languages, keep = (tuple(map(str, found)) if isinstance(found, list) else () for found in lists)
    return ReadOptions(languages, keep)
