"""Names in IPGEO_UPSTREAMS: resolved at the start, and followed while nginx runs.

The resolver is a `getent` of the tests' own; it answers from files that a test writes.
"""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import ROOT, wait
from harness.blobs import ATLANTIS_IP
from harness.client import get
from harness.edge import Edge
from harness.ports import free_port
from harness.process import children, environment
from harness.rights import as_other_user
from test_edge import Upstream, is_running
from test_upstreams import render, servers

QUERY = f"/api/ip_query?ip={ATLANTIS_IP}"
DEFAULTS = "max_fails=3 fail_timeout=2s"
PLACEHOLDER = "server unix:/nonexistent down;\n"
NGINX = os.environ.get("IPGEO_NGINX") or "/usr/sbin/nginx"
FIRST, SECOND = "127.0.0.1", "127.0.0.2"

GETENT = """#!/bin/bash
[[ $1 == ahosts ]] || exit 64
printf . >>"{folder}/lookups"
while read -r address; do
    printf '%s STREAM %s\\n%s DGRAM\\n' "$address" "$2" "$address"
done <"{folder}/$2" || exit 2
[[ ! -e "{folder}/once" ]] || rm "{folder}/$2"
"""


class Resolver:
    """The output of `getent ahosts`: a file for each name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        program = folder / "getent"
        program.write_text(GETENT.format(folder=folder))
        program.chmod(0o755)
        self.path = f"{folder}:{os.environ['PATH']}"

    def say(self, name: str, *addresses: str) -> None:
        new = self._folder / f"{name}.new"
        new.write_text("".join(f"{address}\n" for address in addresses))
        new.rename(self._folder / name)

    def forget(self, name: str) -> None:
        (self._folder / name).unlink()

    def answer_only_once(self) -> None:
        (self._folder / "once").touch()

    def lookups(self) -> int:
        return (self._folder / "lookups").stat().st_size

    def wait_for_turns(self, count: int = 4) -> None:
        """Return when names were looked up ``count`` times and the turns before are over."""
        enough = self.lookups() + count
        wait.until(lambda: self.lookups() >= enough, "the names are looked up")


@pytest.fixture
def resolver(folder: Path) -> Resolver:
    return Resolver(folder / "resolver")


def following_settings(resolver: Resolver, upstreams: str) -> dict[str, object]:
    return {
        "IPGEO_UPSTREAMS": upstreams,
        "IPGEO_RESOLVE_INTERVAL": "0.05",
        "PATH": resolver.path,
    }


def following(folder: Path, resolver: Resolver, upstreams: str, **settings: object) -> Edge:
    """An edge without a blob: it passes its requests on."""
    given = following_settings(resolver, upstreams) | settings
    return Edge(folder, folder / "none.blob", None, **given)


def server(address: str, name: str, arguments: str = DEFAULTS) -> str:
    return f'server "{address}" {arguments}; # {name}\n'


def hups(edge: Edge) -> int:
    return edge.error_log.text().count("signal 1 (SIGHUP) received")


def messages(edge: Edge) -> list[str]:
    """The messages about names since the start of nginx."""
    return [line for line in edge.output.text().splitlines() if line.startswith("nginx/")]


def wait_until_reloaded(edge: Edge, old: list[int]) -> None:
    wait.until(lambda: not set(edge.worker_pids()) & {*old}, "the old workers have ended")


# At the start


def test_addresses_become_servers(folder: Path, resolver: Resolver) -> None:
    resolver.say("app", "10.0.0.2", "fd00::1", "10.0.0.1", "fe80::7", "FEBF::1%eth0", "10.0.0.2")
    resolver.say("spare", "10.0.0.1", "10.0.0.9")
    upstreams = "app:80 weight=2, 10.0.0.3:80, spare:80 backup"
    done = render(folder, IPGEO_UPSTREAMS=upstreams, PATH=resolver.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert servers(folder) == (
        server("10.0.0.1:80", "app:80 spare:80", f"weight=2 {DEFAULTS}")
        + server("10.0.0.2:80", "app:80", f"weight=2 {DEFAULTS}")
        + server("[fd00::1]:80", "app:80", f"weight=2 {DEFAULTS}")
        + f'server "10.0.0.3:80" {DEFAULTS};\n'
        + server("10.0.0.9:80", "spare:80", f"backup {DEFAULTS}")
    )


def test_a_name_without_an_address_is_left_out(folder: Path) -> None:
    """By the system's own resolver."""
    done = render(folder, IPGEO_UPSTREAMS="nowhere.invalid:80, localhost:81")
    assert done.returncode == 0
    assert done.stderr == (
        "nginx/render: IPGEO_UPSTREAMS: 'nowhere.invalid:80' does not resolve and is left out\n"
    )
    assert server("127.0.0.1:81", "localhost:81") in servers(folder)
    assert "nowhere" not in servers(folder)


def test_a_name_that_has_only_link_local_addresses(folder: Path, resolver: Resolver) -> None:
    resolver.say("app", "fe80::1")
    done = render(folder, IPGEO_UPSTREAMS="app:80", PATH=resolver.path)
    assert "'app:80' does not resolve and is left out" in done.stderr
    assert servers(folder) == PLACEHOLDER


# Afterwards


@contextmanager
def two_nodes() -> Iterator[tuple[Upstream, Upstream]]:
    """Two nodes of one name: the same port at two addresses."""
    port = free_port()
    with Upstream(FIRST, port) as first, Upstream(SECOND, port) as second:
        yield first, second


def test_addresses_are_followed(folder: Path, resolver: Resolver) -> None:
    resolver.say("app", FIRST)
    with two_nodes() as (first, second):
        name = f"app:{first.port}"
        with following(folder, resolver, f"{name} weight=2") as edge:
            before = edge.worker_pids()
            resolver.wait_for_turns()
            assert get(edge.address, QUERY).status == 200
            assert (len(first.requests), len(second.requests)) == (1, 0)
            assert (edge.worker_pids(), hups(edge), messages(edge)) == (before, 0, [])

            resolver.say("app", SECOND)
            wait_until_reloaded(edge, before)
            after = edge.worker_pids()
            assert get(edge.address, QUERY).status == 200
            assert (len(first.requests), len(second.requests)) == (1, 1)
            resolver.wait_for_turns()
            assert (edge.worker_pids(), hups(edge)) == (after, 1)
            assert servers(folder) == server(second.address, name, f"weight=2 {DEFAULTS}")
            assert messages(edge) == [
                f"nginx/start: nginx reloads: -{first.address} +{second.address}"
            ]


def test_the_order_of_an_answer_means_nothing(folder: Path, resolver: Resolver) -> None:
    resolver.say("app", FIRST, SECOND)
    with following(folder, resolver, "app:80") as edge:
        before = edge.worker_pids()
        resolver.say("app", SECOND, FIRST)
        resolver.wait_for_turns()
        assert (edge.worker_pids(), hups(edge), messages(edge)) == (before, 0, [])


def test_an_outage_of_the_resolver_changes_nothing(folder: Path, resolver: Resolver) -> None:
    resolver.say("app", FIRST)
    with Upstream() as upstream:
        name = f"app:{upstream.port}"
        with following(folder, resolver, name) as edge:
            before = edge.worker_pids()
            resolver.wait_for_turns()
            resolver.forget("app")
            resolver.wait_for_turns()
            assert get(edge.address, QUERY).status == 200
            resolver.say("app", FIRST)
            resolver.wait_for_turns()
            assert (edge.worker_pids(), hups(edge)) == (before, 0)
            assert messages(edge) == [
                f"nginx/start: IPGEO_UPSTREAMS: '{name}' {what}"
                for what in ("does not resolve and keeps its last addresses", "resolves now")
            ]


def test_an_outage_that_begins_with_nginx(folder: Path, resolver: Resolver) -> None:
    """What was found at the start is kept, though it never resolved afterwards."""
    resolver.say("app", FIRST, SECOND)
    resolver.answer_only_once()
    with following(folder, resolver, "app:80") as edge:
        resolver.wait_for_turns()
        assert servers(folder) == "".join(server(f"{ip}:80", "app:80") for ip in (FIRST, SECOND))
        assert hups(edge) == 0


@pytest.mark.provokes("no live upstreams")
def test_a_name_that_comes_later(folder: Path, resolver: Resolver) -> None:
    with Upstream() as upstream:
        name = f"app:{upstream.port}"
        with following(folder, resolver, name) as edge:
            before = edge.worker_pids()
            resolver.wait_for_turns()
            assert get(edge.address, QUERY).status == 503
            resolver.say("app", FIRST)
            wait_until_reloaded(edge, before)
            assert get(edge.address, QUERY).status == 200
            assert messages(edge) == [
                f"nginx/start: IPGEO_UPSTREAMS: '{name}' does not resolve and is left out",
                f"nginx/start: IPGEO_UPSTREAMS: '{name}' resolves now",
                f"nginx/start: nginx reloads: +{upstream.address}",
            ]


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Lock the folder of nginx.conf, as everything does that writes there."""
    fd = os.open(folder / "nginx", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield folder / "nginx" / "nginx.conf"
    finally:
        os.close(fd)


def wait_until_not_followed(edge: Edge, why: str = "") -> None:
    line = f"nginx/start: the names could not be followed, will retry: {why}"
    wait.until(lambda: line in edge.output.text(), "it says so")


def test_what_cannot_be_written_is_tried_again(folder: Path, resolver: Resolver) -> None:
    resolver.say("app", FIRST)
    with following(folder, resolver, "app:80") as edge:
        before = edge.worker_pids()
        with writing(folder):
            resolver.say("app", SECOND)
            wait_until_not_followed(edge, f"cannot lock {folder}/nginx: ")
            assert hups(edge) == 0
        wait_until_reloaded(edge, before)
        assert servers(folder) == server(f"{SECOND}:80", "app:80")


def test_a_rendering_at_the_same_time_is_not_undone(folder: Path, resolver: Resolver) -> None:
    resolver.say("app", FIRST)
    with following(folder, resolver, "app:80") as edge:
        before = edge.worker_pids()
        with writing(folder) as conf:
            rendered = conf.read_text()
            resolver.say("app", SECOND)
            resolver.wait_for_turns()
            conf.write_text(f"# the other's\n{rendered}")
        wait_until_reloaded(edge, before)
        assert conf.read_text().startswith("# the other's\n")
        assert servers(folder) == server(f"{SECOND}:80", "app:80")


def test_a_rendering_waits_for_another_writer(folder: Path) -> None:
    assert render(folder).returncode == 0
    with writing(folder) as conf:
        conf.unlink()
        command = [ROOT / "nginx" / "render"]
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(command, env=environment({"IPGEO_VAR": folder}), check=False, timeout=2)
        assert not conf.exists()


OTHER_USER = 54321
AS_OTHER_USER = ["setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"]


class OrdinaryEdge(Edge):
    """An edge of an ordinary user: the kernel does not limit root's processes."""

    def _spawn(self, command: Sequence[str | Path], variables: Mapping[str, str]) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, OTHER_USER, OTHER_USER)
        super()._spawn([*AS_OTHER_USER, *command], variables)


def limit(pid: int, what: str, number: int | str) -> None:
    """Change the soft limit only, so that it can be taken back."""
    subprocess.run([*AS_OTHER_USER, "prlimit", f"--pid={pid}", f"--{what}={number}:"], check=True)


@as_other_user
@pytest.mark.parametrize(
    ("what", "number", "why"),
    [
        ("nproc", 1, "cannot start a process: Resource temporarily unavailable"),
        ("nofile", 4, "cannot make a pipe: Too many open files"),
    ],
    ids=["nproc", "nofile"],
)
def test_a_limit_that_is_met_once(
    folder: Path, resolver: Resolver, what: str, number: int, why: str
) -> None:
    resolver.say("app", FIRST)
    settings = following_settings(resolver, "app:80")
    with OrdinaryEdge(folder, folder / "none.blob", None, **settings) as edge:
        before = edge.worker_pids()
        (follower,) = followers(edge)
        limit(follower, what, number)
        resolver.say("app", SECOND)
        wait_until_not_followed(edge, why)
        limit(follower, what, 1000)
        assert is_running(follower)
        wait_until_reloaded(edge, before)
        assert servers(folder) == server(f"{SECOND}:80", "app:80")
        assert "does not resolve" not in edge.output.text()


def test_an_interrupt_does_not_end_it(folder: Path, resolver: Resolver) -> None:
    """Ctrl-C reaches it too; it ends when nginx has ended."""
    resolver.say("app", FIRST)
    with following(folder, resolver, "app:80") as edge:
        before = edge.worker_pids()
        resolver.wait_for_turns()
        (follower,) = followers(edge)
        os.kill(follower, signal.SIGINT)
        resolver.say("app", SECOND)
        wait_until_reloaded(edge, before)
        assert [line for line in messages(edge) if "reloads" not in line] == []
        assert "traceback" not in edge.output.text()


def test_two_names_with_one_address(folder: Path, resolver: Resolver) -> None:
    """Each keeps it while it does not resolve."""
    resolver.say("app", FIRST)
    resolver.say("spare", FIRST)
    with following(folder, resolver, f"{FIRST}:81, app:80, spare:80, spare:81") as edge:
        resolver.wait_for_turns(8)
        expected = server(f"{FIRST}:81", "spare:81") + server(f"{FIRST}:80", "app:80 spare:80")
        assert (messages(edge), servers(folder)) == ([], expected)
        resolver.forget("app")
        resolver.forget("spare")
        resolver.wait_for_turns(8)
        assert [line for line in messages(edge) if "keeps its last addresses" not in line] == []
        assert (hups(edge), servers(folder)) == (0, expected)


def test_nodes_that_were_rendered_since_the_start_stay(folder: Path, resolver: Resolver) -> None:
    """The follower uses the names, nodes and arguments of the last rendering."""
    resolver.say("app", FIRST)
    resolver.say("new", FIRST)
    with following(folder, resolver, "app:80") as edge:
        resolver.wait_for_turns()
        done = render(
            folder, IPGEO_UPSTREAMS="app:80 weight=3, 192.0.2.9:1 weight=7, new:81",
            IPGEO_PORT=edge.port, PATH=resolver.path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        edge.hup()
        resolver.wait_for_turns(8)
        assert hups(edge) == 1
        for name in ("app", "new"):
            before = edge.worker_pids()
            resolver.say(name, SECOND)
            wait_until_reloaded(edge, before)
        assert servers(folder) == (
            server(f"{SECOND}:80", "app:80", f"weight=3 {DEFAULTS}")
            + f'server "192.0.2.9:1" weight=7 {DEFAULTS};\n'
            + server(f"{SECOND}:81", "new:81")
        )


def test_a_rendering_during_an_outage_of_the_resolver(folder: Path, resolver: Resolver) -> None:
    """The rendering has lost addresses that the follower still knows."""
    resolver.say("app", FIRST)
    with following(folder, resolver, "app:80") as edge:
        resolver.wait_for_turns()
        resolver.forget("app")
        done = render(
            folder, IPGEO_UPSTREAMS="app:80", IPGEO_PORT=edge.port, PATH=resolver.path
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        expected = server(f"{FIRST}:80", "app:80")
        wait.until(lambda: servers(folder) == expected, "the address is back")
        wait.until(lambda: hups(edge) == 1, "nginx has got a HUP")


def test_what_was_rendered_since_the_start_stays(folder: Path, resolver: Resolver) -> None:
    """Only the servers are replaced, not what an operator or an upgrade has changed."""
    resolver.say("app", FIRST)
    with following(folder, resolver, "app:80") as edge:
        before = edge.worker_pids()
        done = render(
            folder, IPGEO_UPSTREAMS="app:80", IPGEO_BATCH_LIMIT=7, IPGEO_PORT=edge.port,
            PATH=resolver.path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rendered = (folder / "nginx" / "nginx.conf").read_text()
        assert "set_batch_limit(7)" in rendered
        resolver.say("app", SECOND)
        wait_until_reloaded(edge, before)
        changed = (folder / "nginx" / "nginx.conf").read_text()
        assert changed == rendered.replace(f'"{FIRST}:80"', f'"{SECOND}:80"')


ASKED = '"$*" == -V || "$*" == *"-c /proc/self/fd/"*'
"""Whether nginx/render asks it what it has built in."""

SLOW_NGINX = """#!/bin/bash
if ! [[ {asked} ]]; then
    echo {address} >"{folder}/resolver/app"
    timeout 1 tail --pid={bystander} -f /dev/null
fi
exec {nginx} "$@"
"""


def slow_nginx(folder: Path, bystander: int) -> Path:
    """An nginx that lets the address change and then leaves time to harm a process."""
    path = folder / "slow-nginx"
    path.write_text(
        SLOW_NGINX.format(
            asked=ASKED, address=SECOND, folder=folder, bystander=bystander, nginx=NGINX
        )
    )
    path.chmod(0o755)
    return path


def test_a_pid_file_of_an_earlier_life(folder: Path, resolver: Resolver) -> None:
    """The process that now has this id gets no HUP; nginx does, once it runs."""
    resolver.say("app", FIRST)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (folder / "nginx.pid").write_text(f"{bystander.pid}\n")
        nginx = slow_nginx(folder, bystander.pid)
        with following(folder, resolver, "app:80", IPGEO_NGINX=nginx) as edge:
            wait.until(lambda: hups(edge) == 1, "nginx has got a HUP")
            assert servers(folder) == server(f"{SECOND}:80", "app:80")
        assert bystander.poll() is None
        bystander.kill()


def followers(edge: Edge) -> list[int]:
    return [*{*children(edge.pid)} - {*edge.worker_pids()}]


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_nginx(folder: Path, resolver: Resolver, number: signal.Signals) -> None:
    resolver.say("app", FIRST)
    with following(folder, resolver, "app:80") as edge:
        (follower,) = followers(edge)
        assert is_running(follower)
        os.kill(edge.pid, number)
        wait.until(lambda: not is_running(follower), "the follower has ended")


def test_it_ends_with_an_nginx_that_does_not_start(folder: Path, resolver: Resolver) -> None:
    broken = folder / "broken-nginx"
    broken.write_text(f'#!/bin/bash\n[[ {ASKED} ]] && exec {NGINX} "$@"\nexit 7\n')
    broken.chmod(0o755)
    resolver.say("app", FIRST)
    variables = environment(
        {
            "IPGEO_VAR": folder,
            "IPGEO_UPSTREAMS": "app:80",
            "IPGEO_NGINX": broken,
            "PATH": resolver.path,
        }
    )
    # It holds the output's pipe open: the output ends only when it ends.
    done = subprocess.run(
        [ROOT / "nginx" / "start"], env=variables, capture_output=True, check=False, timeout=10
    )
    assert done.returncode == 7


def test_nothing_follows_fixed_addresses(folder: Path, resolver: Resolver) -> None:
    with following(folder, resolver, "127.0.0.1:80, [::1]:80, unix:/a") as edge:
        assert followers(edge) == []
