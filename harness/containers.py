"""The service in containers: projects of docker-compose, removed completely at the end."""

import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any, Self

import yaml

from harness import ROOT, engine, wait
from harness.engine import docker
from harness.logs import GUNICORN, NGINX, Log
from harness.ports import free_port
from harness.process import Done, environment

EDGE = "edge"
FALLBACKS = ("fallback1", "fallback2", "fallback3")
ALL = (EDGE, *FALLBACKS)

RELOAD = "(SIGHUP) received"
"""What nginx logs of each HUP."""

HEALTHY_SECONDS = 60
_UP_SECONDS = 180

QUICK_HEALTH = yaml.safe_dump(
    {"services": {service: {"healthcheck": {"interval": "1s"}} for service in ALL}}
)
"""An override with frequent health checks, so that tests need not wait for the next one."""

_numbers = itertools.count(1)
_running: "list[Project]" = []


class Project:
    """The services of docker-compose.yml under a name, port and network of their own.

    In a ``with``: at its end everything made is removed, and nothing may be left.
    """

    def __init__(self, folder: Path, *overrides: str, **settings: object) -> None:
        """Keep files in ``folder``; ``settings`` are the variables of .env.example.

        Each of ``overrides`` is the text of a further compose file.
        """
        self.name = engine.project_name(next(_numbers))
        self.port = free_port()
        self.net, outer = (
            str(net.network_address).removesuffix(".0") for net in engine.free_networks(2)
        )
        self.logs = {service: _ServiceLogs(folder, service) for service in ALL}
        files = [ROOT / "docker-compose.yml"]
        for number, text in enumerate(overrides):
            files.append(folder / f"override{number}.yml")
            files[-1].write_text(text)
        # Instead of the .env that a developer may have beside docker-compose.yml.
        self._env_file = folder / "env"
        self._env_file.touch()
        self._settings: dict[str, object] = {
            "IPGEO_PORT": self.port,
            "IPGEO_INNER_NET": self.net,
            "IPGEO_OUTER_NET": outer,
            "IPGEO_TAG": engine.TAG,
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_FILE": ":".join(map(str, files)),
            **settings,
        }

    @property
    def address(self) -> tuple[str, int]:
        """Where the edge is published."""
        return "127.0.0.1", self.port

    def node(self, service: str) -> str:
        """Return the address of a fallback as the edge knows it."""
        return f"{self.net}.1{FALLBACKS.index(service) + 1}:8000"

    def variables(self, **settings: object) -> dict[str, str]:
        """Return the environment for a program that works on this project."""
        return environment({**self._settings, **settings})

    # --- commands ---------------------------------------------------------------------------------

    def compose(self, *arguments: str) -> Done:
        """Run a command of docker-compose."""
        command = ["docker-compose", "--env-file", str(self._env_file), *arguments]
        return engine.call(command, self.variables(), _UP_SECONDS)

    def up(self, *services: str, **settings: object) -> None:
        """Start all services or those named, with changed ``settings`` from now on."""
        self._settings |= settings
        self.fetch_logs()
        done = self.compose(
            "up", "-d", "--no-build", *(["--no-deps"] if services else []), *services
        )
        if done.status:
            raise RuntimeError(f"up: {done.err}")

    def run(self, *arguments: str, inputs: Path | None = None) -> Done:
        """Run the compiler with the folder ``inputs`` as /in."""
        volume = ["-v", f"{inputs}:/in:ro"] if inputs else []
        return self.compose("run", "--rm", "-T", *volume, "compiler", *arguments)

    def build(self, inputs: Path, source: str, *flags: str) -> Done:
        """Refresh the data from a source in the folder ``inputs``, where its codes are too."""
        done = self.run("build", f"/in/{source}", "--codes", "/in", *flags, inputs=inputs)
        assert done.status == 0, done.err
        return done

    # --- containers -------------------------------------------------------------------------------

    def containers(self, service: str = "") -> list[str]:
        """Return the ids of the containers, of one service or of all, without those of `run`."""
        labels = {engine.PROJECT_LABEL: self.name, "com.docker.compose.oneoff": "False"}
        if service:
            labels["com.docker.compose.service"] = service
        filters = [f"--filter=label={name}={value}" for name, value in labels.items()]
        return docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        (container,) = self.containers(service)
        return container

    def inspect(self, service: str) -> dict[str, Any]:
        """Return the engine's facts about a service's container."""
        return inspect(self.container(service))

    def wait_until_healthy(self, *services: str) -> None:
        """Return when all services, or those named, are healthy."""
        for service in services or ALL:
            healthy = partial(self._is_healthy, service)
            wait.until(healthy, f"{service} is healthy", HEALTHY_SECONDS)

    def _is_healthy(self, service: str) -> bool:
        state = self.inspect(service)["State"]
        return bool(state["Running"]) and state["Health"]["Status"] == "healthy"

    def fetch_logs(self) -> None:
        """Take what the containers have logged since the last time into the files of ``logs``."""
        for service, log in self.logs.items():
            for container in self.containers(service):
                log.fetch(container)

    # --- beginning and end ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        _running.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.fetch_logs()
            for log in self.logs.values():
                log.error_log.close()
            done = self.compose("down", "--volumes", "--timeout", "5")
            left = engine.left_of(self.name)
        finally:
            _running.remove(self)
            engine.remove(self.name)
        assert not left, f"{left} is left: {done.err}"


class _ServiceLogs:
    """What the containers of a service have logged: its errors, and its accesses."""

    def __init__(self, folder: Path, service: str) -> None:
        self.error_log = Log(
            folder / f"{service}.error.log", NGINX if service == EDGE else GUNICORN
        )
        self.access_log = folder / f"{service}.access.log"
        self._last: dict[str, str] = {}

    def fetch(self, container: str) -> None:
        last = self._last.get(container, "")
        since = ["--since", last] if last else []
        done = engine.call(["docker", "logs", "--timestamps", *since, container])
        if done.status:
            raise RuntimeError(f"docker logs: {done.err}")
        newest = last
        for text, path in ((done.out, self.access_log), (done.err, self.error_log.path)):
            stamped = [line.partition(" ") for line in text.splitlines()]
            # Lines with the last line's own time stamp are returned again.
            new = [(time, line) for time, _, line in stamped if time > last]
            newest = max([newest, *(time for time, _ in new)])
            with path.open("a") as file:
                file.writelines(f"{line}\n" for _, line in new)
        self._last[container] = newest


def inspect(container: str) -> dict[str, Any]:
    """Return the engine's facts about a container."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", container))
    return found[0]


def execute(container: str, *command: str) -> Done:
    """Run a program in a container."""
    return engine.call(["docker", "exec", container, *command])


def fetch_logs() -> None:
    """Take what the containers of all projects have logged into files, where it is judged."""
    for project in _running:
        project.fetch_logs()


def fields_of(container: str, path: str) -> dict[str, str]:
    """Return a file of /proc, with a name and a value in each line, from inside a container."""
    pairs = (line.partition(":") for line in execute(container, "cat", path).out.splitlines())
    return {name: value.strip() for name, _, value in pairs}
