"""`script/agree`: a source in, a table out."""

import sys
from pathlib import Path

import click

from harness.agree.run import Result, compare


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--random",
    "count",
    type=click.IntRange(min=0),
    default=200_000,
    help="Ask for so many random addresses, besides all boundaries.",
)
@click.option("--seed", type=int, default=1, help="Chooses the random addresses.")
def main(source: Path, count: int, seed: int) -> None:
    """Build SOURCE, an MMDB, serve it, and compare all readers with maxminddb.

    Exit status 1 if a single answer of the edge, of the fallback or of `ipgeo-compile lookup`
    differs.
    """
    try:
        result = compare(source, count, seed)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    _report(result)
    sys.exit(0 if result.good else 1)


def _report(result: Result) -> None:
    rows = [
        ("blob", f"{result.blob_bytes:,} bytes"),
        ("addresses", f"{sum(result.asked.values()):,}"),
        *((f"  {name}", f"{count:,}") for name, count in result.asked.items()),
        ("  without data", f"{result.without_data:,}"),
        *((step, f"{seconds:.1f} s") for step, seconds in result.seconds.items()),
        *(
            (name, f"{count.differing:,} differ, {count.seconds:.1f} s")
            for name, count in result.counts.items()
        ),
    ]
    for name, value in rows:
        click.echo(f"{name:<26}{value}")
    for count in result.counts.values():
        for example in count.examples:
            click.echo(f"! {example}", err=True)


if __name__ == "__main__":
    main(prog_name="script/agree")
