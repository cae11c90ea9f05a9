"""Whether the servers can read what a command has published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipgeo.files.readers import State, readability


def readers(out: Path, warnings: Sequence[str], *, first: bool = False) -> dict[str, Any]:
    """Return whether the servers can read what is published, and all warnings.

    That it is not known is a warning at the ``first`` build: later ones keep the readers.
    """
    found = readability(out)
    unread = []
    if found.state == State.NO:
        unread = [f"{out}: published, but the servers cannot read it: {found.detail}"]
    elif found.state == State.UNKNOWN and first:
        unread = [f"{out}: published, but perhaps the servers cannot read it: {found.detail}"]
    return {"readable": found.as_dict(), "warnings": [*warnings, *unread]}
