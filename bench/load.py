"""One measurement: wrk against a server, and the CPU time that both have used."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import ROOT

WRK_SCRIPTS = ROOT / "bench" / "wrk"
ERRORS = ("connect", "read", "write", "status", "timeout")
TIMEOUT = "10s"
"""How long wrk waits for an answer before it counts a timeout."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk sends: a script of bench/wrk with its arguments, over so many connections.

    ``lookups`` is how many addresses a request asks for.
    """

    script: str
    arguments: tuple[str, ...] = ()
    connections: int = 32
    lookups: int = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one target; per lookup, not per request.

    ``cpu_us`` is what the serving processes used. ``server_busy`` and ``wrk_busy`` are shares of a
    core: while wrk is busy all the time, it is wrk that limits ``per_second``.
    """

    per_second: float
    cpu_us: float
    server_busy: float
    wrk_busy: float
    p50_us: int
    p99_us: int
    requests: int

    def as_dict(self) -> dict[str, float]:
        """Return it for JSON, rounded to the significant digits."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def cores() -> tuple[int, int]:
    """Return a core for the servers and another one for wrk."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise RuntimeError("two cores are needed: one for the servers, one for wrk")
    return allowed[0], allowed[1]


@contextmanager
def pinned_to(core: int) -> Iterator[None]:
    """Run processes that are started in this block on this core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time, user and system, that the processes have used so far.

    From schedstat, which counts in nanoseconds: utime + stime of /proc/PID/stat is the same sum in
    ticks of 10 ms. What the kernel does for a connection in soft interrupts is part of both, unless
    it was built with IRQ_TIME_ACCOUNTING; then it is part of neither.
    """
    nanoseconds = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def measure(url: str, load: Load, pids: Sequence[int], core: int, seconds: int) -> Sample:
    """Put ``load`` on ``url`` with wrk on ``core``; ``pids`` are the processes that answer.

    Raises RuntimeError if a single request failed.
    """
    before = cpu_seconds(pids)
    figures = _wrk(url, load, core, seconds)
    used = cpu_seconds(pids) - before
    failed = {name: figures[name] for name in ERRORS if figures[name]}
    if failed or not figures["requests"]:
        raise RuntimeError(f"{url}: {figures['requests']} requests, failed: {failed}")
    lookups = figures["requests"] * load.lookups
    return Sample(
        per_second=lookups / figures["seconds"],
        cpu_us=used * 1e6 / lookups,
        server_busy=used / figures["seconds"],
        wrk_busy=figures["cpu"] / figures["seconds"],
        p50_us=int(figures["p50_us"]),
        p99_us=int(figures["p99_us"]),
        requests=int(figures["requests"]),
    )


def _wrk(url: str, load: Load, core: int, seconds: int) -> dict[str, float]:
    """Run wrk to its end; return its figures as bench/wrk/common.lua writes them."""
    with tempfile.NamedTemporaryFile() as result:
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s"]
        command += ["--timeout", TIMEOUT, "-s", str(WRK_SCRIPTS / load.script), url]
        command += ["--", *load.arguments] if load.arguments else []
        with pinned_to(core):
            wrk = subprocess.Popen(
                command,
                env={**os.environ, "IPGEO_BENCH_JSON": result.name},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            output, _ = wrk.communicate(timeout=seconds + 60)
        finally:
            if wrk.poll() is None:
                wrk.kill()
                wrk.wait()
        content = Path(result.name).read_text()
    if wrk.returncode != 0 or not content:
        raise RuntimeError(f"{' '.join(command)}: status {wrk.returncode}: {output}")
    figures: dict[str, float] = json.loads(content)
    return figures
