"""The paths that commands are given, as click's parameter types."""

import os
from pathlib import Path

import click

from ipgeo.sources.content import STDIN

STDOUT = Path("-")
"""What ``export -o -`` becomes; a file of that name is another object."""

_Given = str | os.PathLike[str]


class _FilePath(click.Path):
    """The path of a file or folder. ``-`` is refused for the reason ``dash``."""

    def __init__(self, dash: str) -> None:
        super().__init__(readable=False, path_type=Path)  # opening it gives the better message
        self._dash = dash

    def convert(
        self, value: _Given, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "-":
            self.fail(f"{self._dash}; ./- is a file of that name", param, ctx)
        return super().convert(value, param, ctx)


class _StreamPath(click.Path):
    """The path of a file, or ``-`` for a standard stream, which becomes ``stream``."""

    def __init__(self, stream: Path) -> None:
        super().__init__(readable=False, path_type=Path)
        self._stream = stream

    def convert(
        self, value: _Given, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        return self._stream if value == "-" else super().convert(value, param, ctx)


InputPath = _FilePath("this is not read from standard input")
BlobPath = _FilePath("a blob cannot go to standard output")
FolderPath = _FilePath("files cannot go to standard output")
ExportPath = _StreamPath(STDOUT)
SourcePath = _StreamPath(STDIN)
