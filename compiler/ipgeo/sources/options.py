"""What a caller may ask of a reader."""

from dataclasses import dataclass
from pathlib import Path

from ipgeo.errors import InputError


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options for every reader.

    ``languages``: the preferred languages of names, best first; empty for the source's default.
    ``keep``: names of fields without a standard name that are kept.
    """

    languages: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def refuse(self, path: Path | str, format_name: str) -> None:
        """Raise InputError if options are given that a format has no use for."""
        if self.languages:
            raise InputError(path, "", f"{format_name} has names in one language: no --language")
        if self.keep:
            raise InputError(path, "", f"{format_name} has standard fields alone: no --keep")


DEFAULTS = ReadOptions()
