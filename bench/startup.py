"""From the start of nginx to its first right answer. Run it by `bench/startup`."""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from addresses import first_texts
from servers import PATH
from targets import array_of

from harness.client import get
from harness.edge import Edge
from harness.tempdirs import short_tempdir
from ipgeo.blob.reader import Blob

DEADLINE = 20
PAUSE = 0.001

FilePath = click.Path(exists=True, path_type=Path)


class Timed(Edge):
    """An edge that counts as started when it has given the right answer."""

    seconds = 0.0
    """From the start of the process to that answer."""

    def __init__(self, folder: Path, blob: Path, address: str, wanted: object) -> None:
        """Serve ``blob``, which answers ``address`` with ``wanted``, by a worker for each core."""
        super().__init__(folder, blob, IPGEO_WORKERS="auto", IPGEO_DICT_SIZE="64m")
        self._path = f"{PATH}?ip={address}"
        self._wanted = wanted

    def _spawn(self, command: Sequence[str | Path], variables: Mapping[str, str]) -> None:
        self._started = time.monotonic()
        super()._spawn(command, variables)

    def _wait_until_alive(self) -> None:
        # More often than the harness, which only checks that the edge is up.
        while not self._is_right():
            if time.monotonic() > self._started + DEADLINE:
                self.stop()
                raise TimeoutError(f"no right answer within {DEADLINE} s")
            time.sleep(PAUSE)
        self.seconds = time.monotonic() - self._started

    def _is_right(self) -> bool:
        try:
            reply = get(self.address, self._path)
        except (OSError, ValueError):
            return False
        return reply.status == 200 and json.loads(reply.body) == self._wanted


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=11, show_default=True)
@click.argument("blob", type=FilePath)
def main(rounds: int, blob: Path) -> None:
    """Start nginx with BLOB several times, and print how long it took to answer."""
    content = blob.read_bytes()
    address = first_texts(1)[0]
    wanted = array_of(Blob(content), address)
    taken = []
    for _ in range(rounds):
        with short_tempdir() as folder:
            path = folder / "served.blob"
            path.write_bytes(content)
            with Timed(folder, path, address, wanted) as edge:
                taken.append(edge.seconds)
    print(
        f"start to first answer, {len(content):,} bytes, {rounds} rounds:"
        f" median {statistics.median(taken):.3f} s, {min(taken):.3f}–{max(taken):.3f} s"
    )


if __name__ == "__main__":
    main()
