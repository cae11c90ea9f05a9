"""The command ``build``, and how it reports what it has done."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ipgeo.cli.errors import Refusal, reporting
from ipgeo.cli.inputs import code_files, codes_in, format_option, keep_inputs
from ipgeo.cli.paths import BlobPath, InputPath, SourcePath
from ipgeo.cli.present import (
    build_text,
    need_stdout,
    outcome_lines,
    print_json,
    refusal_text,
    warn,
)
from ipgeo.cli.readers import readers
from ipgeo.compiling.compile import STEPS, BuildResult, compile_blob
from ipgeo.places.location import Source
from ipgeo.places.names import is_language
from ipgeo.ranges.address import ADDRESS_COUNT
from ipgeo.release.diff_report import as_dict
from ipgeo.release.expected import read_expected
from ipgeo.release.gates import MAX_CHANGE_PERCENT, MAX_UNCODED_RISE, Limits
from ipgeo.release.publish import NO_CURRENT, Outcome, publish_build
from ipgeo.release.targets import refuse_foreign, rehearse_build, resolve_target
from ipgeo.sources.content import STDIN
from ipgeo.sources.options import ReadOptions
from ipgeo.sources.registry import read_source

MIN_PROGRESS_BYTES = 8 << 20
"""A source of this many bytes (about a million records) takes seconds: worth a progress bar."""

MAX_NAMES_SHOWN = 10


def _number(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    """Refuse nan: click accepts it in every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is not a number")
    return value


def _languages(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split a list of language tags."""
    tags = tuple(tag.strip() for tag in value.split(",")) if value is not None else ()
    for tag in tags:
        if not is_language(tag):
            raise click.BadParameter(f"{tag!r} is not a language tag such as en or zh-CN")
    return tags


@click.command()
@click.argument("source", type=SourcePath)
@format_option
@click.option(
    "--codes",
    "codes_dir",
    type=InputPath,
    help="Folder of three code files; they take precedence over the built-in tables.",
)
@click.option(
    "--language",
    "languages",
    callback=_languages,
    metavar="TAG,...",
    help="Languages of names, such as zh-CN,en: of each name, the first that there is. Default:"
    " zh-CN,en, or the source's first one if it has no zh-CN.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="Keep a field of the source that is not a standard one, and all below it. Repeatable.",
)
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
    help="Largest share of all addresses that may change.",
)
@click.option("--allow-less-coverage", is_flag=True, help="Allow fewer addresses to have data.")
@click.option(
    "--max-codeless-rise",
    "max_uncoded_rise",
    type=click.FloatRange(0, 100),
    callback=_number,
    default=MAX_UNCODED_RISE,
    show_default=True,
    metavar="POINTS",
    help="Percentage points by which the share of addresses without country code may rise.",
)
@click.option(
    "--force", is_flag=True, help="Publish even if a gate refuses, and replace any existing file."
)
def build(
    source: Path,
    *,
    format_name: str | None,
    codes_dir: Path | None,
    languages: tuple[str, ...],
    keep: tuple[str, ...],
    out: Path,
    as_json: bool,
    expect: Path | None,
    max_change: float,
    allow_less_coverage: bool,
    max_uncoded_rise: float,
    force: bool,
) -> None:
    """Compile SOURCE, prove the result and publish it.

    SOURCE may be packed (gzip, xz, or zip with one file inside); - is standard input.
    The last step replaces OUTPUT atomically and keeps the old file as OUTPUT.previous. If a gate
    refuses the new blob, nothing is replaced and the exit status is 3. OUTPUT.json describes the
    published blob. Refuses to overwrite a file that is not a blob (or manifest) unless --force is
    given, and never overwrites an input. Warns on standard error if the servers cannot read the
    published blob.
    """
    started = time.monotonic()
    if as_json:
        need_stdout()
    _check_output(out, [source, *code_files(codes_dir), *([expect] if expect else [])], force=force)
    expected = read_expected(expect) if expect else None
    limits = Limits(
        expected=expected,
        max_change=max_change,
        less_coverage=allow_less_coverage,
        max_uncoded_rise=max_uncoded_rise,
    )
    read, result = _compile(source, format_name, ReadOptions(languages, keep), codes_dir)
    outcome = publish_build(out, result, _facts(source, read, result), limits, force=force)
    summary = _summary(result, read.facts["records"], with_codes=codes_dir is not None)
    summary |= _outcome(outcome)
    summary |= {"output": str(out), "seconds": round(time.monotonic() - started, 2)}
    _report(out, outcome, summary, as_json=as_json)


def _check_output(out: Path, inputs: list[Path], *, force: bool) -> None:
    """Refuse, before any work, an output that may not be replaced."""
    files = resolve_target(out)
    keep_inputs(files, inputs)
    if not force:
        refuse_foreign(files)
    rehearse_build(files, force=force)


def _compile(
    source: Path, format_name: str | None, options: ReadOptions, codes_dir: Path | None
) -> tuple[Source, BuildResult]:
    codes = codes_in(codes_dir)
    with _progress(source) as report:
        report("read")
        read = read_source(source, format_name, options)
        return read, compile_blob(read, codes, report)


@contextmanager
def _progress(source: Path) -> Iterator[Callable[[str], None]]:
    """Yield a function to call before each step; it draws a bar for large sources."""
    if source is STDIN or not sys.stderr.isatty() or source.stat().st_size < MIN_PROGRESS_BYTES:
        yield lambda _step: None
        return
    steps = 1 + len(STEPS)
    with click.progressbar(length=steps, file=sys.stderr, item_show_func=_step_name) as bar:
        yield lambda step: bar.update(1, step)


def _step_name(step: str | None) -> str | None:
    return step


def _facts(source: Path, read: Source, result: BuildResult) -> dict[str, Any]:
    """Return the manifest's facts that the blob's own metadata lack."""
    blob = result.blob
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
            "locations": blob.rows,
            "names_without_code": len(result.uncoded),
        },
        "proof": {
            "result": "equal to the source",
            "addresses": ADDRESS_COUNT,
            "families": list(blob.families),
        },
    }


def _summary(result: BuildResult, records: int | str, *, with_codes: bool) -> dict[str, Any]:
    blob, uncoded = result.blob, result.uncoded
    top = [
        {"names": list(path), "addresses": addresses}
        for path, addresses in uncoded.most_common(MAX_NAMES_SHOWN)
    ]
    return {
        "records": records,
        "runs": blob.runs,
        "locations": blob.rows,
        "bytes": blob.size,
        "build_id": blob.build_id,
        "sample": blob.meta["sample"],
        "proven_addresses": ADDRESS_COUNT,
        "families": list(blob.families),
        "codes": with_codes,
        "without_code": {"count": len(uncoded), "top": top},
        "non_places": dict(result.non_places.most_common()),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "gates": [verdict.as_dict() for verdict in outcome.verdicts],
        "change": as_dict(outcome.change) if outcome.change else None,
        "note": outcome.note,
    }


def _report(out: Path, outcome: Outcome, summary: dict[str, Any], *, as_json: bool) -> None:
    """Print how a build ended. Raises Refusal, and OSError if the output cannot be written."""
    with reporting(out, outcome.status):
        if not outcome.failed:
            first = outcome.not_compared_because == NO_CURRENT
            summary |= readers(out, outcome.warnings, first=first)
            warn(*summary["warnings"])
        if as_json:
            print_json(summary)
        elif not outcome.failed:
            click.echo(build_text(summary, outcome_lines(outcome)))
    if outcome.failed:
        raise Refusal(refusal_text(out, outcome))
