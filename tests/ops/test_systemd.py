"""The units of deploy/systemd on a machine that systemd runs: checked, started, refreshed."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from harness import engine, machine, wait
from harness.client import get, post
from harness.compiler import SAMPLE as SAMPLE_SOURCE
from harness.compiler import SAMPLE_CODES
from harness.judged_load import assert_faultless, under_load
from harness.logs import NGINX
from harness.machine import CHECKOUT
from harness.process import Done
from harness.services import (
    BLOB,
    EDGE,
    ENABLE,
    FALLBACK,
    INSTALL,
    LOGS,
    OWN,
    QUERY,
    REFRESH,
    SAMPLE,
    SAMPLE_ANSWER,
    SERVERS,
    SETTINGS,
    Services,
)
from harness.soak.expected import ExpectedFromSource

pytestmark = pytest.mark.docker

Restart = Callable[[str], Done]

UNITS = (f"{EDGE}.service", f"{FALLBACK}.service", f"{REFRESH}.service", f"{REFRESH}.timer")
HIGHEST_EXPOSURE = 2.0

# Drop-ins. docs/operate.md has the first two.
CAPABILITY = "CAP_NET_BIND_SERVICE"
LOW_PORT = f"[Service]\nAmbientCapabilities={CAPABILITY}\nCapabilityBoundingSet={CAPABILITY}\n"
FALLBACK_BY_TCP = "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET AF_INET6\n"
BATCH_LIMIT = 250
"""More than the load asks for at once, less than the default."""
SOON = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nAccuracySec=100ms\nRandomizedDelaySec=0\n"

LUA = "/opt/probe"
PROBE = """
do
    local sum = 0
    for number = 1, 1e5 do
        sum = sum + number
    end
    ngx.log(ngx.NOTICE, "jit.status: ", jit.status(), ", trace 1: ",
        require("jit.util").traceinfo(1) and "compiled" or "none")
end
"""
MACHINE_CODE = re.compile(r"^\S+ r-xp 00000000 00:00 0 *$", re.MULTILINE)
"""In /proc/PID/maps: executable, of no file, and not the kernel's."""


@pytest.fixture(scope="module")
def host() -> Iterator[Services]:
    """A machine that answers from the sample. A test that changes it puts it back."""
    engine.require()
    engine.remove_abandoned()
    machine.build_image()
    with Services() as host:
        yield host


@pytest.fixture
def restart(host: Services) -> Iterator[Restart]:
    """A function that restarts the edge with a further setting."""

    def with_setting(line: str) -> Done:
        host.write_settings(line)
        return host.run(f"systemctl restart {EDGE}")

    yield with_setting
    assert with_setting("").status == 0


@pytest.fixture
def sample(host: Services) -> Iterator[None]:
    """A test that builds other data; afterwards the sample is served again."""
    yield
    host.build(SAMPLE)
    host.wait_for(SAMPLE_ANSWER)


# systemd's checks of the units


def test_verify(host: Services) -> None:
    units = " ".join(f"/etc/systemd/system/{unit}" for unit in UNITS)
    assert host.run(f"systemd-analyze verify {units}") == (0, "", "")


@pytest.mark.parametrize("service", [*SERVERS, REFRESH])
def test_exposure(host: Services, service: str) -> None:
    assert host.exposure(service) <= HIGHEST_EXPOSURE


def test_a_second_install_keeps_the_settings(host: Services) -> None:
    state = "cat /etc/ipgeo/* /etc/systemd/system/ipgeo-*.service /etc/systemd/system/ipgeo-*.d/*"
    before = host.must(state)
    host.must(INSTALL)
    assert host.must(state) == before
    assert host.answers(SAMPLE_ANSWER)


# Answers


def test_get_and_post(host: Services) -> None:
    assert host.answers(SAMPLE_ANSWER)
    body = json.dumps({"ips": ["8.8.8.8"]}).encode()
    reply = post(host.address, "/api/ip_query", body, "Content-Type: application/json")
    assert (reply.status, reply.body.decode()) == (200, f'{{"results":[{SAMPLE_ANSWER}]}}')


def test_the_edge_asks_the_fallback(host: Services, restart: Restart) -> None:
    assert restart("IPGEO_MODE=proxy").status == 0
    reply = host.ask()
    assert (reply.status, reply.body.decode()) == (200, SAMPLE_ANSWER)
    assert reply.headers["x-ipgeo-served-by"] == "fallback"


def test_servers_that_have_no_data_yet(host: Services) -> None:
    host.must(f"systemctl stop {EDGE} {FALLBACK} && rm -r {Path(BLOB).parent}")
    host.must(f"systemctl start {EDGE} {FALLBACK}")
    assert host.ask().status == 503
    host.must(f"systemctl start {REFRESH}")
    host.wait_for(SAMPLE_ANSWER)


def test_luajit_compiles(host: Services, restart: Restart) -> None:
    host.must(f"rm -rf {LUA} && cp -r {CHECKOUT}/lua {LUA}")
    worker = f"{LUA}/ipgeo/http/worker.lua"
    host.write(worker, PROBE + host.must(f"cat {worker}") + "\n")
    assert restart(f"IPGEO_LUA={LUA}").status == 0
    log = host.must(f"cat {LOGS}/error.log")
    assert re.findall(r"jit\.status: (true).*, trace 1: (\w+)", log)[-1] == ("true", "compiled")
    for pid in host.pids(EDGE):
        assert MACHINE_CODE.search(host.must(f"cat /proc/{pid}/maps"))


# What the servers may do


@pytest.mark.parametrize("server", SERVERS)
def test_its_own_user_without_privileges(host: Services, server: str) -> None:
    user = host.must(f"id -u {server}")
    for pid in host.pids(server):
        status = host.must(f"cat /proc/{pid}/status")
        assert re.search(rf"^Uid:\s{user}\s{user}\s{user}\s{user}$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\s0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s2$", status, re.MULTILINE)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("folder", ["/etc", CHECKOUT, "/usr", "/var/lib/ipgeo"])
def test_its_file_system_is_read_only(host: Services, server: str, folder: str) -> None:
    inside = f"nsenter --target {host.main_pid(server)} --mount"
    assert "Read-only file system" in host.run(f"{inside} touch {folder}/new").err


def test_others_do_not_reach_the_fallback(host: Services) -> None:
    ask = "curl -sS --unix-socket /run/ipgeo-fallback/fallback.sock http://localhost/readyz"
    assert host.run(ask, "www-data").status != 0
    assert '"status":"ready"' in host.must(ask)


def test_a_port_below_1024(host: Services) -> None:
    host.write_settings("IPGEO_PORT=80")
    assert host.run(f"systemctl restart {EDGE}").status != 0
    with host.drop_in(f"{EDGE}.service", LOW_PORT):
        assert get((host.host, 80), QUERY).body.decode() == SAMPLE_ANSWER
        assert host.exposure(EDGE) <= HIGHEST_EXPOSURE
        host.write_settings("")


def test_a_fallback_by_tcp(host: Services) -> None:
    host.write_settings("IPGEO_FALLBACK_BIND=0.0.0.0:8000")
    with host.drop_in(f"{FALLBACK}.service", FALLBACK_BY_TCP):
        assert get((host.host, 8000), QUERY).body.decode() == SAMPLE_ANSWER
        assert host.exposure(FALLBACK) <= HIGHEST_EXPOSURE
        host.write_settings("")


# Refresh


def test_the_timer_refreshes(host: Services, sample: None, folder: Path) -> None:
    expected = host.put_source(folder, "timer")
    host.choose_source(OWN)
    with host.drop_in(f"{REFRESH}.timer", SOON):
        host.wait_for(expected)


def test_a_refused_refresh(host: Services, sample: None, folder: Path) -> None:
    expected = host.put_source(folder, "old")
    host.build(OWN)
    host.wait_for(expected)
    host.put_source(folder, "new")
    assert host.run(f"systemctl start {REFRESH}").status != 0
    assert host.show(REFRESH, "ExecMainStatus") == "3"
    assert "refused by max-change" in host.journal(REFRESH)
    assert host.answers(expected)


# Life


@pytest.mark.parametrize("server", SERVERS)
def test_reload(host: Services, server: str) -> None:
    master, *workers = host.pids(server)
    host.must(f"systemctl reload {server}")
    wait.until(lambda: not {*workers} & {*host.pids(server)}, "all workers are new")
    assert host.main_pid(server) == master
    host.wait_for(SAMPLE_ANSWER)


def takes(host: Services, count: int) -> bool:
    """Whether the edge answers a batch of so many addresses."""
    body = "\n".join(["8.8.8.8"] * count).encode()
    return post(host.address, "/api/ip_query", body, "Content-Type: text/plain").status == 200


def test_settings_by_reload_under_load(host: Services) -> None:
    """A new setting is applied; one that is not valid is refused, and the one before stays."""
    expected = ExpectedFromSource("sample", SAMPLE_SOURCE, SAMPLE_CODES)
    reload = f"systemctl reload {EDGE}"
    master = host.main_pid(EDGE)
    with under_load(host.address, [expected], "systemctl reload") as running:
        running.run_for(0.5)
        host.write_settings(f"IPGEO_BATCH_LIMIT={BATCH_LIMIT}")
        host.must(reload)
        running.run_for(0.5)
        assert (takes(host, BATCH_LIMIT), takes(host, BATCH_LIMIT + 1)) == (True, False)

        host.write_settings("IPGEO_BATCH_LIMIT=0")
        assert host.run(reload).status != 0
        assert "IPGEO_BATCH_LIMIT must be a number from 1 to 100000" in host.journal(EDGE)
        running.run_for(0.5)
        assert (takes(host, BATCH_LIMIT), takes(host, BATCH_LIMIT + 1)) == (True, False)

        host.write_settings("")
        host.must(reload)
    assert_faultless(running.tally)
    assert takes(host, BATCH_LIMIT + 1)
    assert host.main_pid(EDGE) == master


@pytest.mark.parametrize("server", SERVERS)
def test_a_killed_master(host: Services, server: str) -> None:
    old = host.main_pid(server)
    host.must(f"kill -KILL {old}")
    wait.until(lambda: host.main_pid(server) not in (old, "0"), "it is started again")
    host.wait_for(SAMPLE_ANSWER)


@pytest.mark.parametrize("server", SERVERS)
def test_stop(host: Services, server: str) -> None:
    host.must(f"systemctl stop {server}")
    assert not host.is_active(server)
    assert host.show(server, "Result") == "success"
    assert host.run(f"test -e /run/{server}").status != 0
    host.must(f"systemctl start {server}")
    assert host.answers(SAMPLE_ANSWER)


def test_a_start_that_fails_is_reported(host: Services, restart: Restart) -> None:
    assert restart("IPGEO_PORT=0").status != 0
    assert "IPGEO_PORT must be a number from 1 to 65535" in host.journal(EDGE)


def test_a_reboot(host: Services) -> None:
    host.reboot()
    host.wait_for(SAMPLE_ANSWER)
    for unit in (*SERVERS, f"{REFRESH}.timer"):
        wait.until(partial(host.is_active, unit), f"{unit} is active")


# Logs


def test_logs(host: Services) -> None:
    host.ask()
    logged = f"grep -q 'GET /api/ip_query HTTP/1.1' {LOGS}/access.log"
    wait.until(lambda: host.run(logged).status == 0, "the request is logged")
    modes = host.must(f"stat -c '%a %U' {LOGS} {LOGS}/*.log").splitlines()
    assert modes == [f"750 {EDGE}", *[f"640 {EDGE}"] * 3]
    host.must(f"systemctl restart {FALLBACK}")
    wait.until(lambda: "loaded blob" in host.journal(FALLBACK), "the load is logged")


def test_rotation(host: Services) -> None:
    host.must("logrotate --force /etc/logrotate.d/ipgeo-edge")
    host.ask()
    wait.until(lambda: host.run(f"test -s {LOGS}/access.log").status == 0, "a new file")
    assert host.must(f"stat -c '%a %U' {LOGS}/access.log") == f"640 {EDGE}"
    assert host.run(f"test -e {LOGS}/access.log.1").status == 0


def test_no_error_is_logged(host: Services) -> None:
    host.must(f"systemctl stop {EDGE} && rm {LOGS}/* && systemctl start {EDGE}")
    assert host.answers(SAMPLE_ANSWER)
    host.must(f"systemctl reload {EDGE} && systemctl restart {EDGE}")
    assert not NGINX.search(host.must(f"cat {LOGS}/*.log"))


def test_install_without_systemd(host: Services) -> None:
    done = host.run(f'unshare --mount sh -c "mount --bind /mnt /run/systemd && {INSTALL}"')
    assert done.status == 1
    assert "systemd does not run here" in done.err


def test_uninstall(host: Services) -> None:
    host.must(f"{INSTALL} --uninstall")
    assert host.must("find /etc/systemd/system -name 'ipgeo*'") == ""
    assert not host.is_active(EDGE)
    host.must(f"test -e {SETTINGS} && test -e {BLOB}")
    host.must(f"{INSTALL} --uninstall")
    host.must(f"{INSTALL} && {ENABLE}")
    assert host.answers(SAMPLE_ANSWER)
