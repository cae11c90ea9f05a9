"""A server process: started, watched, and stopped by its own process id."""

import os
import re
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from harness import ROOT, wait
from harness.client import Address, get
from harness.logs import Log

_KEPT = frozenset({"IPGEO_NGINX", "IPGEO_USER"})
_STOP_SECONDS = 60


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Return this process's environment with ``settings`` in the place of the project's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("IPGEO_") or name in _KEPT
    }
    return kept | {name: str(value) for name, value in settings.items()}


class Done(NamedTuple):
    """How a program has ended and what it printed."""

    status: int
    out: str
    err: str


class Server(ABC):
    """A server of the harness; a ``with`` starts and stops it."""

    name = "server"

    def __init__(self, folder: Path, output: str, bad: re.Pattern[str]) -> None:
        """Run below ``folder``; what the process prints goes to the file ``output`` in it."""
        self.folder = folder
        self.output = Log(folder / output, bad)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens."""

    @property
    def pid(self) -> int:
        """The process id of the master."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers: the master's children."""
        return children(self.pid)

    @abstractmethod
    def start(self) -> None:
        """Start it and wait until it answers."""

    def stop(self) -> None:
        """Ask it to quit, and kill it if it does not; one that is not running is left alone."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None
            self._close_logs()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, command: Sequence[str | Path], variables: Mapping[str, str]) -> None:
        with self.output.path.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT
            )

    def _wait_until_alive(self) -> None:
        try:
            wait.until(self._answers, f"{self.name} answers /healthz")
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended: {self.output.text()}")
        try:
            return get(self.address, "/healthz").status == 200
        except (OSError, ValueError):
            return False

    def _close_logs(self) -> None:
        self.output.close()


def children(pid: int) -> list[int]:
    """Return the process ids of the children of process ``pid``."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def parent(pid: int) -> int:
    """Return the process id of the parent of process ``pid``."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def run(command: Sequence[str | Path], variables: Mapping[str, str]) -> None:
    """Run a program to its end; raise RuntimeError with what it printed if it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: status {done.returncode}: {done.stdout}{done.stderr}")
