"""The rights that a test needs, as marks: without them the test is skipped."""

import os
import subprocess
from pathlib import Path

import pytest

from harness import ROOT

_CAP_SYS_PTRACE = 19

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root's privileges")


def _others_may_enter() -> bool:
    return all(path.stat().st_mode & 0o001 for path in (ROOT, *ROOT.parents))


as_other_user = pytest.mark.skipif(
    os.geteuid() != 0 or not _others_may_enter(),
    reason="only root can become another user, who must be able to enter the checkout",
)
"""For a program of the checkout that another user runs: a checkout in /root is closed to others."""


def _may_mount() -> bool:
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return done.returncode == 0


may_mount = pytest.mark.skipif(not _may_mount(), reason="nothing may be mounted here")
"""Root in a plain container may not."""


def _may_look_into_workers() -> bool:
    """Whether this process may read the memory map of a server's worker.

    Root's workers are of another user, which takes CAP_SYS_PTRACE: a plain container has it not.
    """
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.split("CapEff:")[1].split()[0], 16)
    return os.geteuid() != 0 or bool(capabilities >> _CAP_SYS_PTRACE & 1)


may_look_into_workers = pytest.mark.skipif(
    not _may_look_into_workers(), reason="root may not look into other users' processes here"
)
