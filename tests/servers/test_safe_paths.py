"""The owners of IPGEO_VAR and current folder: code, configuration and pid files of others."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from harness import ROOT, blobs, wait
from harness.client import get
from harness.edge import Edge
from harness.gunicorn import PROGRAM, Gunicorn
from harness.ports import free_port
from harness.process import environment
from harness.rights import as_root

OTHER_USER = 54321
START = ROOT / "nginx" / "start"
RENDER = ROOT / "nginx" / "render"
SERVER = ROOT / "script" / "server"
GUNICORN = (PROGRAM, "-c", ROOT / "fallback" / "gunicorn.conf.py")
STARTS = {
    "nginx/start": [START],
    "render": [RENDER],
    "server": [SERVER],
    "gunicorn": GUNICORN,
}


def refused(command: Sequence[str | Path], var: Path, **settings: object) -> str:
    """Start it, which must fail; return its output."""
    port = free_port()
    variables = environment({"IPGEO_VAR": var, "IPGEO_PORT": port, "IPGEO_WORKERS": 1, **settings})
    done = subprocess.run(
        command, cwd="/", env=variables, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what is in a folder: owner, mode and content (or target) by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content = os.fsencode(path.readlink()) if path.is_symlink() else b""
        if stat.S_ISREG(facts.st_mode):
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = facts.st_uid, facts.st_mode, content
    return found


@pytest.fixture
def var(folder: Path) -> Path:
    """An IPGEO_VAR with a blob and its folders."""
    var = folder / "var"
    for name in ("nginx", "log", "tmp"):
        (var / name).mkdir(parents=True, mode=0o755)
    (var / "ipgeo.blob").write_bytes(blobs.fictional())
    return var


def writable_by_a_group(var: Path) -> None:
    os.chown(var, 0, OTHER_USER)
    var.chmod(0o775)


PREPARED: dict[str, Callable[[Path], None]] = {
    "the folder is another user's": lambda var: os.chown(var, OTHER_USER, OTHER_USER),
    "all users may write": partial(Path.chmod, mode=0o777),
    "a group may write": writable_by_a_group,
    "a folder above": lambda var: os.chown(var.parent, OTHER_USER, -1),
}
LINKS = {"server": "supervisord.pid", "gunicorn": "fallback.lock", "nginx/start": "nginx.lock"}


@as_root
@pytest.mark.parametrize("prepare", PREPARED.values(), ids=PREPARED.keys())
@pytest.mark.parametrize("command", STARTS.values(), ids=STARTS.keys())
def test_a_folder_that_others_can_prepare_is_refused(
    var: Path, command: Sequence[str | Path], prepare: Callable[[Path], None]
) -> None:
    prepare(var)
    before = everything(var)
    assert "IPGEO_VAR: " in refused(command, var)
    assert everything(var) == before


@as_root
def test_the_callers_language_does_not_disable_the_check(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If translations are installed, stat has another word for a folder."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("LANGUAGE", "zh_CN:de")
    (var / "nginx").chmod(0o777)
    assert "nginx is writable by all users" in refused([START], var)


@as_root
@pytest.mark.parametrize("name", [*STARTS, "nginx/.nginx.conf.tmp", "log/error.log"])
def test_a_link_of_another_user_is_not_followed(folder: Path, var: Path, name: str) -> None:
    precious = folder / "precious"
    precious.write_text("precious")
    link = var / LINKS.get(name, name if name.count(".") else "nginx.pid")
    link.symlink_to(precious)
    os.chown(link, OTHER_USER, OTHER_USER, follow_symlinks=False)
    text = refused(STARTS.get(name, [START]), var)
    assert f"{link} belongs to another user ({OTHER_USER})" in text
    assert precious.read_text() == "precious"


def others_folder(folder: Path) -> Path:
    """Another user's folder, in it a link of that user to ``real`` beside it, which is root's."""
    (folder / "bob").mkdir()
    (folder / "real").mkdir()
    (folder / "bob" / "link").symlink_to("../real")
    os.chown(folder / "bob", OTHER_USER, OTHER_USER)
    os.chown(folder / "bob" / "link", OTHER_USER, OTHER_USER, follow_symlinks=False)
    return folder / "bob"


def a_link_through(folder: Path) -> tuple[Path, Path]:
    bob = others_folder(folder)
    (folder / "chain").symlink_to(bob / "link")
    return folder / "chain", bob


def below_a_link_through(folder: Path) -> tuple[Path, Path]:
    chain, bob = a_link_through(folder)
    return chain / "sub", bob


def a_relative_chain(folder: Path) -> tuple[Path, Path]:
    chain, bob = a_link_through(folder)
    (folder / "first").symlink_to(chain.name)
    return folder / "first", bob


def a_link_of_others(folder: Path) -> tuple[Path, Path]:
    (folder / "real").mkdir()
    link = folder / "link"
    link.symlink_to("real")
    os.chown(link, OTHER_USER, OTHER_USER, follow_symlinks=False)
    return link, link


def a_log_folder_of_others(folder: Path) -> tuple[Path, Path]:
    bob = others_folder(folder)
    (folder / "real" / "log").symlink_to(bob)
    return folder / "real", bob


def a_log_folder_through(folder: Path) -> tuple[Path, Path]:
    bob = others_folder(folder)
    (folder / "logs").mkdir()
    (folder / "real" / "log").symlink_to(bob / "link" / ".." / "logs")
    return folder / "real", bob


def a_shared_log_folder(folder: Path) -> tuple[Path, Path]:
    log = folder / "real" / "log"
    log.mkdir(parents=True)
    log.chmod(0o1777)
    return folder / "real", log


UNSAFE_PATHS = (
    a_link_through, below_a_link_through, a_relative_chain, a_link_of_others,
    a_log_folder_of_others, a_log_folder_through, a_shared_log_folder,
)  # fmt: skip
"""Each makes a place that must not be used; returns it, and the bad part of its path."""


@as_root
@pytest.mark.parametrize("command", [[START], GUNICORN], ids=["nginx/start", "gunicorn"])
@pytest.mark.parametrize("prepare", UNSAFE_PATHS, ids=lambda prepare: prepare.__name__)
def test_a_path_that_others_can_choose_is_refused(
    folder: Path,
    command: Sequence[str | Path],
    prepare: Callable[[Path], tuple[Path, Path]],
) -> None:
    var, wrong = prepare(folder)
    before = everything(folder)
    text = refused(command, var)
    assert re.search(rf"IPGEO_VAR: {wrong}(/\.)? (belongs to another user|is writable)", text), text
    assert everything(folder) == before


@as_root
def test_a_path_that_root_has_chosen_is_accepted(folder: Path, var: Path) -> None:
    """Links of root's, for the folder and the log."""
    (folder / "data").mkdir()
    (folder / "link").symlink_to("var")
    log = var / "log" / "fallback.log"
    log.symlink_to(folder / "data" / "moved.log")
    link, settings = folder / "link", {"IPGEO_FALLBACK_ERROR_LOG": log}
    with Edge(link, var / "ipgeo.blob"), Gunicorn(link, var / "ipgeo.blob", **settings):
        assert "[INFO] loaded blob" in (folder / "data" / "moved.log").read_text()


def a_log_that_is_a_link(folder: Path) -> tuple[Path, Path]:
    log = folder / "f.log"
    log.symlink_to(folder / "victim")
    os.chown(log, OTHER_USER, OTHER_USER, follow_symlinks=False)
    return log, log


def a_log_in_others_folder(folder: Path) -> tuple[Path, Path]:
    bob = others_folder(folder)
    return bob / "f.log", bob


def a_log_below_a_link_through(folder: Path) -> tuple[Path, Path]:
    chain, bob = a_link_through(folder)
    return chain / "f.log", bob


def a_log_that_leads_through(folder: Path) -> tuple[Path, Path]:
    bob = others_folder(folder)
    log = folder / "f.log"
    log.symlink_to(bob / "link" / "f.log")
    return log, bob


@as_root
@pytest.mark.parametrize("kind", ["ACCESS", "ERROR"])
@pytest.mark.parametrize(
    "prepare",
    [
        a_log_that_is_a_link,
        a_log_in_others_folder,
        a_log_below_a_link_through,
        a_log_that_leads_through,
    ],
    ids=lambda prepare: prepare.__name__,
)
def test_gunicorns_log_where_others_can_choose(
    folder: Path, var: Path, kind: str, prepare: Callable[[Path], tuple[Path, Path]]
) -> None:
    log, wrong = prepare(folder)
    before = everything(folder)
    name = f"IPGEO_FALLBACK_{kind}_LOG"
    text = refused(GUNICORN, var, **{name: log})
    assert text == f"gunicorn.conf.py: {name}: {wrong} belongs to another user ({OTHER_USER})\n"
    assert everything(folder) == before


@as_root
def test_a_shared_folder_with_the_sticky_bit_serves(var: Path) -> None:
    """As a container's tmpfs: others may add files, but replace none."""
    var.chmod(0o1777)
    with Edge(var, var / "ipgeo.blob") as edge, Gunicorn(var, var / "ipgeo.blob") as fallback:
        assert get(edge.address, "/readyz").status == 200
        assert get(fallback.address, "/readyz").status == 200


def test_nothing_is_writable_and_no_log_is_readable_by_others(folder: Path) -> None:
    (folder / "ipgeo.blob").write_bytes(blobs.fictional())
    before = os.umask(0)
    try:
        with ExitStack() as running:
            logs = {"IPGEO_FALLBACK_ACCESS_LOG": folder / "log" / "fallback.log"}
            edge = running.enter_context(Edge(folder, folder / "ipgeo.blob"))
            running.enter_context(Gunicorn(folder, folder / "ipgeo.blob", **logs))
            assert get(edge.address, "/healthz").status == 200
            assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("nginx", "log")} == {
                0o755
            }
            open_to_all = [
                name
                for name, (_, mode, _) in everything(folder).items()
                if stat.S_ISREG(mode) and mode & 0o022 and name != "ipgeo.blob"
                if not name.endswith((".out", "gunicorn.log"))  # the harness has made them
            ]
            assert open_to_all == []
            files = list((folder / "log").iterdir())
            assert {path.name for path in files} >= {"access.log", "error.log", "fallback.log"}
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}
    finally:
        os.umask(before)


# --- the current folder ---------------------------------------------------------------------------

EVIL_PYTHON = "open({marker!r}, 'a').write(__name__ + '\\n')\nraise ImportError(__name__)\n"
EVIL_LUA = (
    'local f = io.open([==[{marker}]==], "a") f:write(... or "?", "\\n") f:close()\nerror("evil")\n'
)


@pytest.fixture
def hostile(folder: Path) -> tuple[Path, Path]:
    """A folder with a module of every name that could be asked for, and the file they write to."""
    hostile, marker = folder / "hostile", folder / "marker"
    site = Path(PROGRAM).resolve().parents[1] / "lib"
    packages = {path.name for path in site.glob("python3*/site-packages/*")}
    names = {name.split(".")[0].split("-")[0] for name in packages}
    optional = {"setproctitle", "tracemalloc", "sitecustomize", "usercustomize", "ipgeo"}
    for name in {*sys.stdlib_module_names, *names, *optional, "ipgeo_fallback", "harness"}:
        (hostile / name).mkdir(parents=True, exist_ok=True)
        (hostile / name / "__init__.py").write_text(EVIL_PYTHON.format(marker=str(marker)))
    modules = [path.relative_to(ROOT / "lua") for path in (ROOT / "lua").rglob("*.lua")]
    shared = Path("/usr/share/lua/5.1")
    modules += [path.relative_to(shared) for path in shared.rglob("*.lua")]
    for module in [*modules, Path("cjson.lua"), Path("cjson/safe.lua"), Path("ipgeo.lua")]:
        (hostile / module).parent.mkdir(parents=True, exist_ok=True)
        (hostile / module).write_text(EVIL_LUA.format(marker=marker))
    (hostile / "gunicorn.conf.py").write_text(EVIL_PYTHON.format(marker=str(marker)))
    (hostile / "supervisord.conf").write_text("[supervisord\n")
    return hostile, marker


def test_the_servers_take_nothing_from_the_current_folder(
    var: Path, hostile: tuple[Path, Path]
) -> None:
    folder, marker = hostile
    variables = environment(
        {"IPGEO_VAR": var, "IPGEO_PORT": (port := free_port()), "IPGEO_WORKERS": 1}
    )
    with ExitStack() as running:
        for command in ([START], GUNICORN):
            output = running.enter_context((var / "output").open("ab"))
            process = subprocess.Popen(
                command, cwd=folder, env=variables, stdout=output, stderr=output
            )
            running.callback(process.wait, 20)
            running.callback(process.terminate)
        for address in (("127.0.0.1", port), var / "fallback.sock"):
            wait.until(partial(is_ready, address), f"{address} is ready", 20)
            assert get(address, f"/api/ip_query?ip={blobs.ATLANTIS_IP}").status == 200
            assert get(address, "/api/ip_query?ip=x").status == 400
    assert not marker.exists(), marker.read_text()


def is_ready(address: "tuple[str, int] | Path") -> bool:
    try:
        return get(address, "/readyz").status == 200
    except (OSError, ValueError):
        return False


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ([ROOT / "script" / "bootstrap"], 0),
        ([ROOT / "script" / "prove", "none.blob", "none.dat", "none"], 1),
        ([ROOT / "script" / "soak"], 2),
        ([ROOT / "bench" / "startup"], 2),
        ([ROOT / "bench" / "lookup", "--rounds", "1", "--runs", "2000", "--city", "20000"], 0),
        ([*GUNICORN, "--check-config"], 0),
    ],
    ids=lambda value: Path(value[0]).name if isinstance(value, list) else "",
)
def test_the_programs_take_nothing_from_the_current_folder(
    var: Path, hostile: tuple[Path, Path], command: list[str | Path], status: int
) -> None:
    folder, marker = hostile
    variables = environment({"IPGEO_VAR": var})
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert not marker.exists(), marker.read_text()
    assert done.returncode == status, done.stderr


# --- one at a time --------------------------------------------------------------------------------


def test_a_second_nginx_changes_nothing(folder: Path) -> None:
    (folder / "ipgeo.blob").write_bytes(blobs.fictional())
    with Edge(folder, folder / "ipgeo.blob") as edge:
        before = everything(folder / "nginx"), (folder / "nginx.pid").read_text()
        for command in (START, SERVER):
            text = refused([command], folder, IPGEO_BLOB=folder / "ipgeo.blob")
            assert f"another nginx runs with this IPGEO_VAR: {folder}\n" in text
        assert (everything(folder / "nginx"), (folder / "nginx.pid").read_text()) == before
        variables = environment({"IPGEO_VAR": folder, "IPGEO_PORT": free_port()})
        subprocess.run([START, "-t", "-q"], env=variables, check=True)
        edge.hup()
        assert get(edge.address, "/readyz").status == 200


def test_a_second_gunicorn_changes_nothing(folder: Path) -> None:
    (folder / "ipgeo.blob").write_bytes(blobs.fictional())
    with Gunicorn(folder, folder / "ipgeo.blob") as fallback:
        for command in (GUNICORN, [SERVER]):
            text = refused(command, folder, IPGEO_BLOB=folder / "ipgeo.blob")
            assert f"another gunicorn runs with this IPGEO_VAR: {folder}\n" in text
        assert int(fallback.pid_file.read_text()) == fallback.pid
        assert get(fallback.address, "/readyz").status == 200


def test_a_second_gunicorn_leaves_the_first_ones_socket(folder: Path) -> None:
    """Each has an IPGEO_VAR of its own."""
    blob, second = folder / "ipgeo.blob", folder / "second"
    blob.write_bytes(blobs.fictional())
    second.mkdir()
    with Gunicorn(folder, blob) as first:
        inode = Path(str(first.address)).stat().st_ino
        bind = f"127.0.0.1:{free_port()},unix:{first.address}"
        text = refused(GUNICORN, second, IPGEO_BLOB=blob, IPGEO_FALLBACK_BIND=bind)
        assert text == (
            f"gunicorn.conf.py: IPGEO_FALLBACK_BIND: another program serves at {first.address}\n"
        )
        assert inode == Path(str(first.address)).stat().st_ino
        assert get(first.address, "/readyz").status == 200


def test_a_killed_gunicorns_socket_is_taken_over(folder: Path) -> None:
    """Its workers serve until they notice."""
    blob = folder / "ipgeo.blob"
    blob.write_bytes(blobs.fictional())
    killed = Gunicorn(folder, blob)
    killed.start()
    os.kill(killed.pid, signal.SIGKILL)
    killed.stop()
    with Gunicorn(folder, blob) as server:
        own = f"{server.pid}\n"
        wait.until(
            lambda: server.pid_file.exists() and server.pid_file.read_text() == own, "its own"
        )
        wait.until(lambda: is_ready(server.address), "it is ready")


def test_stale_pid_files_of_living_processes_are_replaced(folder: Path) -> None:
    """After a power loss a pid file may name an unrelated process: here it is this test."""
    (folder / "ipgeo.blob").write_bytes(blobs.fictional())
    for name in ("nginx.pid", "fallback.pid", "fallback.pid.2"):
        (folder / name).write_text(f"{os.getpid()}\n")
    with (
        Edge(folder, folder / "ipgeo.blob") as edge,
        Gunicorn(folder, folder / "ipgeo.blob") as own,
    ):
        assert int((folder / "nginx.pid").read_text()) == edge.pid
        assert int(own.pid_file.read_text()) == own.pid
        assert not (folder / "fallback.pid.2").exists()


# --- the access log -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("off", []), ("errors", ["404", "400"]), ("on", ["200", "404", "400"])],
)
def test_which_requests_are_logged(folder: Path, value: str, wanted: list[str]) -> None:
    (folder / "ipgeo.blob").write_bytes(blobs.fictional())
    with Edge(folder, folder / "ipgeo.blob", IPGEO_ACCESS_LOG=value, IPGEO_WORKERS=1) as edge:
        for target in ("/healthz", "/nothing", "/api/ip_query?ip=x"):
            get(edge.address, target)
    text = edge.access_log.read_text() if edge.access_log.exists() else ""
    # Of the harness's own health checks, only the status is known.
    found = re.findall(r'"GET (\S+) HTTP/1.1" (\d+)', text)
    assert [status for path, status in found if path != "/healthz" or value != "on"] == [
        status for status in wanted if status != "200"
    ]
    assert any(status == "200" for _, status in found) == ("200" in wanted)
