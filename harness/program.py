"""What an operator starts: script/server, or a supervisord, with all its descendants."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from harness import ROOT, wait
from harness.client import Address, get
from harness.ports import free_port
from harness.process import environment

SCRIPT = ROOT / "script" / "server"
START_SECONDS = 60
STOP_SECONDS = 60


class Program:
    """A running program, in a session of its own so that all its processes can be found."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str | Path],
        cwd: Path,
        settings: Mapping[str, str],
        variables: Mapping[str, str],
    ) -> None:
        """Start ``command`` in the folder ``cwd``; what it prints goes to a file in ``folder``.

        ``settings`` are for its servers, ``variables`` are its own environment.
        """
        self._port = settings["IPGEO_PORT"]
        self.var = cwd / settings["IPGEO_VAR"]
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def port(self) -> int:
        """The port that nginx is to listen on."""
        return int(self._port)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.port

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text()

    def wait_until_serving(self) -> None:
        """Return when nginx and the fallback answer."""
        wait.until(self._serves, "nginx and gunicorn answer", START_SECONDS)

    def wait_until_complete(self) -> None:
        """Return when script/server has printed what there is to try, and both answer."""
        wait.until(self._is_complete, "script/server serves", START_SECONDS)

    def session(self) -> list[int]:
        """Return the ids of all living processes of its session."""
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _session(entry) == self.process.pid
        ]

    def pid_of(self, name: str) -> int:
        """Return what the pid file ``name`` says."""
        return int((self.var / name).read_text())

    def close(self) -> None:
        """Kill everything that still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.session():
            os.kill(pid, signal.SIGKILL)

    def _serves(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"it has ended: {self.text()}")
        return all(_answers(address) for address in (self.address, self.var / "fallback.sock"))

    def _is_complete(self) -> bool:
        return self._serves() and "    curl '" in self.text()


@contextmanager
def program(
    folder: Path, script: Path = SCRIPT, cwd: Path = Path("/"), **settings: object
) -> Iterator[Program]:
    """Run script/server with its files below ``folder``; ``settings`` are IPGEO_... variables."""
    folder.mkdir(exist_ok=True)
    given = {"IPGEO_VAR": folder / "var", "IPGEO_PORT": free_port(), "IPGEO_WORKERS": 2}
    variables = environment(given | settings)
    with closing(Program(folder, [script], cwd, variables, variables)) as running:
        yield running


def _answers(address: Address) -> bool:
    try:
        return get(address, "/readyz").status == 200
    except (OSError, ValueError):
        return False


def _session(entry: Path) -> int | None:
    """Return the session of a process; None for one that has ended, if only as a zombie."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[3])
