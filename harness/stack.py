"""Both servers working together: the edge, and the fallback as its upstream."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from harness.edge import Edge
from harness.gunicorn import Gunicorn


class Stack:
    """An edge and the fallback that it asks, over the same blob and in the same folder."""

    def __init__(self, folder: Path, blob: Path, **settings: object) -> None:
        """Serve ``blob``; ``settings`` (IPGEO_...) are for both."""
        self.fallback = Gunicorn(folder, blob, **settings)
        self.edge = Edge(folder, blob, conf=None, **settings)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.enter_context(self.fallback)
            started.enter_context(self.edge)
            self._running = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
