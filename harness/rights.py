"""The rights that a test needs, as marks: without them the test is skipped."""

import os
import subprocess

import pytest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root's privileges")


def _may_mount() -> bool:
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return done.returncode == 0


may_mount = pytest.mark.skipif(not _may_mount(), reason="nothing may be mounted here")
"""Root in a plain container may not."""
