"""Commands that ask a blob: ``verify``, ``lookup`` and ``inspect``."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ipgeo.blob.reader import Blob, read_blob
from ipgeo.cli import streams
from ipgeo.cli.inputs import codes_in, format_option, options_of
from ipgeo.cli.inspection import blob_facts, blob_text
from ipgeo.cli.paths import InputPath, SourcePath
from ipgeo.cli.present import need_stdout, print_json, proven_text
from ipgeo.compiling.prove import prove
from ipgeo.ranges.address import Address, parse_address
from ipgeo.sources.content import content_name
from ipgeo.sources.registry import read_source


@click.command()
@click.argument("blob", type=InputPath)
@click.option("--against", type=SourcePath, help="Prove the blob equal to this source.")
@format_option
@click.option(
    "--codes", "codes_dir", type=InputPath, help="Folder of the code files it was built with."
)
def verify(
    blob: Path, against: Path | None, format_name: str | None, codes_dir: Path | None
) -> None:
    """Check the structure, checksum and build id of BLOB; with --against, every answer too."""
    if codes_dir and not against:
        raise click.UsageError("--codes goes with --against")
    if format_name and not against:
        raise click.UsageError("--format goes with --against")
    codes = codes_in(codes_dir)
    checked = read_blob(blob)
    click.echo(f"{blob}: sound, build id {checked.build_id}, {checked.runs} runs")
    if against:
        source = read_source(against, format_name, options_of(checked.meta))
        prove(checked, source, codes)
        click.echo(f"equal to {content_name(against)} at all {proven_text(checked.families)}")


@click.command()
@click.argument("blob", type=InputPath)
@click.argument("ip", nargs=-1)
@click.option("--format", "form", type=click.Choice(["array", "object"]), default="array")
def lookup(blob: Path, ip: tuple[str, ...], form: str) -> None:
    """Print each IP (or each line of standard input but blank ones), a tab and its answer as JSON.

    IPv6 has no zone, and is printed as RFC 5952 has it. In ::ffff:0:0/96 and 64:ff9b::/96 the IPv4
    address inside answers. An address without data answers null. One that is not an address is
    reported on standard error, the others are still answered, and the exit status is 1.
    """
    need_stdout()
    checked = read_blob(blob)
    refused = 0
    for number, text in enumerate(ip, start=1) if ip else _input_lines():
        address = parse_address(text)
        if address is None:
            refused += 1
            click.echo(f"input {number}: {text!r} is not an IP address", err=True)
        else:
            click.echo(f"{address}\t{_answer(checked, address, form)}")
        if streams.reader_has_left():
            break
    if refused:
        sys.exit(1)


def _input_lines() -> Iterator[tuple[int, str]]:
    """Yield the lines of standard input that are not blank, with their numbers."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed and no IP is given")
    if isinstance(sys.stdin, io.TextIOWrapper):  # what is not UTF-8 is to be reported, not to raise
        sys.stdin.reconfigure(encoding="utf-8", errors="backslashreplace")
    lines = enumerate(map(str.strip, sys.stdin), start=1)
    return ((number, line) for number, line in lines if line)


def _answer(blob: Blob, address: Address, form: str) -> str:
    answer = blob.answer_to(address)
    if answer is None:
        return "null"
    if form == "array":
        return answer.array.decode()
    return answer.object_form(str(address)).decode()


@click.command()
@click.argument("blob", type=InputPath)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def inspect(blob: Path, as_json: bool) -> None:
    """Print what BLOB says of itself: metadata, sections, and how its answers are made."""
    need_stdout()
    checked = read_blob(blob)
    if as_json:
        print_json(blob_facts(checked))
    else:
        click.echo(blob_text(checked))
