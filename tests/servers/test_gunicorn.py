"""gunicorn's configuration: sockets, new code without a lost answer, logs, settings."""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from harness import blobs, wait
from harness.client import Address, connect, get, request
from harness.edge import Edge
from harness.gunicorn import SOURCE, Gunicorn
from harness.ports import free_port
from harness.process import children
from harness.rights import as_root
from harness.soak.expected import make
from harness.soak.load import Load
from harness.soak.timeline import Timeline

PATH = "/api/ip_query"
QUERY = f"{PATH}?ip={blobs.ATLANTIS_IP}"
EXPECTED = make((500,), seed=6)
ROUNDS = 3


def ask(server: Gunicorn) -> int:
    return get(server.address, QUERY).status


# Sockets


def test_several_sockets(folder: Path, blob: Path) -> None:
    port = free_port()
    binds = f"unix:{folder}/1.sock,127.0.0.1:{port} , unix:{folder}/2.sock"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_BIND=binds):
        for address in (folder / "1.sock", ("127.0.0.1", port), folder / "2.sock"):
            assert get(address, QUERY).body == blobs.ATLANTIS_ARRAY
    assert not list(folder.glob("*.sock"))


def test_ipv6(folder: Path, blob: Path) -> None:
    port = free_port()
    try:
        socket.create_server(("::1", port), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with Gunicorn(folder, blob, IPGEO_FALLBACK_BIND=f"[::1]:{port}") as server:
        assert get(server.address, QUERY).body == blobs.ATLANTIS_ARRAY


# New code under load


@pytest.fixture
def server(folder: Path) -> Gunicorn:
    """A server of an expected blob, from a copy of the code."""
    blob = folder / "expected.blob"
    blob.write_bytes(EXPECTED[0].data)
    server = Gunicorn(folder, blob, IPGEO_FALLBACK_WORKERS=2)
    server.source = folder / "fallback"
    shutil.copytree(SOURCE, server.source, ignore=shutil.ignore_patterns("__pycache__"))
    return server


def renew(source: Path, round_number: int) -> str:
    """Change the code; return the mark of its new answers."""
    code = source / "ipgeo_fallback" / "errors.py"
    name = "fallback" + " again" * round_number
    old = r'("X-IPGeo-Served-By": "fallback")(, "X-Code": "[a-z ]*")?'
    text, count = re.subn(old, rf'\1, "X-Code": "{name}"', code.read_text())
    assert count == 1
    code.write_text(text)
    return name


def served_by(address: Address) -> str:
    return get(address, "/healthz").headers.get("x-code", "fallback")


@contextmanager
def under_load(server: Gunicorn) -> Iterator[ExitStack]:
    """Run it as the upstream of an edge without a blob, and check all answers.

    The callbacks in the exit stack run when the load has ended.
    """
    # No answer may be lost; that a new worker takes long to start on a busy machine is no loss.
    edge = Edge(server.folder, server.folder / "none.blob", None, IPGEO_UPSTREAM_TIMEOUT=30)
    with (
        server,
        edge,
        ExitStack() as afterwards,
        Load(edge.address, EXPECTED, Timeline(first=0), connections=6, batch=100) as load,
    ):
        yield afterwards
        tally = load.finish()
    assert not tally.faults, tally.examples
    assert tally.by_fallback > 0
    assert tally.retried == 0


def wait_for_others(master: int, old: set[int]) -> None:
    wait.until(lambda: not old & set(children(master)), "the old workers end")


# nginx's line about a kept connection that closes under a request; it retries on another one.
retries = pytest.mark.provokes(r"prematurely closed|104: Connection reset|32: Broken pipe")


@retries
def test_hup_loads_new_code(server: Gunicorn) -> None:
    with under_load(server):
        for round_number in range(1, ROUNDS + 1):
            name, old = renew(server.source, round_number), set(server.worker_pids())
            os.kill(server.pid, signal.SIGHUP)
            wait_for_others(server.pid, old)
            assert {served_by(server.address) for _ in range(10)} == {name}
            assert int(server.pid_file.read_text()) == server.pid
    assert "graceful timeout" not in server.output.text()


@retries
def test_a_worker_is_replaced_by_number_of_requests(folder: Path) -> None:
    """The only worker, so that no other could answer."""
    blob = folder / "expected.blob"
    blob.write_bytes(EXPECTED[0].data)
    often = "--max-requests 500 --max-requests-jitter 0"
    server = Gunicorn(folder, blob, IPGEO_FALLBACK_WORKERS=1, GUNICORN_CMD_ARGS=often)
    with under_load(server):
        wait.until(lambda: server.output.text().count("Booting worker") > 5, "they come and go", 30)


def is_alive(pid: int) -> bool:
    """Whether a process has not ended; a zombie counts as ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def upgrade(server: Gunicorn) -> int:
    """Start a second master beside the first one; return its process id."""
    second = server.pid_file.with_name("fallback.pid.2")
    os.kill(server.pid, signal.SIGUSR2)
    wait.until(second.exists, "the second master's pid file")
    return int(second.read_text())


def end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    wait.until(lambda: not is_alive(pid), f"process {pid} ends")


@retries
def test_usr2_replaces_the_master(server: Gunicorn) -> None:
    with under_load(server) as afterwards:
        name = renew(server.source, 1)
        second = upgrade(server)
        afterwards.callback(end, second)
        wait.until(lambda: served_by(server.address) == name, "the second master's workers")
        end(server.pid)
        assert {served_by(server.address) for _ in range(10)} == {name}
        wait.until(server.pid_file.exists, "the second one is the first now")
        assert int(server.pid_file.read_text()) == second
        name, old = renew(server.source, 2), set(children(second))
        os.kill(second, signal.SIGHUP)
        wait_for_others(second, old)
        assert {served_by(server.address) for _ in range(10)} == {name}
    assert not server.pid_file.exists()
    assert "graceful timeout" not in server.output.text()


@pytest.mark.provokes("in worker process|Traceback|exited with code 3|Shutting down|failed to boot")
def test_an_upgrade_that_does_not_start_changes_nothing(server: Gunicorn) -> None:
    with under_load(server):
        # One that loads only now would find the broken code, and end the first master.
        wait.until(lambda: server.output.text().count("loaded blob") == 2, "both have loaded it")
        code = server.source / "ipgeo_fallback" / "api.py"
        code.write_text("raise RuntimeError\n")
        second = upgrade(server)
        wait.until(lambda: not is_alive(second), "the second master ends")
        assert ask(server) == 200
        assert int(server.pid_file.read_text()) == server.pid


# A worker's end


def wait_for_answer(connection: socket.socket) -> None:
    received = b""
    while not received.endswith(blobs.ATLANTIS_ARRAY):
        data = connection.recv(4096)
        assert data, received
        received += data


def test_an_end_waits_for_answers_and_not_for_idle_connections(folder: Path, blob: Path) -> None:
    body = b'{"ip":"1.2.3.4"}'
    post = request("POST", PATH, "Expect: 100-continue", body=body, close=False)
    with (
        Gunicorn(folder, blob) as server,
        connect(server.address) as idle,
        connect(server.address) as busy,
    ):
        for connection in (idle, busy):
            connection.sendall(request("GET", QUERY, close=False))
            wait_for_answer(connection)
        busy.sendall(post[: -len(body)])
        assert b" 100 Continue" in busy.recv(4096)
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGTERM)
        assert idle.recv(1) == b""
        busy.sendall(body)
        wait_for_answer(busy)
        wait.until(lambda: worker not in server.worker_pids(), "the worker ends")
        assert ask(server) == 200
        assert "graceful timeout" not in server.output.text()


# Logs


def lines(*logs: Path) -> list[str]:
    return [line for log in logs for line in log.read_text().splitlines()]


@pytest.mark.parametrize(
    ("target", "logged", "status"),
    [
        (QUERY, PATH, 200),
        (f"{PATH}?ip=x", PATH, 400),
        ("/nothing", "/nothing", 404),
        ("/%0aforged%20%22line%22%1b", r"/\nforged \"line\"\x1b", 404),
        ("/%e4", "-", 404),
        ("/%EF%BC%91.%D9%A2", "-", 404),  # digits, but not ASCII
    ],
)
def test_a_line_of_the_access_log(
    folder: Path, blob: Path, target: str, logged: str, status: int
) -> None:
    log = folder / "access.log"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log) as server:
        before = len(lines(log))
        get(server.address, target, "X-Forwarded-For: 9.8.7.6")
        wait.until(lambda: len(lines(log)) > before, "the request is logged")
    (line,) = lines(log)[before:]
    client, time, rest = line.split(" ", 2)
    assert client == "9.8.7.6"
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d\]", time)
    request_line, numbers = rest[1:].rsplit('" ', 1)
    assert request_line == f"GET {logged} HTTP/1.1"
    assert re.fullmatch(rf"{status} \d+ \d+\.\d+", numbers)


def test_logs_to_the_output(folder: Path, blob: Path) -> None:
    settings = {"IPGEO_FALLBACK_ACCESS_LOG": "-", "IPGEO_FALLBACK_ERROR_LOG": "-"}
    with Gunicorn(folder, blob, **settings) as server:
        get(server.address, QUERY)
        wait.until(lambda: f'"GET {PATH} HTTP/1.1" 200' in server.output.text(), "it is logged")
        assert "[INFO] loaded blob" in server.output.text()


def nothing(_path: Path) -> None:
    """As logrotate with `nocreate`: gunicorn makes the file."""


def create_for_the_workers(path: Path) -> None:
    """As logrotate with `create 0640 www-data adm`."""
    path.touch(0o640)
    shutil.chown(path, "www-data", "adm")


def create_for_root(path: Path) -> None:
    path.touch(0o600)


@pytest.mark.parametrize(
    "create",
    [
        nothing,
        pytest.param(create_for_the_workers, marks=as_root),
        pytest.param(create_for_root, marks=as_root),
    ],
)
def test_usr1_reopens_the_logs(folder: Path, blob: Path, create: Callable[[Path], None]) -> None:
    access, error = folder / "access.log", folder / "error.log"
    settings = {"IPGEO_FALLBACK_ACCESS_LOG": access, "IPGEO_FALLBACK_ERROR_LOG": error}
    with Gunicorn(folder, blob, IPGEO_FALLBACK_WORKERS=2, **settings) as server:
        asked = len(wait.until(lambda: lines(access), "the first line"))

        def reopened() -> bool:
            nonlocal asked
            asked += ask(server) == 200
            return access.exists() and bool(lines(access))

        for round_number in range(ROUNDS):
            for log in (access, error):
                log.rename(f"{log}.{round_number}")
                create(log)
            os.kill(server.pid, signal.SIGUSR1)
            wait.until(reopened, "a request is in the new file")
        logs = folder.glob("access.log*")
        wait.until(lambda: len(lines(*logs)) == asked, "a line for each request")
        assert not server.output.text()
    errors = lines(*folder.glob("error.log*"))
    assert sum("Handling signal: usr1" in line for line in errors) == ROUNDS
    # A worker that is late finds no file in the next turn, and goes on with the one it has.
    late = "the log file is not reopened"
    assert not [line for line in errors if "WARNING" in line and late not in line]


@as_root
def test_usr1_where_only_root_may_enter_the_checkout(
    folder: Path, blob: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    access = folder / "access.log"
    server = Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=access)
    server.source = shutil.copytree(SOURCE, closed / "ipgeo" / "fallback")
    with server:
        access.rename(folder / "access.log.1")
        os.kill(server.pid, signal.SIGUSR1)
        wait.until(lambda: ask(server) == 200 and access.exists() and lines(access), "reopened")


@as_root
def test_a_log_that_cannot_be_reopened_is_written_on(folder: Path, blob: Path) -> None:
    """In a folder that only root may enter: the master can, the worker cannot."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    log, old = closed / "access.log", closed / "access.log.1"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log) as server:
        wait.until(lambda: lines(log), "the first line")
        log.rename(old)
        os.kill(server.pid, signal.SIGUSR1)
        wait.until(lambda: "the log file is not reopened" in server.output.text(), "it is logged")
        before = len(lines(old))
        assert ask(server) == 200
        wait.until(lambda: len(lines(old)) == before + 1, "the request is logged")
        os.kill(server.pid, signal.SIGHUP)
        wait.until(lambda: ask(server) == 200 and lines(log), "new workers have the new file")


def a_link(log: Path, victim: Path) -> None:
    log.symlink_to(victim)
    os.chown(log, pwd.getpwnam("www-data").pw_uid, -1, follow_symlinks=False)


def a_link_in_an_own_folder(log: Path, victim: Path) -> None:
    a_link(log, victim)
    shutil.chown(log.parent, "www-data")


def a_second_name(log: Path, victim: Path) -> None:
    log.hardlink_to(victim)


@as_root
@pytest.mark.parametrize("by", [signal.SIGUSR1, signal.SIGHUP])
@pytest.mark.parametrize("replace", [a_link, a_link_in_an_own_folder, a_second_name])
def test_no_worker_gets_a_file_through_a_log(
    folder: Path, blob: Path, replace: Callable[[Path, Path], None], by: signal.Signals
) -> None:
    """What root reopens it gives to the workers: never another file in the log's place."""
    victim, logs = folder / "victim", folder / "logs"
    victim.touch(0o604)
    logs.mkdir()
    access, error = logs / "access.log", logs / "error.log"
    settings = {"IPGEO_FALLBACK_ACCESS_LOG": access, "IPGEO_FALLBACK_ERROR_LOG": error}
    with Gunicorn(folder, blob, **settings) as server:
        old = server.worker_pids()
        for log in (access, error):
            log.rename(f"{log}.1")
            replace(log, victim)
        os.kill(server.pid, by)
        handled = f"Handling signal: {by.name[3:].lower()}"
        wait.until(lambda: handled in "".join(lines(*folder.rglob("error.log*"))), "it is logged")
        if by == signal.SIGHUP:
            wait.until(lambda: server.worker_pids() and server.worker_pids() != old, "new workers")
        assert ask(server) == 200
        facts = victim.stat()
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (0, 0o604)
    if replace is not a_second_name:
        assert victim.stat().st_size == 0
        assert "the log file is not reopened" in Path(f"{error}.1").read_text()


def test_earlier_logs_are_closed_to_others(folder: Path, blob: Path) -> None:
    access, error, other = folder / "access.log", folder / "error.log", folder / "other"
    for log in (access, error, other):
        log.touch()
        log.chmod(0o644)
    settings = {"IPGEO_FALLBACK_ACCESS_LOG": access, "IPGEO_FALLBACK_ERROR_LOG": error}
    with Gunicorn(folder, blob, **settings) as server:
        assert [stat.S_IMODE(log.stat().st_mode) for log in (access, error)] == [0o640, 0o640]
        access.rename(folder / "access.log.1")
        other.rename(access)
        os.kill(server.pid, signal.SIGUSR1)
        wait.until(lambda: stat.S_IMODE(access.stat().st_mode) == 0o640, "it is reopened")


def test_logs_to_the_output_by_its_name(folder: Path, blob: Path) -> None:
    """A pipe, which has no path that could be resolved."""
    settings = {
        "IPGEO_FALLBACK_ACCESS_LOG": "/dev/stdout",
        "IPGEO_FALLBACK_ERROR_LOG": "/dev/stderr",
    }
    server = Gunicorn(folder, blob, **settings)
    process = subprocess.Popen(
        server.command, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait.until((folder / "fallback.sock").exists, "it listens")
        assert ask(server) == 200
    finally:
        process.terminate()
        output = process.communicate(timeout=20)[0].decode()
    assert "[INFO] loaded blob" in output
    assert f'"GET {PATH} HTTP/1.1" 200' in output


# Settings that are not valid

BIND, WORKERS = "IPGEO_FALLBACK_BIND", "IPGEO_FALLBACK_WORKERS"
NO_FILE = "not a file in an existing folder"
NO_ADDRESS = "has a bad address: it is unix:/PATH, IPV4:PORT, [IPV6]:PORT or NAME:PORT"
NO_PORT = "needs a port from 1 to 65535 after its address"
TOO_LONG = "is too long: a socket's path has at most 107 bytes, this one has 108"
NO_WORKERS = "must be a number from 1 to 999, not"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        *(
            (WORKERS, text, f" {NO_WORKERS} '{text}'")
            for text in ("x", "0", "1000", "-1", " 2", "٢")
        ),
        (BIND, "fallback.sock", f": 'fallback.sock' {NO_PORT}"),
        (BIND, "unix:relative", ": 'unix:relative' needs an absolute path after unix:"),
        (BIND, "127.0.0.1:8000,127.0.0.1", f": '127.0.0.1' {NO_PORT}"),
        (BIND, "127.0.0.1:8000,", " has an empty entry: '127.0.0.1:8000,'"),
        (BIND, "127.0.0.1:0", f": '127.0.0.1:0' {NO_PORT}"),
        (BIND, "127.0.0.1:65536", f": '127.0.0.1:65536' {NO_PORT}"),
        (BIND, "::1:8000", f": '::1:8000' {NO_ADDRESS}"),
        (BIND, ":8000", f": ':8000' {NO_ADDRESS}"),
        (BIND, "http://a:80", f": 'http://a:80' {NO_ADDRESS}"),
        (
            BIND,
            f"unix:/{'x' * 107}",
            f": 'unix:/{'x' * 107}' {TOO_LONG}",
        ),
        ("IPGEO_FALLBACK_ACCESS_LOG", "/no/such.log", f": {NO_FILE}: '/no/such.log'"),
        ("IPGEO_FALLBACK_ERROR_LOG", "/", f": {NO_FILE}: '/'"),
        (
            "IPGEO_TRUSTED_PROXIES",
            "::1,x",
            ": 'x' is neither an address nor a network such as 10.0.0.0/8",
        ),
        ("IPGEO_BATCH_LIMIT", "many", " must be a number from 1 to 100000, not 'many'"),
        ("IPGEO_BODY_LIMIT", "1g", " must be a size from 1k to 1024m, not '1g'"),
        (
            "IPGEO_REFRESH_INTERVAL",
            "0",
            " must be a number of seconds from 0.001 to 99999, not '0'",
        ),
        pytest.param(
            "IPGEO_USER", "nobody-here", ": there is no user 'nobody-here'", marks=as_root
        ),
    ],
)
def test_a_bad_setting_is_reported_in_one_line(
    folder: Path, blob: Path, name: str, value: str, problem: str
) -> None:
    server = Gunicorn(folder, blob)
    done = subprocess.run(
        server.command,
        env=server.environment | {name: value},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gunicorn.conf.py: {name}{problem}\n"


def test_sigquit_ends_a_worker_at_once_and_silently(folder: Path, blob: Path) -> None:
    with Gunicorn(folder, blob) as server:
        (worker,) = server.worker_pids()
        with suppress(ProcessLookupError):
            for _ in range(40):
                os.kill(worker, signal.SIGQUIT)
                time.sleep(0.001)
        wait.until(lambda: worker not in server.worker_pids(), "it ends")
        assert get(server.address, QUERY).status == 200
    assert "Traceback" not in server.output.text()
