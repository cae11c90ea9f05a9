"""What a caller may ask of a reader."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options for every reader; one without a use for an option ignores it.

    ``languages``: the preferred languages of names, best first; empty for the source's default.
    ``keep``: names of fields without a standard name that are kept.
    """

    languages: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


DEFAULTS = ReadOptions()
