"""The load commands of the service that ipgeo replaces. Run it by `bench/predecessor`."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from servers import PATH

from harness.edge import Edge
from harness.tempdirs import short_tempdir

CONNECTIONS = 5000
GET_ADDRESS, POST_ADDRESS = "165.118.213.9", "125.118.213.9"
POST_LUA = f"""wrk.method = "POST"
wrk.body = '{{"ip":"{POST_ADDRESS}"}}'
wrk.headers["Content-Type"] = "application/json"
wrk.path = "{PATH}"
"""
EXTRA_SECONDS = 60
"""How much longer than its given time a command may run."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

FilePath = click.Path(exists=True, path_type=Path)


@dataclass(frozen=True, slots=True)
class Figures:
    """A command's figures: latencies in seconds; ``timeouts`` is None if it reports none."""

    per_second: float
    p99: float
    longest: float
    requests: int
    failed: int
    timeouts: int | None


@dataclass(frozen=True, slots=True)
class Command:
    """A load command from the predecessor's documentation, and the parser of its output."""

    name: str
    arguments: Sequence[str]


def commands(url: str, folder: Path, seconds: int, timeout: str | None) -> list[Command]:
    """Return the four commands; ``timeout`` is wrk's, 2 s where it is None."""
    limit = ["--timeout", timeout] if timeout else []
    duration = [f"-d{seconds}s", "--latency", *limit]
    target = f"{url}{PATH}"
    script, body = folder / "post.lua", folder / "post_data.txt"
    script.write_text(POST_LUA)
    body.write_text(f'{{"ip":"{POST_ADDRESS}"}}')
    wrk, ab = ["wrk", f"-c{CONNECTIONS}"], ["ab", "-r", "-t", str(seconds), "-c", str(CONNECTIONS)]
    # ab ends at 50,000 requests unless -n comes after -t.
    unlimited = ["-n", "100000000"]
    query = f"{target}?ip={GET_ADDRESS}"
    return [
        Command("wrk GET", [*wrk, "-t10", *duration, query]),
        Command("wrk POST", [*wrk, "-t50", *duration, "-s", str(script), url]),
        Command("ab GET", [*ab, *unlimited, query]),
        Command("ab POST", [*ab, *unlimited, "-p", str(body), "-T", "application/json", target]),
    ]


def read_wrk(text: str) -> Figures:
    """Read what wrk has printed."""
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    *failed, timeouts = (int(number) for number in errors.groups()) if errors else (0, 0)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Figures(
        per_second=float(_found(r"Requests/sec:\s+([\d.]+)", text)),
        p99=_seconds(_found(r"(?m)^ *99%\s+(\S+)", text)),
        longest=_seconds(_found(r"Latency\s+\S+\s+\S+\s+(\S+)", text)),
        requests=int(_found(r"(\d+) requests in", text)),
        failed=sum(failed) + (int(refused[1]) if refused else 0),
        timeouts=timeouts,
    )


def read_ab(text: str) -> Figures:
    """Read what ab has printed: its times are milliseconds."""
    refused = re.search(r"Non-2xx responses:\s+(\d+)", text)
    return Figures(
        per_second=float(_found(r"Requests per second:\s+([\d.]+)", text)),
        p99=int(_found(r"(?m)^ *99%\s+(\d+)", text)) / 1000,
        longest=int(_found(r"100%\s+(\d+)", text)) / 1000,
        requests=int(_found(r"Complete requests:\s+(\d+)", text)),
        failed=int(_found(r"Failed requests:\s+(\d+)", text)) + (int(refused[1]) if refused else 0),
        timeouts=None,
    )


def _found(expression: str, text: str) -> str:
    match = re.search(expression, text)
    if match is None:
        raise RuntimeError(f"no {expression!r} in what the load generator printed:\n{text}")
    return match[1]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if match is None:
        raise RuntimeError(f"not a duration: {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def run(command: Command, seconds: int) -> Figures:
    """Run a command to its end and return its figures; raise RuntimeError if it fails."""
    done = subprocess.run(
        command.arguments,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + EXTRA_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command.name}: status {done.returncode}: {done.stdout}{done.stderr}")
    return (read_wrk if command.arguments[0] == "wrk" else read_ab)(done.stdout)


def row(name: str, figures: Figures) -> str:
    """Return a row of the table."""
    timeouts = "" if figures.timeouts is None else f"{figures.timeouts:,}"
    return (
        f"| {name} | {figures.per_second:,.0f} | {figures.p99:.3f} s | {figures.longest:.3f} s"
        f" | {figures.requests:,} | {figures.failed:,} | {timeouts} |"
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.IntRange(1), default=60, show_default=True)
@click.option("--timeout", metavar="TIME", help="wrk's --timeout, such as 5s; its own is 2s.")
@click.argument("blob", type=FilePath)
def main(seconds: int, timeout: str | None, blob: Path) -> None:
    """Serve BLOB with a worker for each core and put the predecessor's four commands on it.

    Prints a table in Markdown. The exit status is 1 if a request failed or timed out.
    """
    failed = 0
    click.echo("| command | requests/s | p99 | longest | answered | failed | timeouts |")
    click.echo("|---|--:|--:|--:|--:|--:|--:|")
    with short_tempdir() as folder:
        served = folder / "served.blob"
        served.write_bytes(blob.read_bytes())
        with Edge(folder, served, IPGEO_WORKERS="auto", IPGEO_DICT_SIZE="64m") as edge:
            for command in commands(f"http://127.0.0.1:{edge.port}", folder, seconds, timeout):
                figures = run(command, seconds)
                failed += figures.failed + (figures.timeouts or 0)
                click.echo(row(command.name, figures))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
