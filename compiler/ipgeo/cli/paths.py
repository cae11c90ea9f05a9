"""The paths that commands are given, as click's parameter types."""

import os
from pathlib import Path

import click

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


class _OutputPath(click.Path):
    """The path of a file, or standard output."""

    def convert(
        self, value: _Given, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        return STDOUT if value == "-" else super().convert(value, param, ctx)


InputPath = _FilePath("this is not read from standard input")
BlobPath = _FilePath("a blob cannot go to standard output")
FolderPath = _FilePath("files cannot go to standard output")
ExportPath = _OutputPath(readable=False, path_type=Path)
