"""What commands print: lines for people, JSON for programs."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from ipgeo.release.diff import largest_lines
from ipgeo.release.gates import State, verdict_lines
from ipgeo.release.publish import Outcome, Status
from ipgeo.text import printable


def need_stdout() -> None:
    """Refuse to run a command that only prints if standard output is closed."""
    if sys.stdout is None:
        raise click.UsageError("standard output is closed")


def print_json(value: object) -> None:
    """Print a value as one line of JSON, with control characters escaped."""
    click.echo(printable(json.dumps(value, ensure_ascii=False)))


def warn(*warnings: str) -> None:
    """Print warnings on standard error."""
    for warning in warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)


def build_text(summary: dict[str, Any], outcome: list[str]) -> str:
    """Return the summary of a build that published, and the lines of its ``outcome``."""
    lines = [
        f"{summary['output']}: {summary['bytes']} bytes, build id {summary['build_id']}",
        f"{summary['records']} records, {summary['runs']} runs, {summary['locations']} locations",
        f"proven equal to the source at all {summary['proven_addresses']} addresses",
    ]
    if summary["sample"]:
        lines.append("this is the project's sample, not real data")
    if not summary["codes"]:
        lines.append("no --codes: all codes come from the built-in tables")
    lines += _uncoded_lines(summary["without_code"])
    if summary["non_places"]:
        lines.append(_non_places_line(summary["non_places"]))
    return "\n".join([*lines, *outcome, f"{summary['seconds']:.2f} s"])


def _uncoded_lines(uncoded: dict[str, Any]) -> list[str]:
    lines = [f"{uncoded['count']} names without a code"]
    if uncoded["top"]:
        lines[0] += "; those with the most addresses:"
    lines += [
        f"  {row['addresses']:>13,}  {printable(' '.join(row['names']))}" for row in uncoded["top"]
    ]
    return lines


def _non_places_line(addresses: dict[str, int]) -> str:
    counts = (f"{kind} {count:,}" for kind, count in addresses.items())
    return f"addresses that are not places: {', '.join(counts)}"


def outcome_lines(outcome: Outcome) -> list[str]:
    """Return the gates' verdicts, what force overrode, and whether nothing was published."""
    lines = verdict_lines(outcome.verdicts, outcome.not_compared_because)
    if outcome.note:
        lines.append(outcome.note)
    by_force = [verdict.gate for verdict in outcome.verdicts if verdict.state == State.FORCED]
    if by_force:
        lines.append(f"--force overrode {', '.join(by_force)}")
        lines += largest_lines(outcome.change) if outcome.change else []
    if outcome.status == Status.UNCHANGED:
        lines.append("nothing new is published, the previous file stays")
    return lines


def refusal_text(out: Path, outcome: Outcome) -> str:
    """Return which gates refuse a build, and why."""
    lines = [f"{out}: left as it is, the new blob is refused by {_failed_gates(outcome)}"]
    lines += [verdict.line() for verdict in outcome.failed]
    lines += largest_lines(outcome.change) if outcome.change else []
    return "\n".join([*lines, "--force publishes it anyway"])


def _failed_gates(outcome: Outcome) -> str:
    return ", ".join(verdict.gate for verdict in outcome.failed)


def inspect_text(facts: dict[str, Any]) -> str:
    """Return the metadata, sections and sizes of a blob."""
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
    """Return a string unchanged, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
