"""A whole run: a server of its own, swaps under load, and the result."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.process import Server
from harness.soak import interrupts
from harness.soak.expected import ExpectedBlob, make
from harness.soak.load import Load
from harness.soak.swaps import Swaps, frozen
from harness.soak.tally import Tally
from harness.soak.timeline import Timeline
from harness.tempdirs import short_tempdir

SIZES = (13_000, 1_200_000, 3_000_000)
"""The runs of the blobs: these have about 1, 20 and 40 MB."""

NEVER = 3600
_DICT_SIZE = "128m"
_HUP_PAUSE = 0.2
_FREEZE_EVERY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run; times are in seconds.

    The run ends after ``swaps`` swaps and not before ``seconds``; ``steady`` is how long the load
    runs before the first swap. Without ``interval`` the server checks the file only at a HUP.
    """

    swaps: int = 0
    seconds: float = 0
    steady: float = 2
    interval: float | None = 0.1
    hup: bool = False
    freeze: bool = False
    fallback: bool = False
    workers: int = 2
    connections: int = 32
    processes: int = 1
    batch: int = 500
    seed: int = 1
    sizes: Sequence[int] = SIZES


@dataclass
class Result:
    """The result: ``swaps`` were published, ``seen`` of them were seen to be served.

    ``blob_bytes`` are the sizes of the blobs.
    """

    swaps: int = 0
    seen: int = 0
    blob_bytes: list[int] = field(default_factory=list)
    seconds: float = 0
    tally: Tally = field(default_factory=Tally)
    error_lines: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether there was no fault; only retried requests are allowed."""
        return self.tally.faultless and self.seen == self.swaps and not self.error_lines


def run(plan: Plan, **settings: object) -> Result:
    """Do it; ``settings`` are further environment variables (IPGEO_...) of the server."""
    with interrupts.taken():
        all_expected = make(plan.sizes, plan.seed)
    timeline = Timeline(first=0)
    with short_tempdir() as folder:
        path = folder / "served.blob"
        path.write_bytes(all_expected[0].data)
        server = _server(plan, folder, path, settings)
        with server:
            swaps = Swaps(server, path, all_expected, timeline, seed=plan.seed)
            result = _soak(plan, server, swaps, all_expected, timeline)
        edge_logs = [server.error_log, server.request_log] if isinstance(server, Edge) else []
        logs = [server.output, *edge_logs]
        result.blob_bytes = [len(expected.data) for expected in all_expected]
        result.error_lines = [line for log in logs for line in log.take()]
    return result


def _server(plan: Plan, folder: Path, path: Path, settings: dict[str, object]) -> Server:
    interval = NEVER if plan.interval is None else plan.interval
    settings = {"IPGEO_REFRESH_INTERVAL": f"{interval:g}", **settings}
    if plan.fallback:
        # One worker: /readyz shows the state of the worker that answers it, and of no other.
        return Gunicorn(
            folder,
            path,
            **settings,
            IPGEO_FALLBACK_WORKERS=1,
            IPGEO_BATCH_LIMIT=plan.batch,
            GUNICORN_CMD_ARGS="--max-requests 0",
        )
    settings = {
        "IPGEO_WORKERS": plan.workers,
        "IPGEO_DICT_SIZE": _DICT_SIZE,
        "IPGEO_BATCH_LIMIT": plan.batch,
        **settings,
    }
    return Edge(folder, path, None, **settings)


def _soak(
    plan: Plan,
    server: Server,
    swaps: Swaps,
    all_expected: Sequence[ExpectedBlob],
    timeline: Timeline,
) -> Result:
    chance = random.Random(plan.seed)
    pause = _HUP_PAUSE if plan.interval is None else plan.interval
    with interrupts.taken():
        load = Load(
            server.address,
            all_expected,
            timeline,
            seed=plan.seed,
            connections=plan.connections,
            processes=plan.processes,
            batch=plan.batch,
        )
    result = Result()
    with load, interrupts.taken():
        begin = time.monotonic()
        time.sleep(plan.steady)
        while result.swaps < plan.swaps or time.monotonic() - begin < plan.seconds:
            if plan.freeze and result.swaps % _FREEZE_EVERY == 0:
                # The first worker loads; what the others are reading is overwritten.
                with frozen(server.worker_pids()[1:]):
                    for _ in range(3):
                        swaps.swap()
                result.swaps += 3
            else:
                swaps.swap(hup=plan.hup)
                result.swaps += 1
            time.sleep(chance.uniform(0, pause))
        result.seconds = time.monotonic() - begin
        result.tally = load.finish()
    result.seen = swaps.seen
    return result
