"""Publishing a blob over the one that is served, and taking that back.

What is beside the blob (rollbacks.Names) is read, judged and replaced under one lock on the folder,
so that two builds, or a build and a rollback, come one after the other. The order of replacing is
in files/atomic.py.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from ipgeo.blob.reader import Blob, read_content
from ipgeo.compiling.compile import Compiled
from ipgeo.errors import BlobError, InputError
from ipgeo.files.atomic import File, publish_all
from ipgeo.files.locks import locked, sweep
from ipgeo.files.reading import open_regular
from ipgeo.release import gates, manifest
from ipgeo.release.diff import Diff, diff
from ipgeo.release.gates import Limits, State, Verdict
from ipgeo.release.manifest import Manifest
from ipgeo.release.rollbacks import Names, encode_rolled_back, read_rolled_back
from ipgeo.release.targets import names_beside, refuse_foreign

NO_CURRENT = "there is no current file"


class Status(StrEnum):
    """What became of a build."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a build, and why.

    ``uncompared`` says why the blob was not compared with the one that is served; where it was, it
    is empty and ``change`` is there. ``note`` is what else an operator must know, or empty.
    ``warnings`` are what an operator should look at.
    """

    verdicts: list[Verdict]
    change: Diff | None = None
    uncompared: str = ""
    note: str = ""
    status: Status = Status.REFUSED
    warnings: Sequence[str] = ()

    @property
    def failed(self) -> list[Verdict]:
        """The gates that refuse the build."""
        return [verdict for verdict in self.verdicts if verdict.state == State.FAILED]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A rollback that is done: the build that is served now, and the one that was.

    ``before`` is None where the current file was not sound; ``problem`` says what it had.
    ``warnings`` are what an operator should look at.
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
    path: Path, built: Compiled, facts: Mapping[str, Any], limits: Limits, *, force: bool = False
) -> Outcome:
    """Judge a proven blob and publish it if its gates let it, or by force.

    Without force no file is replaced that is no blob or, where a manifest belongs, no manifest.
    ``facts`` go into its manifest. Refused, nothing is changed; unchanged, nothing but a manifest
    that was missing. Raises OSError and InputError.
    """
    blob = built.blob
    with _held(path) as names:
        if not force:
            refuse_foreign(names)
        served, problem = _served(names.blob)
        memory = read_rolled_back(names.rolled_back)
        same = served is not None and served.data == built.data
        if same:
            outcome = _judge_same(blob, limits)
        else:
            outcome = _judge(served, problem, blob, limits, memory.get(blob.build_id))
        if outcome.failed and not force:
            return outcome
        outcome = replace(outcome, verdicts=[gates.forced(v) for v in outcome.verdicts])
        own = manifest.of_blob(blob) | dict(facts) | _published(outcome.verdicts)
        if same:
            warnings = _publish(names, _missing_manifest(names, own))
            return replace(outcome, status=Status.UNCHANGED, warnings=warnings)
        warnings = _publish(names, _build_files(names, served, built.data, own, memory))
        return replace(outcome, status=Status.PUBLISHED, warnings=warnings)


def rollback(path: Path) -> RolledBack:
    """Make the previous file the current one, and the current one, if it is sound, the previous.

    The build id that was current is remembered, so that the next build does not bring it back.
    Raises InputError, BlobError or OSError, with nothing changed, if there is nothing sound to go
    back to.
    """
    with _held(path) as names:
        previous = _previous(names)
        served, problem = _served(names.blob)
        build_id = previous.blob.build_id
        if served and served.data == previous.data:
            raise InputError(names.previous, "", f"build id {build_id} is the current one already")
        memory = read_rolled_back(names.rolled_back)
        warnings = _publish(names, _rollback_files(names, served, previous, memory))
    return RolledBack(build_id, served.blob.build_id if served else None, problem, warnings)


@contextmanager
def _held(path: Path) -> Iterator[Names]:
    """Lock the folder of the file that ``path`` leads to."""
    names = names_beside(path)
    with locked(names.blob.parent):
        yield names


def _publish(names: Names, files: Sequence[File]) -> list[str]:
    """Publish ``files`` in the locked folder, cleared of what the killed left.

    Not earlier: what is refused changes nothing, and what is left may be the way back.
    """
    sweep(names)
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
    """Return the current file if it is sound, else what is wrong with it."""
    try:
        return _read(path), ""
    except FileNotFoundError:
        return None, NO_CURRENT
    except OSError as error:
        return None, f"the current file cannot be read: {error.strerror}"
    except BlobError as error:
        return None, f"the current file is not sound: {str(error).removeprefix(f'{path}: ')}"


def _previous(names: Names) -> _File:
    try:
        return _read(names.previous)
    except FileNotFoundError:
        raise InputError(names.previous, "", "there is no previous file to go back to") from None


def _judge_same(blob: Blob, limits: Limits) -> Outcome:
    """Judge the very blob that is served: only golden addresses can say anything new."""
    why = "this blob is the current one already"
    verdicts = [gates.judge_expected(blob, limits), *gates.skip_comparison(why)]
    return Outcome(verdicts, uncompared=why)


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
    names: Names, served: _File | None, data: bytes, own: Manifest, memory: Mapping[str, str]
) -> list[File]:
    """Return what a build replaces, in that order."""
    files = [File(names.blob, data, (names.blob,))]
    if served:
        files.insert(0, _previous_file(names, served))
        files.append(_manifest_file(names, own, _manifest_of(names, served)))
    else:
        files.append(_manifest_file(names, own, _manifest_of_previous(names)))
    build_id = own["build_id"]
    if build_id in memory:  # published by force: the operator wants it now
        files.append(_memory_file(names, {k: v for k, v in memory.items() if k != build_id}))
    return files


def _missing_manifest(names: Names, own: Manifest) -> list[File]:
    """Return the manifest that the current blob ought to have, if it has not."""
    if manifest.belongs(names.manifest, own["build_id"]):
        return []
    return [_manifest_file(names, own, _manifest_of_previous(names))]


def _rollback_files(
    names: Names, served: _File | None, previous: _File, memory: Mapping[str, str]
) -> list[File]:
    """Return what a rollback replaces, in that order."""
    kept = {k: v for k, v in memory.items() if k != previous.blob.build_id}
    own = _manifest_of(names, previous) | {"published": manifest.now(), "rolled_back_from": None}
    blob = File(names.blob, previous.data, (names.blob, names.previous), previous.mtime_ns)
    if not served:
        files = [blob, _manifest_file(names, own, None)]
        return files if kept == memory else [_memory_file(names, kept), *files]
    own["rolled_back_from"] = served.blob.build_id
    return [
        _memory_file(names, kept | {served.blob.build_id: manifest.now()}),
        blob,
        _previous_file(names, served),
        _manifest_file(names, own, _manifest_of(names, served)),
    ]


def _previous_file(names: Names, served: _File) -> File:
    """Return the current file as the previous one: a copy, so that no write goes into both."""
    return File(names.previous, served.data, (names.blob,), served.mtime_ns)


def _manifest_file(names: Names, own: Manifest, previous: Manifest | None) -> File:
    content = manifest.encode(own, previous)
    return File(names.manifest, content, names.models(names.manifest))


def _memory_file(names: Names, memory: Mapping[str, str]) -> File:
    content = encode_rolled_back(memory)
    return File(names.rolled_back, content, names.models(names.rolled_back))


def _published(verdicts: list[Verdict]) -> Manifest:
    return {
        "gates": [verdict.as_dict() for verdict in verdicts],
        "published": manifest.now(),
        "rolled_back_from": None,
    }


def _manifest_of(names: Names, file: _File) -> Manifest:
    known = manifest.read_manifest(names.manifest, file.blob.build_id)
    return known or manifest.of_blob(file.blob)


def _manifest_of_previous(names: Names) -> Manifest | None:
    try:
        return _manifest_of(names, _read(names.previous))
    except (OSError, BlobError):
        return None
