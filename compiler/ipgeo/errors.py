"""The exceptions a caller has to know."""

from pathlib import Path


class InputError(Exception):
    """An input that cannot be used: the message names the file and the place in it."""

    def __init__(self, path: Path | str, place: str, problem: str) -> None:
        """Say that ``path`` has ``problem`` at ``place`` (an offset, a line; may be empty)."""
        super().__init__(": ".join(part for part in (str(path), place, problem) if part))


class BlobError(Exception):
    """A blob that breaks its format; the message says where and how."""


class ProofError(Exception):
    """A blob that does not answer what its source says."""


class SettingError(Exception):
    """A setting that is not valid; the message names it and says what it must be."""
