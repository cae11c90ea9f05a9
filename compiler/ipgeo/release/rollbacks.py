"""The files beside a blob, and the memory of the builds that were rolled back."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ipgeo.errors import InputError
from ipgeo.files.reading import read_regular

_BUILD_ID = re.compile(r"[0-9a-f]{32}")


class Names(NamedTuple):
    """A blob, the file before it, its manifest, and the build ids that were rolled back."""

    blob: Path
    previous: Path
    manifest: Path
    rolled_back: Path

    @classmethod
    def of(cls, blob: Path) -> "Names":
        """Return the names beside ``blob``; each is the blob's with something behind it."""
        suffixes = ("", ".previous", ".json", ".rolled-back")
        return cls(*(blob.with_name(blob.name + suffix) for suffix in suffixes))

    def models(self, path: Path) -> tuple[Path, Path]:
        """Return whose readers the manifest or the memory ``path`` gets: its own, or the blob's."""
        return path, self.blob


def read_rolled_back(path: Path) -> dict[str, str]:
    """Return the build ids that were rolled back, and when; none if there is no such file.

    A line each: build id, space, time. Raises InputError naming the line, OSError.
    """
    try:
        text = read_regular(path).decode(errors="replace")
    except FileNotFoundError:
        return {}
    memory = {}
    for number, line in enumerate(text.split("\n"), start=1):
        build_id, _, time = line.strip().partition(" ")
        if build_id and not _BUILD_ID.fullmatch(build_id):
            raise InputError(path, f"line {number}", "does not begin with a build id")
        if build_id:
            memory[build_id] = time or "an unknown time"
    return memory


def encode_rolled_back(memory: Mapping[str, str]) -> bytes:
    """Return the bytes of that file."""
    return "".join(f"{build_id} {time}\n" for build_id, time in memory.items()).encode()
