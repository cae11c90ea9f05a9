"""Clients in processes of their own."""

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from harness.client import Address
from harness.soak.client import Client
from harness.soak.expected import ExpectedBlob
from harness.soak.judge import Judge
from harness.soak.pool import Pool
from harness.soak.tally import Tally
from harness.soak.timeline import Timeline
from harness.soak.traffic import Traffic

_END_SECONDS = 30

_fork = multiprocessing.get_context("fork")  # the all_expected are shared, not copied


class Load:
    """Keeps a server busy from the beginning of a ``with`` until ``finish``."""

    def __init__(
        self,
        address: Address,
        all_expected: Sequence[ExpectedBlob],
        timeline: Timeline,
        *,
        seed: int = 1,
        connections: int = 32,
        processes: int = 1,
        batch: int = 500,
    ) -> None:
        """Share ``connections`` among ``processes``; batches have up to ``batch`` addresses."""
        self._timeline = timeline
        pool = Pool(all_expected, seed)
        judge = Judge(all_expected, pool, timeline)
        shares = [len(range(n, connections, processes)) for n in range(processes)]
        self._clients = [
            (Client(address, Traffic(pool, f"{seed} {n}", batch), judge, timeline), share)
            for n, share in enumerate(shares)
        ]
        self._running: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []

    def __enter__(self) -> Self:
        for client, share in self._clients:
            receiver, sender = _fork.Pipe(duplex=False)
            process = _fork.Process(target=_ask, args=(client, share, sender))
            process.start()
            sender.close()
            self._running.append((process, receiver))
        return self

    def finish(self) -> Tally:
        """Stop asking; return what was counted."""
        self._timeline.stop()
        tally = Tally()
        for process, receiver in self._running:
            if not receiver.poll(_END_SECONDS):
                raise TimeoutError(f"client {process.pid} does not end")
            try:
                tally.add(receiver.recv())
            except EOFError:
                raise RuntimeError(f"client {process.pid} has died") from None
        return tally

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timeline.stop()
        for process, receiver in self._running:
            receiver.close()
            if kind is not None:
                process.terminate()
            process.join(_END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


def _ask(client: Client, connections: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sender.send(client.run(connections))
