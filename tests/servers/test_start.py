"""nginx/start: it changes nothing when it only tests or prints; when it refuses to start."""

import stat
import subprocess
from pathlib import Path

import pytest

from harness import ROOT
from harness.client import get
from harness.edge import Edge
from harness.ports import HAS_IPV6, free_port
from harness.process import environment

START = ROOT / "nginx" / "start"
SERVER = ROOT / "script" / "server"


def run(folder: Path, *command: object, **settings: object) -> subprocess.CompletedProcess[str]:
    given = {"IPGEO_VAR": folder, "IPGEO_PORT": free_port(), "IPGEO_WORKERS": 1}
    return subprocess.run(
        list(map(str, command)),
        cwd="/",
        env=environment(given | settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return inode and content by name: a rewritten file has another inode."""
    return {
        str(path): (path.stat().st_ino, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["-t"], "test is successful"),
        (["-t", "-q"], ""),
        (["-T", "-q"], "ipgeo.http.router"),
        (["-s", "reload"], ""),
        (["-v"], "nginx version"),
        (["-V"], "configure arguments"),
    ],
    ids=["-t", "-t -q", "-T", "-s", "-v", "-V"],
)
def test_a_running_nginx_keeps_its_configuration(
    folder: Path, blob: Path, arguments: list[str], printed: str
) -> None:
    with Edge(folder, blob) as edge:
        before = files(folder / "nginx"), files(folder / "tmp")
        done = run(folder, START, *arguments, IPGEO_BATCH_LIMIT=7)
        assert done.returncode == 0, done.stderr
        assert printed in done.stdout + done.stderr
        assert ("set_batch_limit(7)" in done.stdout) == ("-T" in arguments)
        assert (files(folder / "nginx"), files(folder / "tmp")) == before
        assert list((folder / "tmp").glob("test.*")) == []
        edge.hup()
        assert get(edge.address, "/readyz").status == 200


def test_a_test_start_finds_what_nginx_refuses(folder: Path, blob: Path) -> None:
    """Only nginx can notice that this machine lacks the address."""
    done = run(folder, START, "-t", "-q", IPGEO_BLOB=blob, IPGEO_BIND="192.0.2.1")
    assert done.returncode == 1
    assert "bind() to 192.0.2.1" in done.stderr
    assert list((folder / "tmp").glob("test.*")) == []
    assert list((folder / "nginx").iterdir()) == []


@pytest.mark.parametrize("mode", ["edge", "proxy"])
@pytest.mark.parametrize(
    "settings",
    [
        {"IPGEO_UPSTREAMS": "127.0.0.1:81 weight=2, unix:/a b/c.sock, localhost:82 backup"},
        {"IPGEO_UPSTREAMS": "nowhere.invalid:80", "IPGEO_LOG_QUERY": "on"},
        {"IPGEO_BIND": "::", "IPGEO_UPSTREAMS": "[::1]:81 down", "IPGEO_ACCESS_LOG": "errors"},
        {"IPGEO_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32", "IPGEO_ACCESS_LOG": "off"},
    ],
    ids=",".join,
)
def test_nginx_accepts_what_is_rendered(
    folder: Path, blob: Path, mode: str, settings: dict[str, str]
) -> None:
    if settings.get("IPGEO_BIND") == "::" and not HAS_IPV6:
        pytest.skip("no IPv6 here")
    done = run(folder, START, "-t", IPGEO_BLOB=blob, IPGEO_MODE=mode, **settings)
    assert done.returncode == 0, done.stderr
    assert "test is successful" in done.stderr


def test_a_template_with_a_mistake(folder: Path) -> None:
    template = folder / "own.template"
    template.write_text("events {}\nhttp {\n    server { listen {{ settings.IPGEO_PROT }}; }\n}\n")
    done = run(folder, START, "--template", template)
    assert done.returncode == 1
    assert done.stderr == f"nginx/start: {template}:3: there is no setting IPGEO_PROT\n"


def test_a_signal_needs_a_running_nginx(folder: Path) -> None:
    done = run(folder, START, "-s", "reload")
    assert done.returncode == 1
    assert done.stderr == f"nginx/start: IPGEO_VAR: no nginx has been started in {folder}\n"


@pytest.mark.parametrize(
    ("command", "name", "program"),
    [
        (START, "nginx.lock", "nginx"),
        (SERVER, "nginx.lock", "server"),
        (SERVER, "server.lock", "server"),
        (SERVER, "fallback.lock", "server"),
    ],
)
def test_a_lock_that_cannot_be_opened(folder: Path, command: Path, name: str, program: str) -> None:
    """Like another user's lock file, but in a way that also stops root."""
    lock = folder / name
    lock.mkdir()
    done = run(folder, command)
    assert done.returncode == 1
    assert done.stderr == f"{program}: IPGEO_VAR: cannot write {lock}\n"


def test_earlier_logs_are_closed_to_others(folder: Path, blob: Path) -> None:
    log = folder / "log"
    log.mkdir()
    names = ("error.log", "access.log", "request-errors.log", "fallback-error.log", "access.log.1")
    for name in names:
        (log / name).touch(mode=0o644)
    foreign = folder / "foreign"
    foreign.touch(mode=0o644)
    (log / "link.log").symlink_to(foreign)
    with Edge(folder, blob):
        modes = {name: stat.S_IMODE((log / name).stat().st_mode) for name in names}
    assert modes == dict.fromkeys(names, 0o640)
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o644
