"""The files beside a blob, and the list of the builds that were rolled back."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ipgeo.errors import InputError
from ipgeo.files.reading import read_regular

_BUILD_ID = re.compile(r"[0-9a-f]{32}")


class BlobFiles(NamedTuple):
    """The paths of a blob, the file before it, its manifest, and the builds rolled back."""

    blob: Path
    previous: Path
    manifest: Path
    rolled_back: Path

    @classmethod
    def of(cls, blob: Path) -> "BlobFiles":
        """Return the paths beside ``blob``; each is the blob's with a suffix."""
        suffixes = ("", ".previous", ".json", ".rolled-back")
        return cls(*(blob.with_name(blob.name + suffix) for suffix in suffixes))

    def models(self, path: Path) -> tuple[Path, Path]:
        """Return the models of ``path``, the manifest or the list of rollbacks, in order."""
        return path, self.blob


def read_rolled_back(path: Path) -> dict[str, str]:
    """Return the build ids that were rolled back, and when; none if there is no such file.

    A line each: build id, space, time. Raises InputError naming the line, OSError.
    """
    try:
        text = read_regular(path).decode(errors="replace")
    except FileNotFoundError:
        return {}
    times = {}
    for number, line in enumerate(text.split("\n"), start=1):
        build_id, _, time = line.strip().partition(" ")
        if build_id and not _BUILD_ID.fullmatch(build_id):
            raise InputError(path, f"line {number}", "does not begin with a build id")
        if build_id:
            times[build_id] = time or "an unknown time"
    return times


def encode_rolled_back(times: Mapping[str, str]) -> bytes:
    """Return the bytes of that file, from build ids and times."""
    return "".join(f"{build_id} {time}\n" for build_id, time in times.items()).encode()
