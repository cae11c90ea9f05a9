"""Whether the servers can read what a command has published, and have room for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipgeo.errors import SettingError
from ipgeo.files.readers import State, readability
from ipgeo.release.shared_memory import size_for, slot_size
from ipgeo.settings.environment import Environment

_SIZE = "IPGEO_DICT_SIZE"


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
    return {"readable": found.as_dict(), "warnings": [*warnings, *unread, *_no_room(out)]}


def _no_room(out: Path) -> list[str]:
    """Return a warning if an edge with this environment's IPGEO_DICT_SIZE refuses the file."""
    settings = Environment(Path.cwd())
    try:
        length, slot = out.stat().st_size, slot_size(settings.integer(_SIZE))
    except SettingError as error:
        return [f"{out}: published; whether an edge has room for it is unknown: {error}"]
    except OSError:
        return []  # it has been removed again
    if slot is None or length <= slot:
        return []
    given, needed = settings.text(_SIZE), -(-size_for(length) >> 20)
    problem = f"{length} bytes, a slot of the shared memory holds {slot}"
    advice = f"set {_SIZE}={needed}m or more"
    return [f"{out}: published, but an edge with {_SIZE}={given} refuses it: {problem}: {advice}"]
