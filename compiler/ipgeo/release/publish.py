"""Publishes a blob over the served one, and rolls that back.

The files of a blob (rollbacks.BlobFiles) are read, judged and replaced under one lock on their
folder, so that two builds, or a build and a rollback, come one after the other. The order of
replacing is in files/atomic.py.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from ipgeo.blob.reader import Blob, read_content
from ipgeo.compiling.compile import BuildResult
from ipgeo.errors import BlobError, InputError
from ipgeo.files.atomic import File, publish_all
from ipgeo.files.locks import locked, sweep
from ipgeo.files.reading import open_regular
from ipgeo.release import gates, manifest
from ipgeo.release.diff import Diff, diff
from ipgeo.release.gates import Limits, State, Verdict
from ipgeo.release.manifest import Manifest
from ipgeo.release.rollbacks import BlobFiles, encode_rolled_back, read_rolled_back
from ipgeo.release.targets import refuse_foreign, resolve_target

NO_CURRENT = "there is no current file"


class Status(StrEnum):
    """The result of a build."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a build, and why.

    ``not_compared_because`` says why the blob was not compared with the served one; if it was, that
    is empty and ``change`` is set. ``note`` is a further message for the operator, or empty.
    ``warnings`` are what an operator should check.
    """

    verdicts: list[Verdict]
    change: Diff | None = None
    not_compared_because: str = ""
    note: str = ""
    status: Status = Status.REFUSED
    warnings: Sequence[str] = ()

    @property
    def failed(self) -> list[Verdict]:
        """The gates that refuse the build."""
        return [verdict for verdict in self.verdicts if verdict.state == State.FAILED]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A completed rollback: the build that is now served, and the one served before.

    ``before`` is None if the current file was not sound; ``problem`` then says why.
    ``warnings`` are what an operator should check.
    """

    build_id: str
    before: str | None
    problem: str
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class _File:
    """A sound file: its bytes, their checked view, its time in ns (Unix time)."""

    data: bytes
    blob: Blob
    mtime_ns: int


def publish_build(
    path: Path,
    built: BuildResult,
    facts: Mapping[str, Any],
    limits: Limits,
    *,
    force: bool = False,
) -> Outcome:
    """Judge a proven blob and publish it if its gates let it, or by force.

    Without force, only blobs and manifests are replaced, never other files. ``facts`` go into the
    manifest. A refused build changes nothing; an unchanged one only adds a missing manifest. Raises
    OSError and InputError.
    """
    blob = built.blob
    with _locked_files(path) as paths:
        if not force:
            refuse_foreign(paths)
        served, problem = _served(paths.blob)
        rolled_back = read_rolled_back(paths.rolled_back)
        same = served is not None and served.data == built.data
        if same:
            outcome = _judge_same(blob, limits)
        else:
            outcome = _judge(served, problem, blob, limits, rolled_back.get(blob.build_id))
        if outcome.failed and not force:
            return outcome
        outcome = replace(outcome, verdicts=[gates.forced(v) for v in outcome.verdicts])
        own = manifest.of_blob(blob) | dict(facts) | _published(outcome.verdicts)
        if same:
            warnings = _publish(paths, _missing_manifest(paths, own))
            return replace(outcome, status=Status.UNCHANGED, warnings=warnings)
        warnings = _publish(paths, _build_files(paths, served, built.data, own, rolled_back))
        return replace(outcome, status=Status.PUBLISHED, warnings=warnings)


def rollback(path: Path) -> RolledBack:
    """Make the previous file the current one, and the current one, if it is sound, the previous.

    The old current build id is recorded, so that the next build does not bring it back.
    Raises InputError, BlobError or OSError, with nothing changed, if there is nothing sound to go
    back to.
    """
    with _locked_files(path) as paths:
        previous = _previous(paths)
        served, problem = _served(paths.blob)
        build_id = previous.blob.build_id
        if served and served.data == previous.data:
            raise InputError(paths.previous, "", f"build id {build_id} is already the current one")
        rolled_back = read_rolled_back(paths.rolled_back)
        warnings = _publish(paths, _rollback_files(paths, served, previous, rolled_back))
    return RolledBack(build_id, served.blob.build_id if served else None, problem, warnings)


@contextmanager
def _locked_files(path: Path) -> Iterator[BlobFiles]:
    """Lock the folder of the file that ``path`` leads to."""
    paths = resolve_target(path)
    with locked(paths.blob.parent):
        yield paths


def _publish(paths: BlobFiles, files: Sequence[File]) -> list[str]:
    """Publish ``files`` in the locked folder, cleared of killed publishers' leftovers.

    Not earlier: a refused build changes nothing, and leftovers may hold the old content.
    """
    sweep(paths)
    return publish_all(files)


def _read(path: Path) -> _File:
    with open_regular(path) as file:
        time = os.fstat(file.fileno()).st_mtime_ns
        try:
            data = read_content(file)
            return _File(data, Blob(data), time)
        except BlobError as error:
            raise BlobError(f"{path}: {error}") from None


def _served(path: Path) -> tuple[_File | None, str]:
    """Return the current file if it is sound; otherwise None and the problem."""
    try:
        return _read(path), ""
    except FileNotFoundError:
        return None, NO_CURRENT
    except OSError as error:
        return None, f"the current file cannot be read: {error.strerror}"
    except BlobError as error:
        return None, f"the current file is not sound: {str(error).removeprefix(f'{path}: ')}"


def _previous(paths: BlobFiles) -> _File:
    try:
        return _read(paths.previous)
    except FileNotFoundError:
        raise InputError(paths.previous, "", "there is no previous file to go back to") from None


def _judge_same(blob: Blob, limits: Limits) -> Outcome:
    """Judge the blob that is already served: only golden addresses can say anything new."""
    why = "this blob is already the current one"
    verdicts = [gates.judge_expected(blob, limits), *gates.skip_comparison(why)]
    return Outcome(verdicts, not_compared_because=why)


def _judge(
    served: _File | None, problem: str, blob: Blob, limits: Limits, rolled_back: str | None
) -> Outcome:
    expect = gates.judge_expected(blob, limits)
    last = gates.judge_rolled_back(blob.build_id, rolled_back)
    if served and served.blob.meta.get("sample") is not True:
        change = diff(served.blob, blob)
        verdicts = gates.compare(served.blob, blob, change, limits)
        return Outcome([expect, *verdicts, last], change)
    why = problem or "the current file is the sample"
    lost = not served and problem != NO_CURRENT
    note = "the current file is not kept as the previous one" if lost else ""
    return Outcome([expect, *gates.skip_comparison(why), last], None, why, note)


def _build_files(
    paths: BlobFiles,
    served: _File | None,
    data: bytes,
    own: Manifest,
    rolled_back: Mapping[str, str],
) -> list[File]:
    """Return the files that a build replaces, in order."""
    files = [File(paths.blob, data, (paths.blob,))]
    if served:
        files.insert(0, _previous_file(paths, served))
        files.append(_manifest_file(paths, own, _manifest_of(paths, served)))
    else:
        files.append(_manifest_file(paths, own, _manifest_of_previous(paths)))
    build_id = own["build_id"]
    if build_id in rolled_back:  # published by force: the operator wants it now
        others = {k: v for k, v in rolled_back.items() if k != build_id}
        files.append(_rolled_back_file(paths, others))
    return files


def _missing_manifest(paths: BlobFiles, own: Manifest) -> list[File]:
    """Return the current blob's manifest if it is missing."""
    if manifest.belongs(paths.manifest, own["build_id"]):
        return []
    return [_manifest_file(paths, own, _manifest_of_previous(paths))]


def _rollback_files(
    paths: BlobFiles, served: _File | None, previous: _File, rolled_back: Mapping[str, str]
) -> list[File]:
    """Return the files that a rollback replaces, in order."""
    kept = {k: v for k, v in rolled_back.items() if k != previous.blob.build_id}
    own = _manifest_of(paths, previous) | {"published": manifest.now(), "rolled_back_from": None}
    blob = File(paths.blob, previous.data, (paths.blob, paths.previous), previous.mtime_ns)
    if not served:
        files = [blob, _manifest_file(paths, own, None)]
        return files if kept == rolled_back else [_rolled_back_file(paths, kept), *files]
    own["rolled_back_from"] = served.blob.build_id
    return [
        _rolled_back_file(paths, kept | {served.blob.build_id: manifest.now()}),
        blob,
        _previous_file(paths, served),
        _manifest_file(paths, own, _manifest_of(paths, served)),
    ]


def _previous_file(paths: BlobFiles, served: _File) -> File:
    """Return the current file as the previous one: a copy, so that no write goes into both."""
    return File(paths.previous, served.data, (paths.blob,), served.mtime_ns)


def _manifest_file(paths: BlobFiles, own: Manifest, previous: Manifest | None) -> File:
    content = manifest.encode(own, previous)
    return File(paths.manifest, content, paths.models(paths.manifest))


def _rolled_back_file(paths: BlobFiles, rolled_back: Mapping[str, str]) -> File:
    content = encode_rolled_back(rolled_back)
    return File(paths.rolled_back, content, paths.models(paths.rolled_back))


def _published(verdicts: list[Verdict]) -> Manifest:
    return {
        "gates": [verdict.as_dict() for verdict in verdicts],
        "published": manifest.now(),
        "rolled_back_from": None,
    }


def _manifest_of(paths: BlobFiles, file: _File) -> Manifest:
    known = manifest.read_manifest(paths.manifest, file.blob.build_id)
    return known or manifest.of_blob(file.blob)


def _manifest_of_previous(paths: BlobFiles) -> Manifest | None:
    try:
        return _manifest_of(paths, _read(paths.previous))
    except (OSError, BlobError):
        return None
