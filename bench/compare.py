"""Measures the targets side by side in interleaved rounds. Run it by `script/bench`."""

import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click
import report
from load import Sample, cores, measure
from servers import AnyServer, Servers
from targets import TARGETS, Target

from harness import ROOT
from harness.edge import Edge
from ipgeo.errors import BlobError
from ipgeo.files.atomic import write_atomically

RESULTS = ROOT / "bench" / "results"
WARM_UP_SECONDS = 1

FilePath = click.Path(path_type=Path)


class Comparison:
    """Some targets on running servers, and the samples taken of them."""

    def __init__(self, servers: Servers, targets: Sequence[Target], wrk_core: int) -> None:
        """Start the servers that the targets need, and check that each target answers rightly."""
        self._servers = servers
        self._wrk_core = wrk_core
        self._running: dict[str, AnyServer] = {}
        self.notes: list[str] = []
        for target in targets:
            self._add(target)
        self.samples: dict[str, list[Sample]] = {name: [] for name in self._running}

    def _add(self, target: Target) -> None:
        server = self._servers.get(target.server)
        problem = target.check(server, self._servers) if server else "nginx lacks the module"
        if server and not problem:
            self._running[target.name] = server
        else:
            self.notes.append(f"{target.name} was left out: {problem}")

    def warm_up(self) -> None:
        """Let LuaJIT compile and the caches fill."""
        for name in self._running:
            self._measure(name, WARM_UP_SECONDS)

    def take_round(self, number: int, seconds: int) -> None:
        """Take a sample of every target; each round begins with another one."""
        names = list(self._running)
        start = number % len(names)
        for name in names[start:] + names[:start]:
            self.samples[name].append(self._measure(name, seconds))
        errors = self._servers.error_lines()
        if errors:
            raise RuntimeError("a server logged:\n" + "\n".join(errors))

    def _measure(self, name: str, seconds: int) -> Sample:
        server, load = self._running[name], TARGETS[name].load
        url = f"http://127.0.0.1:{server.port}"
        try:
            sample = measure(url, load, server.worker_pids(), self._wrk_core, seconds)
        except RuntimeError as error:
            raise RuntimeError(f"{name}: {error}") from None
        if isinstance(server, Edge):
            # Some hundred bytes a request: the logs of a long run would fill a disk.
            os.truncate(server.access_log, 0)
        return sample


def _targets(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> list[Target]:
    names = value.split(",") if value else list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(TARGETS)}")
    return [target for name, target in TARGETS.items() if name in names]


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=21, show_default=True)
@click.option("--seconds", type=click.IntRange(1), default=2, show_default=True, help="Per sample.")
@click.option("--only", "targets", callback=_targets, metavar="A,B", help="Only these targets.")
@click.option("--blob", type=FilePath, required=True, help="The data to serve.")
@click.option("--results", type=FilePath, default=RESULTS, help="Folder for LATEST.md and .json.")
def main(rounds: int, seconds: int, targets: list[Target], blob: Path, results: Path) -> None:
    """Measure ipgeo and its peers side by side; print a table and keep it with all figures."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        samples, facts = compare(blob.read_bytes(), targets, rounds, seconds)
    except (OSError, RuntimeError, BlobError) as error:
        raise click.ClickException(str(error)) from None
    results.mkdir(parents=True, exist_ok=True)
    text = report.as_markdown(samples, facts)
    write_atomically(results / "LATEST.md", text.encode())
    write_atomically(results / "LATEST.json", report.as_json(samples, facts).encode())
    print(text)


def compare(
    blob: bytes, targets: Sequence[Target], rounds: int, seconds: int
) -> tuple[report.Samples, dict[str, Any]]:
    """Take all samples; return them with the facts needed to read them."""
    started = datetime.now(UTC)
    server_core, wrk_core = cores()
    with Servers(blob, server_core) as servers:
        comparison = Comparison(servers, targets, wrk_core)
        if not comparison.samples:
            raise RuntimeError("; ".join(comparison.notes))
        comparison.warm_up()
        for number in range(rounds):
            comparison.take_round(number, seconds)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
        facts = {
            "date": f"{started:%Y-%m-%d %H:%M} UTC",
            **report.machine(),
            "data": report.data(servers.blob),
            "rounds": f"{rounds} of {seconds} s a target",
            "notes": comparison.notes,
        }
    return comparison.samples, facts


if __name__ == "__main__":
    main(prog_name="script/bench")
