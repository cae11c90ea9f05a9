"""How much memory nginx takes, by workers and by size of the blob. Run it by `bench/memory`.

PSS counts a page that several processes share once, in parts: what is left of it without the blob
must not grow with the blob, and a further worker must cost less than a further copy.
"""

import os
import pwd
from pathlib import Path

import click
import synthetic
from load import Load, cores, measure

from harness.edge import Edge
from harness.tempdirs import short_tempdir

LOAD = Load("get.lua", connections=256)
"""Enough connections for every worker to get some."""

MIB = 1 << 20

FilePath = click.Path(exists=True, path_type=Path)


def pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"no Pss for process {pid}")


def our_user() -> str:
    """Return the name of this process's user: another user's memory may not be looked at."""
    return pwd.getpwuid(os.geteuid()).pw_name


def measured(blob: bytes, workers: int, seconds: int) -> int:
    """Return the PSS of all processes of an edge that has just been under load."""
    with short_tempdir() as folder:
        path = folder / "served.blob"
        path.write_bytes(blob)
        edge = Edge(
            folder, path, IPGEO_WORKERS=workers, IPGEO_DICT_SIZE="256m", IPGEO_USER=our_user()
        )
        with edge:
            url = f"http://127.0.0.1:{edge.port}"
            measure(url, LOAD, edge.worker_pids(), cores()[1], seconds)
            return sum(map(pss, [edge.pid, *edge.worker_pids()]))


def _counts(_ctx: click.Context, _parameter: click.Parameter, value: str) -> list[int]:
    try:
        numbers = [int(text) for text in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value} is not a list of numbers") from None
    if min(numbers) < 1:
        raise click.BadParameter("an nginx has at least one worker")
    return numbers


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.IntRange(1), default=3, show_default=True, help="Of load.")
@click.option("--workers", callback=_counts, default="1,2,4,8", show_default=True, metavar="N,…")
@click.option("--runs", type=click.IntRange(1), default=684_000, show_default=True)
@click.argument("blobs", nargs=-1, type=FilePath)
def main(seconds: int, workers: list[int], runs: int, blobs: tuple[Path, ...]) -> None:
    """Print a table for BLOBS and for a synthetic one of so many runs."""
    contents = {path.name: path.read_bytes() for path in blobs}
    contents[f"{runs:,} synthetic runs"] = synthetic.blob(runs)
    print("| blob | MiB | workers | PSS MiB | PSS without the blob | a further worker |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, blob in contents.items():
        before: tuple[int, int] | None = None
        for count in workers:
            total = measured(blob, count, seconds)
            more = ""
            if before:
                more = f"{(total - before[1]) / (count - before[0]) / MIB:.2f}"
            print(
                f"| {name} | {len(blob) / MIB:.2f} | {count} | {total / MIB:.2f}"
                f" | {(total - len(blob)) / MIB:.2f} | {more} |",
                flush=True,
            )
            before = count, total


if __name__ == "__main__":
    main()
