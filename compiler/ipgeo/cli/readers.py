"""Whether the servers can read what a command has published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipgeo.files.readers import State, readability


def readers(out: Path, warnings: Sequence[str], *, first: bool = False) -> dict[str, Any]:
    """Return whether the servers can read the published file, and all warnings.

    If that is unknown, only the ``first`` build warns: later builds keep the file's readers.
    """
    found = readability(out)
    unread = []
    if found.state == State.NO:
        unread = [f"{out}: published, but the servers cannot read it: {found.detail}"]
    elif found.state == State.UNKNOWN and first:
        unread = [f"{out}: published, but perhaps the servers cannot read it: {found.detail}"]
    return {"readable": found.as_dict(), "warnings": [*warnings, *unread]}
