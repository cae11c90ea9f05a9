"""What commands print: lines for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from ipgeo.ranges.address import ADDRESS_COUNT, IPV6
from ipgeo.release.diff_report import largest_lines
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


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, its columns two blanks apart and as wide as the widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def warn(*warnings: str) -> None:
    """Print warnings on standard error."""
    for warning in warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)


def build_text(summary: dict[str, Any], outcome: list[str]) -> str:
    """Return the summary of a build that published, and the lines of its ``outcome``."""
    lines = [
        f"{summary['output']}: {summary['bytes']} bytes, build id {summary['build_id']}",
        f"{summary['records']} records, {summary['runs']} runs, {summary['locations']} locations",
        f"proven equal to the source at all {proven_text(summary['families'])}",
    ]
    if summary["sample"]:
        lines.append("this is the project's sample, not real data")
    if not summary["codes"]:
        lines.append("no --codes: all codes come from the built-in tables")
    lines += _uncoded_lines(summary["without_code"])
    if summary["non_places"]:
        lines.append(_non_places_line(summary["non_places"]))
    return "\n".join([*lines, *outcome, f"{summary['seconds']:.2f} s"])


def proven_text(families: Iterable[str]) -> str:
    """Return which addresses a proof covers, by the families that the blob has."""
    text = f"{ADDRESS_COUNT} addresses"
    return f"{text} of IPv4, and all of IPv6" if IPV6.name in families else text


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
