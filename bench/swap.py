"""What a load costs: p99 of GETs and memory before and during it. Run it by `bench/swap`."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
import synthetic
from load import Load, Sample, cores, measure
from memory import MIB, our_user, pss

from harness import wait
from harness.client import get
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.ports import free_port
from harness.process import children
from harness.tempdirs import short_tempdir
from ipgeo.blob.check import check_header
from ipgeo.files.atomic import write_atomically

LOAD = Load("get.lua", connections=8)
SAMPLES_PER_SECOND = 20

FilePath = click.Path(exists=True, path_type=Path)


class Memory:
    """The most memory that a server's processes have together, from time to time."""

    def __init__(self, pid: int) -> None:
        """Watch a master and all below it."""
        self.most = 0
        self._pid = pid

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch during a block."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,))
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(1 / SAMPLES_PER_SECOND):
            self.most = max(self.most, sum(map(_pss, _tree(self._pid))))


def _tree(pid: int) -> list[int]:
    try:
        return [pid, *(below for child in children(pid) for below in _tree(child))]
    except OSError:  # it has ended
        return []


def _pss(pid: int) -> int:
    try:
        return pss(pid)
    except (OSError, RuntimeError):  # it has ended
        return 0


class Bench:
    """A running server, and the file that it follows."""

    def __init__(self, server: Edge | Gunicorn, port: int, path: Path) -> None:
        """Measure ``server``, which listens on ``port``."""
        self._server = server
        self._url = f"http://127.0.0.1:{port}"
        self._address = "127.0.0.1", port
        self._path = path
        wait.until(self._build_id, "a blob is loaded")

    def row(self, seconds: int, blob: bytes | None = None) -> str:
        """Return what a load of ``seconds`` has measured; within it ``blob`` is published.

        The server has loaded it at the end.
        """
        memory = Memory(self._server.pid)
        new = check_header(blob, len(blob)) if blob else ""
        publisher = threading.Timer(min(1, seconds / 2), self._publish, [blob])
        publisher.start()
        with memory.watched():
            sample = measure(self._url, LOAD, [self._server.pid], cores()[1], seconds)
            publisher.join()
            # By its own id: another worker may still have the blob before the last one.
            wait.until(lambda: self._build_id() == new or not blob, "the blob is loaded")
        return _figures(sample, memory.most)

    def _publish(self, blob: bytes | None) -> None:
        if blob:
            write_atomically(self._path, blob)

    def _build_id(self) -> str:
        reply = get(self._address, "/readyz")
        return str(json.loads(reply.body)["build_id"]) if reply.status == 200 else ""


def _figures(sample: Sample, memory: int) -> str:
    times = f"{sample.p50_us / 1000:.1f} | {sample.p99_us / 1000:.1f}"
    return f"{sample.per_second:,.0f} | {times} | {memory / MIB:.0f}"


@contextmanager
def edge(folder: Path, path: Path) -> Iterator[Bench]:
    """Run an edge."""
    server = Edge(folder, path, IPGEO_DICT_SIZE="1024m", IPGEO_USER=our_user())
    with server:
        yield Bench(server, server.port, path)


@contextmanager
def fallback(folder: Path, path: Path) -> Iterator[Bench]:
    """Run a fallback of two workers."""
    port = free_port()
    settings = {"IPGEO_FALLBACK_BIND": f"127.0.0.1:{port}", "IPGEO_USER": our_user()}
    with Gunicorn(folder, path, IPGEO_FALLBACK_WORKERS=2, **settings) as server:
        yield Bench(server, port, path)


def print_rows(
    start: Callable[..., AbstractContextManager[Bench]], blobs: list[bytes], seconds: int
) -> None:
    """Print the rows of a server: without a load, and one for each blob, which it loads in turn."""
    with short_tempdir() as folder:
        path = folder / "served.blob"
        path.write_bytes(blobs[-1])
        with start(folder, path) as bench:
            for blob in (None, *blobs):
                what = f"{len(blob) / MIB:.1f} MiB" if blob else "none"
                print(f"| {start.__name__} | {what} | {bench.row(seconds, blob)} |", flush=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.IntRange(1), default=10, show_default=True)
@click.option("--runs", type=click.IntRange(2), default=synthetic.CITY.runs, show_default=True)
@click.argument("blobs", nargs=-1, type=FilePath)
def main(seconds: int, runs: int, blobs: tuple[Path, ...]) -> None:
    """Print a table for the edge and a fallback that load BLOBS in turn."""
    contents = [path.read_bytes() for path in blobs]
    contents = contents or [synthetic.city(count) for count in (runs, runs // 2)]
    print("| server | blob that is loaded | GETs/s | p50 ms | p99 ms | most PSS MiB |")
    print("|---|---|--:|--:|--:|--:|")
    for start in (edge, fallback):
        print_rows(start, contents, seconds)


if __name__ == "__main__":
    main()
