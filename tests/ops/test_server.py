"""script/server and its supervisor: what an operator sees, and what is left at the end."""

import json
import os
import pwd
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT, blobs, wait
from harness.client import get
from harness.ports import free_port
from harness.process import children, environment, parent
from harness.program import SCRIPT, Program, program
from harness.rights import as_root
from harness.tempdirs import short_tempdir

GOOGLE = ["美国", "US", "美国", "None", "", "None", "Google Public DNS", ""]
PID_FILES = ("fallback.pid", "nginx.pid")
STOP_SECONDS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    """One for all tests that only look at it."""
    with short_tempdir() as folder, program(folder / "first") as running:
        running.wait_until_complete()
        yield running


def asked(running: Program, ip: str = "8.8.8.8") -> list[str]:
    reply = get(running.address, f"/api/ip_query?ip={ip}")
    assert reply.status == 200
    assert "x-ipgeo-served-by" not in reply.headers
    answer: list[str] = json.loads(reply.body)
    return answer


def refusal(folder: Path, **settings: Any) -> str:
    """Start one that must fail at once; return its output."""
    with program(folder, **settings) as failing:
        assert failing.process.wait(STOP_SECONDS) == 1
        wait.until(partial(has_ended, failing), "it leaves nothing running")
        assert not (folder / "var").exists(), "it leaves no folder"
        assert "not ready" not in failing.text(), "no server was started"
        return failing.text()


def test_it_compiles_the_sample_and_prints_its_address(server: Program) -> None:
    text = server.text()
    url = f"http://127.0.0.1:{server.port}"
    assert re.search(
        r"^==> no blob at \S+/var/ipgeo\.blob: compiling the sample$", text, re.MULTILINE
    )
    assert "this is the project's sample, not real data" in text
    assert text.endswith(
        f"==> ipgeo serves {url} (Ctrl-C stops it)\n    curl '{url}/api/ip_query?ip=8.8.8.8'\n"
    )
    assert asked(server) == GOOGLE


def test_the_fallback_serves_too(server: Program) -> None:
    path = server.var / "fallback.sock"
    reply = get(path, "/api/ip_query?ip=8.8.8.8")
    assert json.loads(reply.body) == GOOGLE
    assert reply.headers["x-ipgeo-served-by"] == "fallback"


def test_a_fallback_with_two_addresses_is_asked_at_the_first(folder: Path) -> None:
    path, port = folder / "first" / "var" / "fallback.sock", free_port()
    bind = f"unix:{path}, 127.0.0.1:{port}"
    with program(folder / "first", IPGEO_FALLBACK_BIND=bind, IPGEO_MODE="proxy") as server:
        server.wait_until_complete()
        for address in (server.address, ("127.0.0.1", port)):
            reply = get(address, "/api/ip_query?ip=8.8.8.8")
            assert json.loads(reply.body) == GOOGLE
            assert reply.headers["x-ipgeo-served-by"] == "fallback"
        conf = (server.var / "nginx" / "nginx.conf").read_text()
        assert set(re.findall(r'server "(.*)"', conf)) == {f"unix:{path}"}


@as_root
def test_workers_of_root_run_as_another_user(server: Program) -> None:
    user = pwd.getpwnam("www-data").pw_uid
    for name in PID_FILES:
        master = server.pid_of(name)
        wait.until(partial(has_workers, master, 2), f"the workers of {name} are there")
        for worker in children(master):
            wait.until(partial(is_run_by, user, worker), f"a worker of {name} has given up root")


def has_workers(master: int, count: int) -> bool:
    return len(children(master)) == count


def is_run_by(user: int, pid: int) -> bool:
    return f"Uid:\t{user}\t{user}\t{user}\t{user}\n" in Path(f"/proc/{pid}/status").read_text()


def test_a_port_that_is_in_use(server: Program) -> None:
    with short_tempdir() as folder:
        text = refusal(folder / "other", IPGEO_PORT=server.port)
    assert f"server: port {server.port} on 127.0.0.1 is in use" in text
    assert "IPGEO_PORT" in text
    assert asked(server) == GOOGLE


def test_a_folder_that_is_in_use(server: Program) -> None:
    var = server.var
    with short_tempdir() as folder:
        text = refusal(folder / "other", IPGEO_VAR=var)
    assert f"server: another script/server runs with this IPGEO_VAR: {var}\n" in text
    assert asked(server) == GOOGLE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IPGEO_PORT", "0"),
        ("IPGEO_PORT", "http"),
        ("IPGEO_WORKERS", "-1"),
        ("IPGEO_FALLBACK_WORKERS", "0"),
        ("IPGEO_FALLBACK_BIND", "localhost"),
        ("IPGEO_LOG_SIZE", "99k"),
        ("IPGEO_LOG_SIZE", "1025m"),
        ("IPGEO_LOG_SIZE", "10MB"),
        ("IPGEO_LOG_FILES", "0"),
        ("IPGEO_MODE", "both"),
        ("IPGEO_UPSTREAMS", "127.0.0.1:http"),
        ("IPGEO_BIND", "localhost"),
        ("IPGEO_DICT_SIZE", "1t"),
        ("IPGEO_VAR", '/run/a"quote'),
    ],
)
def test_a_setting_that_is_not_valid(folder: Path, name: str, value: str) -> None:
    text = refusal(folder / "other", **{name: value})
    last = text.splitlines()[-1]
    assert name in last
    assert value in last
    assert "Traceback" not in text


SCRIPT_ITSELF, ITS_GROUP, SUPERVISOR, REAPER = "script", "group", "supervisor", "reaper"


@dataclass
class End:
    """The signal, its receivers and the script's status. Each is also started in its own way."""

    number: signal.Signals
    to: str = SCRIPT_ITSELF
    status: int = 0
    script: Path = SCRIPT
    settings: dict[str, Any] = field(default_factory=dict)

    def come(self, server: Program) -> None:
        if self.to == ITS_GROUP:  # as a terminal does
            os.killpg(server.process.pid, self.number)
        else:
            os.kill(self._pid(server), self.number)

    def _pid(self, server: Program) -> int:
        if self.to == SCRIPT_ITSELF:
            return server.process.pid
        supervisor = server.pid_of("supervisord.pid")
        return supervisor if self.to == SUPERVISOR else parent(supervisor)


ENDS = {
    "TERM": End(signal.SIGTERM),
    "INT": End(signal.SIGINT, settings={"IPGEO_BLOB": "fiction.blob"}),
    "Ctrl-C in a terminal": End(signal.SIGINT, ITS_GROUP, script=Path("link")),
    "a terminal that is closed": End(
        signal.SIGHUP, ITS_GROUP, settings={"IPGEO_VAR": "a folder/var"}
    ),
    "KILL": End(signal.SIGKILL, status=-signal.SIGKILL),
    "KILL of the supervisor": End(signal.SIGKILL, SUPERVISOR, status=1),
    "KILL of what reaps its orphans": End(signal.SIGKILL, REAPER, status=1),
}
UNAWAITED = ("KILL", "KILL of what reaps its orphans")
"""After these, the kernel stops the other processes, and script/server does not wait for them."""


def test_many_side_by_side_leave_nothing(folder: Path) -> None:
    """Called in another folder: relative settings begin there. One is called through links."""
    (folder / "middle").symlink_to(SCRIPT)
    (folder / "link").symlink_to("middle")
    blob = folder / "fiction.blob"
    blob.write_bytes(blobs.fictional())
    before = blob.stat().st_ino, blob.stat().st_mtime_ns
    with ExitStack() as running:
        servers = {}
        for number, (name, end) in enumerate(ENDS.items()):
            started = program(folder / str(number), folder / end.script, folder, **end.settings)
            servers[name] = running.enter_context(started)
        for server in servers.values():
            server.wait_until_complete()
            assert len(server.session()) >= 7, "script, supervisor, two masters, their workers"
        assert asked(servers["INT"], blobs.ATLANTIS_IP)[0] == "Atlantis"
        assert "compiling" not in servers["INT"].text()
        assert (blob.stat().st_ino, blob.stat().st_mtime_ns) == before
        assert all(asked(server) == GOOGLE for name, server in servers.items() if name != "INT")
        assert (folder / "a folder" / "var" / "nginx.pid").exists()
        for name, server in servers.items():
            ENDS[name].come(server)
        for name, server in servers.items():
            assert server.process.wait(STOP_SECONDS) == ENDS[name].status, name
            if name in UNAWAITED:
                wait.until(partial(has_ended, server), "all have ended", STOP_SECONDS)
            assert server.session() == [], name
            assert not (server.var / "nginx.pid").exists(), name


def test_after_a_kill_the_next_one_waits_for_what_is_left(folder: Path) -> None:
    with program(folder / "first") as server:
        server.wait_until_complete()
        server.process.kill()
        server.process.wait()
        with program(folder / "second", IPGEO_VAR=server.var) as second:
            second.wait_until_complete()
            assert asked(second) == GOOGLE
            assert second.pid_of("server.pid") == second.process.pid
            second.process.terminate()
            assert second.process.wait(STOP_SECONDS) == 0
        assert list(server.var.glob("*.pid*")) == []


HOLD = """\
import os, sys, time

def held(name):
    open(f"{FOLDER}/{name}", "w").close()
    while not os.path.exists(f"{FOLDER}/go"):
        time.sleep(0.01)

def fork(real=os.fork):
    pid = real()
    if pid == 0:
        held("child")
    return pid

if sys.orig_argv[1].endswith(f"/bin/{PROGRAM}"):
    if AT == "import":
        held("importing")
    elif AT == "exec":
        os.fork = fork
"""


def hold(folder: Path, program: str, at: str) -> Path:
    """Make what Python executes first, which holds a program there until `go` is in the folder."""
    folder.mkdir()
    constants = {"FOLDER": str(folder), "PROGRAM": program, "AT": at}
    lines = [f"{name} = {value!r}\n" for name, value in constants.items()]
    (folder / "sitecustomize.py").write_text("".join(lines) + HOLD)
    return folder


def test_an_interrupt_before_the_servers_are_executed(folder: Path) -> None:
    """Supervisor sends TERM once, and a child that it has just forked loses it."""
    held = hold(folder / "held", "supervisord", at="exec")
    with program(folder / "first", PYTHONPATH=held) as server:
        log = server.var / "log" / "supervisord.log"
        says = partial(contains, log)
        wait.until(partial(says, "spawned: 'ipgeo-fallback'"), "gunicorn is forked", STOP_SECONDS)
        server.process.send_signal(signal.SIGINT)
        wait.until(partial(says, "waiting for ipgeo-edge, ipgeo-fallback to die"), "TERM is sent")
        (held / "go").touch()
        assert server.process.wait(STOP_SECONDS) == 0
        assert server.session() == []
        assert "SIGKILL" not in log.read_text()
        assert "SIGTERM" in log.read_text()


def contains(file: Path, text: str) -> bool:
    return file.exists() and text in file.read_text()


@pytest.mark.parametrize("name", ["supervisord", "gunicorn"])
def test_an_interrupt_while_python_imports(folder: Path, name: str) -> None:
    held = hold(folder / "held", name, at="import")
    with program(folder / "first", PYTHONPATH=held) as server:
        wait.until((held / "importing").exists, f"{name} imports", STOP_SECONDS)
        os.killpg(server.process.pid, signal.SIGINT)
        (held / "go").touch()
        assert server.process.wait(STOP_SECONDS) == 0
        assert server.session() == []
        assert server.text().endswith("==> stopping\n")
        assert "Traceback" not in server.text()
        assert "KeyboardInterrupt" not in server.text()


def has_ended(server: Program) -> bool:
    return not server.session()


def test_masters_that_die_are_replaced(folder: Path) -> None:
    with program(folder / "first") as server:
        server.wait_until_complete()
        masters = {name: server.pid_of(name) for name in PID_FILES}
        for master in masters.values():
            os.kill(master, signal.SIGKILL)
        for name, master in masters.items():
            replaced = partial(is_replaced, server.var / name, master)
            wait.until(replaced, f"a new one in {name}")
        server.wait_until_complete()
        assert asked(server) == GOOGLE
        server.process.terminate()
        assert server.process.wait(STOP_SECONDS) == 0
        assert server.session() == []


def is_replaced(file: Path, first: int) -> bool:
    return file.exists() and file.read_text().strip() not in ("", str(first))


def test_a_port_that_another_program_uses(folder: Path) -> None:
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert f"port {port} on 127.0.0.1 is in use" in refusal(folder / "x", IPGEO_PORT=port)


OPERATORS_OWN = """\
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
{environment}

[include]
files = {root}/deploy/supervisor-programs.conf
"""


def operators_supervisord(folder: Path, settings: dict[str, str], line: str) -> Program:
    """Start one, far from its configuration, with ``line`` for the environment of the programs."""
    configuration = folder / "supervisord.conf"
    configuration.write_text(OPERATORS_OWN.format(folder=folder, environment=line, root=ROOT))
    command = (Path(sys.executable).with_name("supervisord"), "-c", configuration)
    return Program(folder, command, Path("/"), settings, environment({}))


def test_the_programs_under_an_operators_own_supervisor(folder: Path) -> None:
    var = folder / "var"
    (var / "log").mkdir(parents=True)
    (var / "ipgeo.blob").write_bytes(blobs.fictional())
    settings = {"IPGEO_VAR": str(var), "IPGEO_PORT": str(free_port())}
    pairs = ",".join(f'{name}="{value}"' for name, value in settings.items())
    with closing(operators_supervisord(folder, settings, f"environment = {pairs}")) as running:
        running.wait_until_serving()
        assert asked(running, blobs.ATLANTIS_IP)[0] == "Atlantis"
        os.kill(int((folder / "supervisord.pid").read_text()), signal.SIGTERM)
        assert running.process.wait(STOP_SECONDS) == 0
        assert running.session() == []
        assert not (var / "nginx.pid").exists()


def test_an_operators_supervisor_names_what_it_lacks(folder: Path) -> None:
    settings = {"IPGEO_VAR": "none", "IPGEO_PORT": "0"}
    with closing(operators_supervisord(folder, settings, line="")) as failing:
        assert failing.process.wait(STOP_SECONDS) == 2
        text = failing.text()
        assert "contains names ('ENV_IPGEO_VAR') which cannot be expanded" in text
        assert "deploy/supervisor-programs.conf" in text
        assert "Traceback" not in text
