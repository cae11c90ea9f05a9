"""Settings, from the same environment variables as the edge's."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

DEFAULT_BODY_LIMIT = 64 << 10

_SIZE = re.compile(r"([0-9]{1,12})([kmg]?)", re.IGNORECASE | re.ASCII)
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30}


class Settings(NamedTuple):
    """What the application has to know.

    ``blob`` is None where none is named; ``body_limit`` is the longest request body, in bytes.
    """

    blob: Path | None
    body_limit: int = DEFAULT_BODY_LIMIT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read IPGEO_BLOB and IPGEO_BODY_LIMIT; an empty one counts as not set."""
        blob = environment.get("IPGEO_BLOB")
        limit = environment.get("IPGEO_BODY_LIMIT")
        return cls(
            blob=Path(blob) if blob else None,
            body_limit=parse_size(limit) if limit else DEFAULT_BODY_LIMIT,
        )


def parse_size(text: str) -> int:
    """Return the bytes that a size in nginx's notation (``65536``, ``64k``, ``1m``) stands for."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"not a size in bytes, k, m or g: {text!r}")
    return int(match[1]) << _SHIFT[match[2].lower()]
