"""Runs a supervisor, and ends when the last process that came of it has ended.

The kernel hands the supervisor's orphans to this process (PR_SET_CHILD_SUBREAPER, prctl(2)), so
none is lost, whatever the supervisor dies of. The supervisor gets a process group of its own: INT
and HUP of a terminal do not reach it. TERM stops everything. The status is the supervisor's.
IPGEO_VAR is the folder of nginx.pid.
"""

import argparse
import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
REPEAT_SECONDS = 0.5
STOP_SECONDS = 15
"""How long processes may take to end after the supervisor has ended."""

AWAITED = (signal.SIGTERM, signal.SIGCHLD)


def main(command: list[str]) -> int:
    """Run ``command``; return its status once its last descendant has ended."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("prctl refuses PR_SET_CHILD_SUBREAPER")
    supervisor = os.posix_spawnp(command[0], command, os.environ, setpgroup=0, setsigmask=())
    status = stop_all(supervisor, wait_for_term(supervisor))
    return os.waitstatus_to_exitcode(status)


def wait_for_term(supervisor: int) -> int | None:
    """Return at TERM (None), or with the wait status of a supervisor that ended by itself."""
    status = None
    while status is None:
        received = signal.sigwaitinfo(AWAITED)
        if received.si_signo == signal.SIGTERM:
            return None
        status = reap(supervisor)
    return status


def stop_all(supervisor: int, status: int | None) -> int:
    """Stop the supervisor unless it has ended with ``status``, then what it left behind."""
    attempts = 0
    while status is None:
        ask_to_stop(supervisor, attempts)
        attempts += 1
        signal.sigtimedwait(AWAITED, REPEAT_SECONDS)
        status = reap(supervisor)
    deadline = time.monotonic() + STOP_SECONDS
    while left := children(os.getpid()):
        late = time.monotonic() > deadline
        for pid in left:
            send(pid, signal.SIGKILL if late else signal.SIGTERM)
        signal.sigtimedwait(AWAITED, REPEAT_SECONDS)
        reap(supervisor)
    return status


def ask_to_stop(supervisor: int, attempts: int) -> None:
    """Send TERM to the supervisor, and again what it sends its children only once.

    A child loses a signal that arrives between fork and exec, when it still has the supervisor's
    handlers. nginx loses a QUIT that arrives before it is at work.
    """
    send(supervisor, signal.SIGTERM)
    if not attempts:
        return
    nginx = nginx_master()
    for pid in children(supervisor):
        send(pid, signal.SIGQUIT if pid == nginx else signal.SIGTERM)


def nginx_master() -> int | None:
    """Return the process id in nginx.pid, or None."""
    try:
        return int((Path(os.environ["IPGEO_VAR"]) / "nginx.pid").read_text())
    except (OSError, ValueError):
        return None


def reap(supervisor: int) -> int | None:
    """Collect the children that have ended; return the supervisor's wait status if it is one."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == supervisor:
                found = ended[1]
    return found


def children(parent: int) -> list[int]:
    """Return the process ids of the children of ``parent``."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if parent_of(entry) == parent]


def parent_of(entry: Path) -> int | None:
    """Return the parent of the process in ``entry`` of /proc; None if it has gone."""
    try:
        # The name, in brackets, may hold anything; state and parent follow it.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that has gone needs none."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def read_command() -> list[str]:
    """Return the supervisor's command with its arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", help="starts the supervisor in the foreground")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    return [given.command, *given.arguments]


if __name__ == "__main__":
    sys.exit(main(read_command()))
