"""A container that systemd runs as a machine, with this checkout in /opt/ipgeo.

Its image, with Debian's packages and Python's, has a tag of its own and is kept: a later run builds
it from the engine's cache.
"""

import shlex
import tempfile
from pathlib import Path
from typing import Self

import pytest

from harness import ROOT, engine, wait
from harness.engine import docker
from harness.process import Done

CHECKOUT = "/opt/ipgeo"
_IMAGE = "ipgeo-test-systemd"
_DOCKERFILE = ROOT / "tests" / "ops" / "systemd" / "Dockerfile"
_LOCKS = ("requirements-compiler.lock", "requirements-fallback.lock")
_FOLDERS = ("compiler", "contract", "data", "deploy", "fallback", "lua", "nginx", "script")
_BUILD_SECONDS = 1200
_STOP_SECONDS = 30

# What systemd does for a service needs more than a container has; the engine's own /proc/sys stays
# read-only, so no kernel setting of the host is touched.
_PRIVILEGES = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE"),
    *("--security-opt", "apparmor=unconfined", "--security-opt", "seccomp=unconfined"),
    *("--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/tmp"),  # noqa: S108 - not here
    # As on a real machine: the engine lets ordinary users open all ports.
    *("--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"),
)


def build_image() -> None:
    """Make the image, from the base image that script/base-image makes."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "Dockerfile").write_bytes(_DOCKERFILE.read_bytes())
        for lock in _LOCKS:
            (context / lock).write_bytes((ROOT / lock).read_bytes())
        build = ["docker", "build", "--quiet", "--tag", _IMAGE, folder]
        for command in (["script/base-image"], build):
            done = engine.call(command, seconds=_BUILD_SECONDS)
            if done.status:
                pytest.fail(f"{command[:2]}: {done.out[-2000:]}{done.err}", pytrace=False)


class Machine:
    """In a ``with``: a machine that has started; at the end it is removed."""

    def __init__(self) -> None:
        self._name = f"{engine.RUN}-systemd"

    def __enter__(self) -> Self:
        label = f"{engine.PROJECT_LABEL}={self._name}"
        command = ("--detach", "--name", self._name, "--label", label, *_PRIVILEGES, _IMAGE)
        docker("run", *command)
        try:
            self._wait_until_up()
            self._copy_checkout()
        except BaseException:
            engine.remove(self._name)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        engine.remove(self._name)

    # --- commands ---------------------------------------------------------------------------------

    def run(self, command: str, user: str = "root") -> Done:
        """Run a line of shell to its end."""
        return engine.call(["docker", "exec", "--user", user, self._name, "sh", "-c", command])

    def must(self, command: str) -> str:
        """Run a line of shell, which must succeed; return what it printed, stripped."""
        done = self.run(command)
        if done.status:
            raise RuntimeError(f"{command}: status {done.status}: {done.out}{done.err}")
        return done.out.strip()

    def write(self, path: str, text: str) -> None:
        """Write a file, and the folders above it."""
        folder = shlex.quote(str(Path(path).parent))
        self.must(f"mkdir -p {folder} && printf %s {shlex.quote(text)} >{shlex.quote(path)}")

    def copy(self, source: Path, path: str) -> None:
        """Copy a file or folder of this host to ``path``, readable by all users."""
        docker("cp", str(source), f"{self._name}:{path}")
        self.must(f"chmod -R a+rX {shlex.quote(path)}")

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.must(f"systemctl show --value --property {name} {unit}")

    def is_active(self, unit: str) -> bool:
        """Whether a unit is started, and has not failed since."""
        return self.show(unit, "ActiveState") == "active"

    # --- the machine ------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The address at which this host reaches the machine."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", form, self._name).strip()

    def reboot(self) -> None:
        """End all that runs, as the system does at its end, and start again."""
        docker("restart", "--time", str(_STOP_SECONDS), self._name)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        wait.until(self._is_up, "systemd has started")

    def _is_up(self) -> bool:
        state = self.run("systemctl is-system-running").out.strip()
        return state in ("running", "degraded")

    def _copy_checkout(self) -> None:
        for folder in _FOLDERS:
            docker("cp", str(ROOT / folder), f"{self._name}:{CHECKOUT}/")
        self.must(f"chmod -R a+rX {CHECKOUT}")
        self.must(f"cp {CHECKOUT}/compiler/bin/ipgeo-compile {CHECKOUT}/.venv/bin/")
