"""The manifest beside a blob: its sources, the gates it passed, the time of its publication.

A JSON object in UTF-8. It belongs to the blob whose ``build_id`` it names; beside any other blob
it must be ignored. ``previous`` is the manifest of the previous file, or null, so that a rollback
can restore it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ipgeo.blob.reader import Blob
from ipgeo.files.reading import TooLargeError, read_regular

Manifest = dict[str, Any]


def now() -> str:
    """Return the time as the manifest writes it: UTC, RFC 3339, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of_blob(blob: Blob) -> Manifest:
    """Return a manifest for a blob that has lost its own, as far as its metadata allow."""
    meta = blob.meta
    return {
        "build_id": blob.build_id,
        "tool": meta.get("compiler"),
        "sample": meta.get("sample") is True,
        "inputs": meta.get("sources"),
        "counts": {"bytes": blob.size, "runs": blob.runs, "locations": blob.rows},
        "gates": [],
        "proof": None,
    }


def read_manifest(path: Path, build_id: str) -> Manifest | None:
    """Return the manifest of this build id: the one in ``path``, the ``previous`` in it, or None.

    A manifest that cannot be read or belongs to another build counts as none.
    """
    outer = _read(path)
    for manifest in (outer, outer.get("previous")):
        if isinstance(manifest, dict) and manifest.get("build_id") == build_id:
            return _without_previous(manifest)
    return None


def belongs(path: Path, build_id: str) -> bool:
    """Whether the manifest in ``path`` itself, not the nested one, has this build id."""
    return _read(path).get("build_id") == build_id


def is_ours(path: Path) -> bool:
    """Whether ``path`` is a manifest of any build; also true if empty, missing or unreadable.

    Raises TooLargeError.
    """
    try:
        return not read_regular(path) or isinstance(_read(path).get("build_id"), str)
    except TooLargeError:
        raise
    except OSError:
        return True


def _read(path: Path) -> Manifest:
    try:
        manifest = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _without_previous(manifest: Mapping[str, Any]) -> Manifest:
    """Return it without its nested manifest: a manifest holds only one predecessor."""
    return {key: value for key, value in manifest.items() if key != "previous"}


def encode(manifest: Manifest, previous: Manifest | None) -> bytes:
    r"""Return the bytes of the file, with the previous file's manifest in it.

    A byte of a file name that is not UTF-8 becomes ``\udcXX``, as Python reads it back.
    """
    whole = {**manifest, "previous": previous}
    text = json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
    return text.encode(errors="backslashreplace")
