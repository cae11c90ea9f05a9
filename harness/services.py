"""ipgeo as deploy/systemd/install puts it on a machine: its services, their settings and data."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from harness import wait
from harness.client import Reply, get
from harness.machine import CHECKOUT, Machine
from harness.sources import dat, write_codes

EDGE, FALLBACK, REFRESH = "ipgeo-edge", "ipgeo-fallback", "ipgeo-refresh"
SERVERS = (EDGE, FALLBACK)
INSTALL = f"{CHECKOUT}/deploy/systemd/install"
ENABLE = f"systemctl enable --quiet --now {EDGE} {FALLBACK} {REFRESH}.timer"
LOGS = "/var/log/ipgeo-edge"
BLOB = "/var/lib/ipgeo/ipgeo.blob"

QUERY = "/api/ip_query?ip=8.8.8.8"
SAMPLE_ANSWER = '["美国","US","美国","None","","None","Google Public DNS",""]'
_PORT = 8080

SETTINGS = "/etc/ipgeo/ipgeo.env"
_SEEN_OUTSIDE = "IPGEO_BIND=0.0.0.0\n"

_ARGUMENTS = "/etc/ipgeo/refresh.env"
_SOURCE = "/srv/ipgeo"
SAMPLE = f"BUILD_ARGUMENTS={CHECKOUT}/data/sample.dat --codes {CHECKOUT}/data\n"
OWN = f"BUILD_ARGUMENTS={_SOURCE}/source.dat --codes {_SOURCE}\n"


class Services(Machine):
    """In a ``with``: a machine on which edge and fallback answer from the sample."""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.must(INSTALL)
            self.write_settings("")
            self.must(f"systemctl start {REFRESH} && {ENABLE}")
        except BaseException:
            self.__exit__()
            raise
        return self

    # --- settings ---------------------------------------------------------------------------------

    def write_settings(self, lines: str) -> None:
        """Write the settings file, with which this host still reaches the edge."""
        self.write(SETTINGS, f"{_SEEN_OUTSIDE}{lines}\n")

    @contextmanager
    def drop_in(self, unit: str, text: str) -> Iterator[None]:
        """Restart a unit with an operator's own lines, and without them at the end."""
        folder = f"/etc/systemd/system/{unit}.d"
        apply = f"systemctl daemon-reload && systemctl restart {unit}"
        self.write(f"{folder}/test.conf", text)
        try:
            self.must(apply)
            yield
        finally:
            tidy = f"rmdir --ignore-fail-on-non-empty {folder}"
            self.must(f"rm {folder}/test.conf && {tidy} && {apply}")

    # --- data -------------------------------------------------------------------------------------

    def put_source(self, folder: Path, organization: str) -> str:
        """Put a source with one answer for all addresses on the machine; return the answer."""
        source = write_codes(folder / "ipgeo")
        (source / "source.dat").write_bytes(dat([(0, ("日本", "日本", "", organization))]))
        self.must(f"rm -rf {_SOURCE}")
        self.copy(source, _SOURCE)
        return f'["日本","JP","日本","None","","None","{organization}",""]'

    def choose_source(self, arguments: str) -> None:
        """Write the file with the arguments of the build: SAMPLE or OWN."""
        self.write(_ARGUMENTS, arguments)

    def build(self, arguments: str) -> None:
        """Build over whatever is there, and leave ``arguments`` for the builds to come."""
        self.choose_source(f"{arguments.rstrip()} --force\n")
        # `start` would do nothing but wait where the timer has just started it.
        self.must(f"systemctl restart {REFRESH}")
        self.choose_source(arguments)

    # --- answers ----------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        """Where this host reaches the edge."""
        return self.host, _PORT

    def ask(self) -> Reply:
        """Ask the edge for QUERY."""
        return get(self.address, QUERY)

    def answers(self, body: str) -> bool:
        """Whether the edge answers QUERY so, from its own memory."""
        try:
            reply = self.ask()
        except OSError:
            return False
        own = "x-ipgeo-served-by" not in reply.headers
        return own and (reply.status, reply.body.decode()) == (200, body)

    def wait_for(self, body: str) -> None:
        """Return when the edge answers QUERY so."""
        wait.until(partial(self.answers, body), f"the edge answers {body}")

    # --- processes and logs -----------------------------------------------------------------------

    def main_pid(self, unit: str) -> str:
        """Return the process id of a server's master."""
        return self.show(unit, "MainPID")

    def pids(self, unit: str) -> list[str]:
        """Return the process ids of a server: master and workers."""
        master = self.main_pid(unit)
        return [master, *self.must(f"cat /proc/{master}/task/{master}/children").split()]

    def journal(self, unit: str) -> str:
        """Return the messages of a unit since the machine has started."""
        return self.must(f"journalctl --no-pager --output cat --unit {unit}")

    def exposure(self, service: str) -> float:
        """Return what `systemd-analyze security` makes of a service's files: 0 to 10, the worst."""
        unit = f"{service}.service"
        analyze = "systemd-analyze security --offline=true --no-pager"
        text = self.must(f"{analyze} /etc/systemd/system/{unit}")
        found = re.search(rf"exposure level for {re.escape(unit)}: ([0-9.]+)", text)
        assert found, text
        return float(found[1])
