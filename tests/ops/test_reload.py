"""nginx/reload: new settings and new code for a running nginx, and what it refuses."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import ROOT, wait
from harness.client import get, post
from harness.edge import Edge
from harness.judged_load import assert_faultless, differing, under_load
from harness.process import Done, environment
from harness.rights import as_other_user
from harness.soak.expected import ExpectedFromSource

RELOAD = ROOT / "nginx" / "reload"
LIMIT = 250
"""Of a batch: more than the load asks for, less than the default."""
STAYS = "the running one stays\n"


@pytest.fixture
def expected(folder: Path) -> ExpectedFromSource:
    """The answers of the blob that is served."""
    return differing(folder, "served", 500)


@pytest.fixture
def edge(folder: Path, expected: ExpectedFromSource) -> Iterator[Edge]:
    blob = folder / "served.blob"
    blob.write_bytes(expected.data)
    with Edge(folder, blob, IPGEO_LUA=copy_of_lua(folder)) as edge:
        yield edge


def copy_of_lua(folder: Path) -> Path:
    return Path(shutil.copytree(ROOT / "lua", folder / "lua", dirs_exist_ok=True))


def reload(edge: Edge, *arguments: str, before: tuple[str, ...] = (), **settings: object) -> Done:
    """Reload a server with the settings of its start, but for ``settings``.

    ``before`` is a command that runs the program.
    """
    started_with = {
        "IPGEO_VAR": edge.folder,
        "IPGEO_BLOB": edge.folder / "served.blob",
        "IPGEO_PORT": edge.port,
        "IPGEO_WORKERS": 2,
        "IPGEO_DICT_SIZE": "16m",
        "IPGEO_LUA": edge.folder / "lua",
    }
    done = subprocess.run(
        [*before, RELOAD, *arguments],
        cwd="/",
        env=environment(started_with | settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def takes(edge: Edge, count: int) -> bool:
    """Whether a batch of so many addresses is answered."""
    body = "\n".join(["1.2.3.4"] * count).encode()
    return post(edge.address, "/api/ip_query", body, "Content-Type: text/plain").status == 200


def wait_until_limited(edge: Edge) -> None:
    """Return when the workers of before have gone: the first new one ends a reload."""
    wait.until(lambda: not takes(edge, LIMIT + 1), "the new limit holds")
    assert takes(edge, LIMIT)


def ready(edge: Edge) -> str:
    return get(edge.address, "/readyz").body.decode()


def has_code(edge: Edge, text: str) -> bool:
    return get(edge.address, "/healthz").body.decode().startswith(text)


def assert_unchanged(edge: Edge, conf: bytes) -> None:
    """It answers as before, and a HUP brings nothing new."""
    assert takes(edge, LIMIT + 1)
    assert (edge.folder / "nginx" / "nginx.conf").read_bytes() == conf
    assert list((edge.folder / "tmp").glob("reload.*")) == []


def test_new_settings_and_code_under_load(edge: Edge, expected: ExpectedFromSource) -> None:
    health = edge.folder / "lua" / "ipgeo" / "http" / "health.lua"
    with under_load(edge.address, [expected], "nginx/reload") as running:
        running.run_for(0.5)
        assert takes(edge, LIMIT + 1)
        health.write_text(health.read_text().replace('"status":"ok"', '"status":"fine"'))
        assert reload(edge, IPGEO_BATCH_LIMIT=LIMIT) == (0, "", "")
        running.run_for(0.5)
    assert_faultless(running.tally)
    wait_until_limited(edge)
    assert has_code(edge, '{"status":"fine"')


def test_another_blob_under_load(edge: Edge, expected: ExpectedFromSource) -> None:
    """As of another version's layout: at another path, while the first one stays."""
    other = differing(edge.folder, "other", 500, seed=2)
    path = edge.folder / "other.blob"
    path.write_bytes(other.data)
    with under_load(edge.address, [expected, other], "nginx/reload, another blob") as running:
        running.timeline.publish(1)
        assert reload(edge, IPGEO_BLOB=path) == (0, "", "")
        wait.until(lambda: other.build_id in ready(edge), "the other blob is served")
        running.run_for(0.5)
    assert_faultless(running.tally)


@pytest.mark.provokes(r"bind\(\) to 0\.0\.0\.0:\d+ failed", r"still could not bind")
def test_a_refused_setting_under_load(edge: Edge, expected: ExpectedFromSource) -> None:
    """The second one fails after the HUP alone: nginx's own socket is in the way."""
    conf = (edge.folder / "nginx" / "nginx.conf").read_bytes()
    with under_load(edge.address, [expected], "nginx/reload, refused") as running:
        done = reload(edge, IPGEO_BATCH_LIMIT=0)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith("nginx/reload: IPGEO_BATCH_LIMIT must be a number from 1 to")
        assert_unchanged(edge, conf)

        done = reload(edge, IPGEO_BATCH_LIMIT=LIMIT, IPGEO_BIND="0.0.0.0")  # noqa: S104
        assert done.status == 1
        assert re.search(
            r"bind\(\) to 0\.0\.0\.0:\d+ failed \(98: .*still could not bind", done.err, re.DOTALL
        )
        assert done.err.endswith(STAYS)
        assert_unchanged(edge, conf)
        running.run_for(0.5)
    assert_faultless(running.tally)


@pytest.mark.provokes(r"bind\(\) to 192\.0\.2\.1:\d+ failed")
def test_what_nginx_refuses_in_the_test(edge: Edge) -> None:
    conf = (edge.folder / "nginx" / "nginx.conf").read_bytes()
    done = reload(edge, IPGEO_BIND="192.0.2.1")
    assert done.status == 1
    assert "bind() to 192.0.2.1" in done.err
    assert done.err.endswith(STAYS)
    assert_unchanged(edge, conf)


@pytest.mark.provokes(r"init_by_lua error: error loading module 'ipgeo\.http\.worker'")
def test_code_that_does_not_load(edge: Edge) -> None:
    conf = (edge.folder / "nginx" / "nginx.conf").read_bytes()
    worker = edge.folder / "lua" / "ipgeo" / "http" / "worker.lua"
    worker.write_text("no Lua\n")
    done = reload(edge, IPGEO_BATCH_LIMIT=LIMIT)
    assert done.status == 1
    assert "worker.lua:1: '=' expected near 'Lua'" in done.err
    assert_unchanged(edge, conf)


def test_a_log_that_is_a_stream(edge: Edge) -> None:
    """As in a container: it is not read, which would wait for ever."""
    log = edge.folder / "log" / "error.log"
    kept = log.rename(log.with_name("kept"))
    log.symlink_to("/dev/stderr")
    assert reload(edge, IPGEO_BATCH_LIMIT=LIMIT) == (0, "", "")
    kept.replace(log)
    wait_until_limited(edge)


@pytest.mark.provokes(r"bind\(\) to 0\.0\.0\.0:\d+ failed")
def test_a_master_that_ends_during_the_reload(edge: Edge) -> None:
    log = edge.folder / "log" / "error.log"
    with ThreadPoolExecutor() as pool:
        reloading = pool.submit(reload, edge, IPGEO_BIND="0.0.0.0")  # noqa: S104
        wait.until(lambda: "bind() to 0.0.0.0" in log.read_text(), "nginx tries to listen")
        os.kill(edge.pid, signal.SIGKILL)
        edge.stop()  # its parent collects it
        done = reloading.result()
    assert done == (1, "", "nginx/reload: nginx has ended during the reload\n")


@as_other_user
def test_a_user_that_may_not_read_the_pid_file(edge: Edge) -> None:
    as_www_data = ("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups")
    done = reload(edge, before=as_www_data)
    assert done.status == 1
    assert re.search(r"IPGEO_VAR: \S+/nginx\.pid is not readable by www-data", done.err)


def test_without_a_running_nginx(edge: Edge) -> None:
    edge.stop()
    missing = f"nginx/reload: IPGEO_VAR: no nginx runs in {edge.folder}\n"
    assert reload(edge) == (1, "", missing)


def test_an_argument_that_it_does_not_take(edge: Edge) -> None:
    done = reload(edge, "now")
    assert (done.status, done.out) == (2, "")
    assert "unexpected argument 'now'" in done.err
