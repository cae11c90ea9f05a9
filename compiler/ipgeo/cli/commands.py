"""The console script ``ipgeo-compile``: thin commands over the library.

Exit status: 0 done, 1 bad input, 2 wrong usage, 3 refused by a gate, 130 interrupted.
"""

import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from ipgeo import __version__
from ipgeo.blob.reader import Blob, read_blob
from ipgeo.cli import streams
from ipgeo.compiling.compile import STEPS, Compiled, compile_blob
from ipgeo.compiling.prove import prove
from ipgeo.errors import BlobError, InputError, ProofError
from ipgeo.exports.formats import FORMATS
from ipgeo.files.atomic import publish
from ipgeo.files.readers import State as Access
from ipgeo.files.readers import reading
from ipgeo.places.codes import FILES, Codes, read_codes
from ipgeo.places.location import Source
from ipgeo.ranges.address import ADDRESS_COUNT, parse_ipv4
from ipgeo.release.diff import as_dict, as_lines, diff, largest_lines
from ipgeo.release.gates import (
    MAX_CHANGE_PERCENT,
    MAX_CODELESS_RISE,
    Limits,
    State,
    read_expected,
    verdict_lines,
)
from ipgeo.release.publish import NO_CURRENT, Outcome, Status, refresh, rollback
from ipgeo.release.targets import (
    names_beside,
    output_target,
    refuse_blob,
    refuse_foreign,
    rehearse_build,
    same_file,
)
from ipgeo.sources.dat import read_dat
from ipgeo.sources.sample import write_sample
from ipgeo.text import printable

LONG_WORK = 8 << 20
"""A source of this many bytes (about a million records) takes seconds: worth a progress bar."""

TOP_NAMES = 10

STDOUT = Path("-")
"""What ``export -o -`` becomes; a file of that name is another object."""


_Given = str | os.PathLike[str]


class _FilePath(click.Path):
    """The path of a file or folder. ``-`` is none: refused for the reason ``dash``."""

    def __init__(self, dash: str) -> None:
        super().__init__(readable=False, path_type=Path)  # the opening of it tells more
        self._dash = dash

    def convert(
        self, value: _Given, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "-":
            self.fail(f"{self._dash}; ./- is a file of that name", param, ctx)
        return super().convert(value, param, ctx)


class _OutputPath(click.Path):
    """The path of a file, or standard output."""

    def convert(
        self, value: _Given, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        return STDOUT if value == "-" else super().convert(value, param, ctx)


InputPath = _FilePath("this is not read from standard input")
BlobPath = _FilePath("a blob cannot go to standard output")
FolderPath = _FilePath("files cannot go to standard output")
ExportPath = _OutputPath(readable=False, path_type=Path)


class _Refusal(click.ClickException):
    """A gate refuses the new blob."""

    exit_code = 3


class _Commands(click.Group):
    """Turns every error that an input can cause into one line on stderr and exit status 1."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        try:
            status = super().main(args, prog_name, standalone_mode=False, **extra)
        except click.Abort:
            status = streams.INTERRUPTED
        except click.ClickException as error:
            status = _fail(error)
        except (InputError, BlobError, ProofError) as error:
            status = _fail(click.ClickException(str(error)))
        except OSError as error:
            _drop_output()
            name = f"{error.filename}: " if error.filename else ""
            status = _fail(click.ClickException(f"{name}{error.strerror or error}"))
        except MemoryError:
            status = _fail(click.ClickException("out of memory"))
        except SystemExit as stop:
            for note in getattr(stop, "__notes__", ()):
                click.echo(printable(note), err=True)
            raise
        sys.exit(status)


def _fail(error: click.ClickException) -> int:
    error.show()
    return error.exit_code


def _number(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    """Refuse nan, which to click is in every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is not a number")
    return value


def _drop_output() -> None:
    """Give up what cannot be written: Python would try again at its end and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ipgeo-compile")
def main() -> None:
    """Compile IP-geolocation sources into the blob that nginx and the fallback serve."""


@main.command()
@click.argument("source", type=InputPath)
@click.option("--codes", "codes_dir", type=InputPath, help="Folder of the three code files.")
@click.option(
    "-o",
    "--output",
    "out",
    type=BlobPath,
    required=True,
    envvar="IPGEO_BLOB",
    show_envvar=True,
    help="The blob to write.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--expect", type=InputPath, help="Golden addresses: lines of ip, tab, JSON.")
@click.option(
    "--max-change",
    type=click.FloatRange(0, 100),
    callback=_number,
    default=MAX_CHANGE_PERCENT,
    show_default=True,
    metavar="PERCENT",
    help="Share of all addresses that may answer otherwise.",
)
@click.option("--allow-less-coverage", is_flag=True, help="Fewer addresses may have data.")
@click.option(
    "--max-codeless-rise",
    type=click.FloatRange(0, 100),
    callback=_number,
    default=MAX_CODELESS_RISE,
    show_default=True,
    metavar="POINTS",
    help="Percentage points by which the share of addresses without country code may rise.",
)
@click.option(
    "--force", is_flag=True, help="Publish what a gate refuses, over whatever file there is."
)
def build(
    source: Path,
    *,
    codes_dir: Path | None,
    out: Path,
    as_json: bool,
    expect: Path | None,
    max_change: float,
    allow_less_coverage: bool,
    max_codeless_rise: float,
    force: bool,
) -> None:
    """Compile SOURCE (a 17mon/IPIP .dat file), prove the result and publish it.

    An existing output is kept as OUTPUT.previous and replaced as a whole at the very end, or not at
    all: a gate that refuses the new blob ends with status 3. OUTPUT.json tells what was published.
    What is no blob, or no manifest, is not replaced without --force, and no input ever is. A
    warning on standard error says if the servers cannot read what is published.
    """
    started = time.monotonic()
    if as_json:
        _need_stdout()
    _check_place(out, [source, *_code_files(codes_dir), *([expect] if expect else [])], force=force)
    expected = read_expected(expect) if expect else None
    limits = Limits(expected, max_change, allow_less_coverage, max_codeless_rise)
    read, compiled = _compile(source, codes_dir)
    outcome = refresh(out, compiled, _facts(source, read, compiled), limits, force=force)
    summary = _summary(compiled, read.facts["records"], with_codes=codes_dir is not None)
    summary |= _outcome(outcome)
    summary |= {"output": str(out), "seconds": round(time.monotonic() - started, 2)}
    _report(out, outcome, summary, as_json=as_json)


def _compile(source: Path, codes_dir: Path | None) -> tuple[Source, Compiled]:
    codes = _codes(codes_dir)
    with _progress(source) as report:
        report("read")
        read = read_dat(source)
        return read, compile_blob(read, codes, report)


def _report(out: Path, outcome: Outcome, summary: dict[str, Any], *, as_json: bool) -> None:
    """Print how a build has ended. Raises _Refusal, and OSError if the output takes nothing."""
    with _telling(out, outcome.status):
        if not outcome.failed:
            summary |= _readers(out, outcome.warnings, first=outcome.uncompared == NO_CURRENT)
            _warn(*summary["warnings"])
        if as_json:
            _print_json(summary)
        elif not outcome.failed:
            click.echo(_build_text(summary, _outcome_lines(outcome)))
    if outcome.failed:
        raise _Refusal(_refusal_text(out, outcome))


@contextmanager
def _telling(path: Path, done: str) -> Iterator[None]:
    """Have whatever ends the command from here on tell what is ``done``."""
    try:
        yield
    except OSError as error:
        problem = f"{done}, but the summary cannot be written: {error.strerror}"
        raise OSError(error.errno, problem, str(path)) from None
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.add_note(f"{path}: {done}")
        raise


@main.command("diff")
@click.argument("old", type=InputPath)
@click.argument("new", type=InputPath)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def diff_command(old: Path, new: Path, as_json: bool) -> None:
    """Print which addresses answer otherwise in the blob NEW than in OLD."""
    _need_stdout()
    before, after = read_blob(old), read_blob(new)
    found = diff(before, after)
    if as_json:
        _print_json({"old": before.build_id, "new": after.build_id} | as_dict(found))
        return
    for name, blob in (("old", before), ("new", after)):
        click.echo(f"{name}  build id {blob.build_id}, {blob.runs} runs")
    click.echo("\n".join(as_lines(found)))


@main.command("rollback")
@click.argument("blob", type=BlobPath)
def rollback_command(blob: Path) -> None:
    """Publish BLOB.previous as BLOB, and what BLOB was as BLOB.previous.

    The build that is taken back is remembered: build refuses it from now on without --force.
    """
    done = rollback(blob)
    with _telling(blob, "rolled back"):
        _warn(*_readers(blob, done.warnings)["warnings"])
        if done.before:
            click.echo(f"{blob}: rolled back from build id {done.before} to {done.build_id}")
            click.echo(f"build refuses {done.before} from now on, unless with --force")
        else:
            click.echo(f"{blob}: rolled back to build id {done.build_id}")
            click.echo(f"{done.problem}: nothing of it is kept or remembered")


@main.command()
@click.argument("blob", type=InputPath)
@click.option("--against", type=InputPath, help="Prove the blob equal to this source.")
@click.option(
    "--codes", "codes_dir", type=InputPath, help="Folder of the code files it was built with."
)
def verify(blob: Path, against: Path | None, codes_dir: Path | None) -> None:
    """Check the structure, checksum and build id of BLOB; with --against, every answer too."""
    if codes_dir and not against:
        raise click.UsageError("--codes goes with --against")
    codes = _codes(codes_dir)
    checked = read_blob(blob)
    click.echo(f"{blob}: sound, build id {checked.build_id}, {checked.runs} runs")
    if against:
        prove(checked, read_dat(against).runs, codes)
        click.echo(f"equal to {against} at all {ADDRESS_COUNT} addresses")


@main.command()
@click.argument("blob", type=InputPath)
@click.argument("ip", nargs=-1)
@click.option("--format", "form", type=click.Choice(["array", "object"]), default="array")
def lookup(blob: Path, ip: tuple[str, ...], form: str) -> None:
    """Print each IP (or each line of standard input but blank ones), a tab and its answer as JSON.

    An address without data answers null. One that is not an address is reported on standard error,
    the others are still answered, and the exit status is 1.
    """
    _need_stdout()
    checked = read_blob(blob)
    refused = 0
    for number, text in enumerate(ip, start=1) if ip else _input_lines():
        address = parse_ipv4(text)
        if address is None:
            refused += 1
            click.echo(f"input {number}: {text!r} is not an IPv4 address", err=True)
        else:
            click.echo(f"{text}\t{_answer(checked, text, address, form)}")
        if streams.reader_has_left():
            break
    if refused:
        sys.exit(1)


@main.command()
@click.argument("blob", type=InputPath)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def inspect(blob: Path, as_json: bool) -> None:
    """Print what BLOB says of itself: metadata, sections and sizes."""
    _need_stdout()
    checked = read_blob(blob)
    facts = {
        "build_id": checked.build_id,
        "bytes": checked.size,
        "runs": checked.runs,
        "locations": checked.locations,
        "meta": checked.meta,
        "sections": [section._asdict() for section in checked.sections],
    }
    if as_json:
        _print_json(facts)
    else:
        click.echo(_inspect_text(facts))


@main.command()
@click.argument("blob", type=InputPath)
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), required=True)
@click.option("-o", "--output", "out", type=ExportPath, required=True, help="File to write, or -.")
@click.option("--force", is_flag=True, help="Write it even over another blob.")
def export(blob: Path, form: str, out: Path, force: bool) -> None:
    """Write BLOB as MMDB (MaxMind DB) or CSV; - is standard output.

    The records hold the members of the object answer. MMDB leaves out codes that are null, in CSV
    they are empty. The MMDB's build time is that of the file BLOB.
    """
    if out is STDOUT:
        _need_stdout()
    else:
        target = output_target(out)
        _keep_inputs([target], [blob])
        if not force:
            refuse_blob(target)
    data = FORMATS[form](read_blob(blob), int(blob.stat().st_mtime))
    if out is STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _warn(*publish(out, data))


@main.command()
@click.argument("folder", type=FolderPath)
def sample(folder: Path) -> None:
    """Write a small source and its code files into FOLDER: enough to try everything with."""
    paths = write_sample(folder, _warn)
    with _telling(folder, "the sample is written"):
        for path in paths:
            click.echo(path)


def _need_stdout() -> None:
    """Refuse a command whose purpose is its output, if nothing takes that."""
    if sys.stdout is None:
        raise click.UsageError("standard output is closed")


def _print_json(value: object) -> None:
    click.echo(printable(json.dumps(value, ensure_ascii=False)))


def _warn(*warnings: str) -> None:
    for warning in warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)


def _readers(out: Path, warnings: Sequence[str], *, first: bool = False) -> dict[str, Any]:
    """Return whether the servers can read what is published, and all warnings.

    That it is not known is a warning at the ``first`` build: later ones keep the readers.
    """
    found = reading(out)
    unread = []
    if found.state == Access.NO:
        unread = [f"{out}: published, but the servers cannot read it: {found.detail}"]
    elif found.state == Access.UNKNOWN and first:
        unread = [f"{out}: published, but perhaps the servers cannot read it: {found.detail}"]
    return {"readable": found.as_dict(), "warnings": [*warnings, *unread]}


def _check_place(out: Path, inputs: list[Path], *, force: bool) -> None:
    """Refuse, before any work, an output that may not be put in its place."""
    names = names_beside(out)
    _keep_inputs(names, inputs)
    if not force:
        refuse_foreign(names)
    rehearse_build(names, force=force)


def _keep_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    same = same_file(outputs, inputs)
    if same:
        output, path = same
        raise click.UsageError(f"the output {output} is the input {path}: it would be replaced")


def _code_files(folder: Path | None) -> list[Path]:
    return [folder / name for name in FILES] if folder else []


def _codes(folder: Path | None) -> Codes:
    return read_codes(folder) if folder else Codes()


@contextmanager
def _progress(source: Path) -> Iterator[Callable[[str], None]]:
    """Yield a function to call before each step; it draws a bar where that is worth it."""
    if not sys.stderr.isatty() or source.stat().st_size < LONG_WORK:
        yield lambda _step: None
        return
    steps = 1 + len(STEPS)
    with click.progressbar(length=steps, file=sys.stderr, item_show_func=_step_name) as bar:
        yield lambda step: bar.update(1, step)


def _step_name(step: str | None) -> str | None:
    return step


def _input_lines() -> Iterator[tuple[int, str]]:
    """Yield the lines of standard input that are not blank, with their numbers."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed and no IP is given")
    if isinstance(sys.stdin, io.TextIOWrapper):  # what is not UTF-8 is to be reported, not to raise
        sys.stdin.reconfigure(encoding="utf-8", errors="backslashreplace")
    lines = enumerate(map(str.strip, sys.stdin), start=1)
    return ((number, line) for number, line in lines if line)


def _answer(blob: Blob, text: str, address: int, form: str) -> str:
    location = blob.find(address)
    if location is None:
        return "null"
    answer = blob.answer(location)
    if form == "array":
        return answer.array.decode()
    return f'{{"ip":"{text}",{answer.members.decode()}'


def _summary(compiled: Compiled, records: int | str, *, with_codes: bool) -> dict[str, Any]:
    blob, missing = compiled.blob, compiled.without_code
    top = [
        {"names": list(names), "addresses": addresses}
        for names, addresses in missing.most_common(TOP_NAMES)
    ]
    return {
        "records": records,
        "runs": blob.runs,
        "locations": blob.locations,
        "bytes": blob.size,
        "build_id": blob.build_id,
        "sample": blob.meta["sample"],
        "proven_addresses": ADDRESS_COUNT,
        "codes": with_codes,
        "without_code": {"count": len(missing), "top": top},
    }


def _facts(source: Path, read: Source, compiled: Compiled) -> dict[str, Any]:
    """Return what the manifest says beyond what the blob says of itself."""
    blob = compiled.blob
    first, *codes = blob.meta["sources"]
    return {
        "inputs": [
            {"name": source.name, **first},
            *({"name": facts["format"], **facts} for facts in codes),
        ],
        "counts": {
            "bytes": blob.size,
            "records": read.facts["records"],
            "runs": blob.runs,
            "locations": blob.locations,
            "names_without_code": len(compiled.without_code),
        },
        "proof": {"result": "equal to the source", "addresses": ADDRESS_COUNT},
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "gates": [verdict.as_dict() for verdict in outcome.verdicts],
        "change": as_dict(outcome.change) if outcome.change else None,
        "note": outcome.note,
    }


def _outcome_lines(outcome: Outcome) -> list[str]:
    lines = verdict_lines(outcome.verdicts, outcome.uncompared)
    if outcome.note:
        lines.append(outcome.note)
    by_force = [verdict.gate for verdict in outcome.verdicts if verdict.state == State.FORCED]
    if by_force:
        lines.append(f"--force overrode {', '.join(by_force)}")
        lines += largest_lines(outcome.change) if outcome.change else []
    if outcome.status == Status.UNCHANGED:
        lines.append("nothing new is published, the previous file stays")
    return lines


def _refusal_text(out: Path, outcome: Outcome) -> str:
    lines = [f"{out}: left as it is, the new blob is refused by {_names(outcome)}"]
    lines += [verdict.line() for verdict in outcome.failed]
    lines += largest_lines(outcome.change) if outcome.change else []
    return "\n".join([*lines, "--force publishes it all the same"])


def _names(outcome: Outcome) -> str:
    return ", ".join(verdict.gate for verdict in outcome.failed)


def _build_text(summary: dict[str, Any], outcome: list[str]) -> str:
    lines = [
        f"{summary['output']}: {summary['bytes']} bytes, build id {summary['build_id']}",
        f"{summary['records']} records, {summary['runs']} runs, {summary['locations']} locations",
        f"proven equal to the source at all {summary['proven_addresses']} addresses",
    ]
    if summary["sample"]:
        lines.append("this is the project's sample, not real data")
    if summary["codes"]:
        lines += _without_code_lines(summary["without_code"])
    else:
        lines.append("no --codes: no answer has a country, province or city code")
    return "\n".join([*lines, *outcome, f"{summary['seconds']:.2f} s"])


def _without_code_lines(missing: dict[str, Any]) -> list[str]:
    lines = [f"{missing['count']} names without a code"]
    if missing["top"]:
        lines[0] += "; those with the most addresses:"
    lines += [
        f"  {row['addresses']:>13,}  {printable(' '.join(row['names']))}" for row in missing["top"]
    ]
    return lines


def _inspect_text(facts: dict[str, Any]) -> str:
    lines = [f"{key:<10} {facts[key]}" for key in ("build_id", "bytes", "runs", "locations")]
    meta = dict(facts["meta"])
    for source in meta.pop("sources", []):
        described = ", ".join(f"{key} {_plain(value)}" for key, value in source.items())
        lines.append(f"{'source':<10} {described}")
    lines += [f"{key:<10} {json.dumps(value)}" for key, value in meta.items()]
    lines.append(f"{'section':<10} {'offset':>10} {'length':>10}")
    lines += [f"{s['tag']:<10} {s['offset']:>10} {s['length']:>10}" for s in facts["sections"]]
    return "\n".join(map(printable, lines))


def _plain(value: object) -> str:
    """Return a string itself, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
