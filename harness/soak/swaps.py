"""Publishes one blob after another, as operators do, and sees each of them served."""

import json
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from harness import wait
from harness.client import get
from harness.process import Server
from harness.soak.expected import ExpectedBlob
from harness.soak.timeline import Timeline
from ipgeo.files.atomic import write_atomically

Write = Callable[[Path, bytes], object]

SEEN_SECONDS = 10
_AT_WORK_SECONDS = 0.2


class Swaps:
    """Swaps the blobs at ``path`` in seeded random order."""

    def __init__(
        self,
        server: Server,
        path: Path,
        all_expected: Sequence[ExpectedBlob],
        timeline: Timeline,
        *,
        seed: int = 1,
    ) -> None:
        """``timeline`` gets each swap before it is done, and when it is seen to be served."""
        self._server = server
        self._path = path
        self._expected = all_expected
        self._timeline = timeline
        self._chance = random.Random(seed)
        self.seen = 0

    def swap(
        self, *, hup: bool = False, how: Write = write_atomically, seconds: float = SEEN_SECONDS
    ) -> bool:
        """Publish another blob; return whether /readyz names it within ``seconds``."""
        return self.seen_served(self.publish(hup=hup, how=how), seconds)

    def publish(self, *, hup: bool = False, how: Write = write_atomically) -> int:
        """Publish another blob by ``how``; return the number of the publication."""
        current = self._timeline.current
        blob = self._chance.choice([n for n in range(len(self._expected)) if n != current])
        number = self._timeline.publish(blob)
        how(self._path, self._expected[blob].data)
        if hup:
            os.kill(self._server.pid, signal.SIGHUP)
        return number

    def seen_served(self, number: int, seconds: float = SEEN_SECONDS) -> bool:
        """Wait until /readyz names the blob of a publication; False if it never does."""
        build_id = self._expected[self._timeline.blob(number)].build_id
        try:
            wait.until(lambda: self.serves() == build_id, "the blob is served", seconds)
        except TimeoutError:
            return False
        self._timeline.confirm(number)
        self.seen += 1
        return True

    def serves(self) -> str | None:
        """Return the build id that /readyz names; None if it names none."""
        try:
            reply = get(self._server.address, "/readyz")
        except (OSError, ValueError):
            return None
        return str(json.loads(reply.body)["build_id"]) if reply.status == 200 else None


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes wherever they are, at work if possible, and let them continue at the end."""
    stopped: list[int] = []
    try:
        for pid in pids:
            with suppress(TimeoutError):
                wait.until(partial(_is_in, "R", pid), "it works", _AT_WORK_SECONDS)
            stopped.append(pid)
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            # A system call in progress ends before the process stops.
            wait.until(partial(_is_in, "T", pid), "it stands still")
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def _is_in(state: str, pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == state
