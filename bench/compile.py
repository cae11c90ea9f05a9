"""How fast `ipgeo-compile build` is, proof included: by size, and beside mmdb_writer.

usage: bench/compile.py [--rounds N] [--records N,...] [--source FILE.dat --codes FOLDER]

Every run is a process of its own. This one stays small: a child's peak memory is never less than
its parent's.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

HERE = Path(__file__).resolve().parent
COMPILER = [sys.executable, "-P", "-m", "ipgeo"]
SIZES = "100000,500000,1000000,2000000,5000000"

FilePath = click.Path(exists=True, path_type=Path)


@dataclass(frozen=True, slots=True)
class Run:
    """A process that has ended: wall-clock and CPU time in seconds, peak memory in MiB."""

    seconds: float
    cpu: float
    peak: float
    output: str


def run(command: Sequence[object]) -> Run:
    """Run a command to its end; raise RuntimeError if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        process = subprocess.Popen([*map(str, command)], stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: status {process.returncode}")
        output.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Run(seconds, cpu, usage.ru_maxrss / 1024, output.read())


def build(source: Path, blob: Path, codes: Path | None) -> Run:
    """Compile ``source``; the seconds are the command's own, which leave out Python's start."""
    options = ["--codes", codes] if codes else []
    for left in blob.parent.glob(f"{blob.name}*"):
        left.unlink()  # or the gates would compare this size with the previous one
    done = run([*COMPILER, "build", source, *options, "-o", blob, "--json"])
    return Run(json.loads(done.output)["seconds"], done.cpu, done.peak, done.output)


def by_size(folder: Path, sizes: Sequence[int], rounds: int) -> None:
    """Print a row for each size."""
    print("| records | seconds | records/s | µs a record | CPU µs a record | peak MiB | blob MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for size in sizes:
        source, blob = folder / "synthetic.dat", folder / "synthetic.blob"
        run([sys.executable, HERE / "synthetic.py", "dat", size, source])
        runs = [build(source, blob, None) for _ in range(rounds)]
        seconds = statistics.median(r.seconds for r in runs)
        cpu = statistics.median(r.cpu for r in runs)
        print(
            f"| {size:,} | {seconds:.2f} | {size / seconds:,.0f} | {seconds * 1e6 / size:.2f}"
            f" | {cpu * 1e6 / size:.2f} | {max(r.peak for r in runs):.0f}"
            f" | {blob.stat().st_size / 1e6:.1f} |",
            flush=True,
        )


def beside_mmdb_writer(folder: Path, source: Path, codes: Path | None, rounds: int) -> None:
    """Print how long both take, in turn, and how the medians compare."""
    blob, mmdb = folder / "real.blob", folder / "real.mmdb"
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(build(source, blob, codes))
        done = run([sys.executable, HERE / "mmdb_peer.py", blob, mmdb])
        theirs.append(Run(float(done.output), done.cpu, done.peak, ""))
    print("| | seconds, median (least–most) | peak MiB | MB |")
    print("|---|--:|--:|--:|")
    for name, runs, written in (
        ("ipgeo-compile build", ours, blob),
        ("mmdb_writer", theirs, mmdb),
    ):
        seconds = sorted(r.seconds for r in runs)
        print(
            f"| {name} | {statistics.median(seconds):.2f} ({seconds[0]:.2f}–{seconds[-1]:.2f})"
            f" | {max(r.peak for r in runs):.0f} | {written.stat().st_size / 1e6:.2f} |"
        )
    ratio = statistics.median(r.seconds for r in theirs) / statistics.median(
        r.seconds for r in ours
    )
    print(f"\nratio of the medians: {ratio:.1f}")


def _sizes(_ctx: click.Context, _parameter: click.Parameter, value: str) -> list[int]:
    try:
        return [int(text) for text in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value} is not a list of numbers") from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--source", type=FilePath, help="A .dat file to compare with mmdb_writer on.")
@click.option("--codes", type=FilePath, help="Folder of its code files.")
@click.option("--records", callback=_sizes, default=SIZES, show_default=True, metavar="N,…")
@click.option("--sizes/--no-sizes", default=True, help="Measure synthetic sources by size.")
def main(
    rounds: int,
    source: Path | None,
    codes: Path | None,
    records: list[int],
    sizes: bool,  # noqa: FBT001
) -> None:
    """Measure ipgeo-compile build, proof included."""
    with tempfile.TemporaryDirectory() as folder:
        if sizes:
            by_size(Path(folder), records, rounds)
        if source:
            beside_mmdb_writer(Path(folder), source, codes, rounds)


if __name__ == "__main__":
    main()
