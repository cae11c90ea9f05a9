"""The exceptions that callers may catch."""

from pathlib import Path


class IpgeoError(Exception):
    """The base of every exception that ipgeo raises for a foreseen reason."""


class InputError(IpgeoError):
    """An input that cannot be used: the message names the file and the position in it."""

    def __init__(self, path: Path | str, position: str, problem: str) -> None:
        """Report ``problem`` of ``path`` at ``position`` (an offset, a line; may be empty)."""
        super().__init__(": ".join(part for part in (str(path), position, problem) if part))


class BlobError(IpgeoError):
    """A blob that breaks its format; the message says where and how."""


class ProofError(IpgeoError):
    """A blob that does not answer what its source says."""


class SettingError(IpgeoError):
    """A setting that is not valid; the message names it and says what it must be."""
