"""The fallback alone: settings, a blob that is missing or bad, privileges, gunicorn."""

import contextlib
import json
import logging
import os
import pwd
import runpy
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from harness import blobs, wait
from harness.client import connect, get, post, request
from harness.gunicorn import SOURCE, Gunicorn
from harness.ports import free_port
from harness.process import children
from harness.rights import as_root
from ipgeo.errors import SettingError
from ipgeo.ranges.address import IPV4, IPV6, Address
from ipgeo.settings.checks import size_in_bytes
from ipgeo_fallback import create_app, store_of
from ipgeo_fallback.errors import INVALID_JSON, RefusedError
from ipgeo_fallback.parse import ARRAY, OBJECT, Query, from_body, from_query
from ipgeo_fallback.settings import Settings
from ipgeo_fallback.store import BlobStore

PATH = "/api/ip_query"
QUERY = f"{PATH}?ip={blobs.ATLANTIS_IP}"


def client_of(blob: Path | None, **settings: Any) -> FlaskClient:
    return create_app(Settings(blob, **settings)).test_client()


class Clock:
    """A clock that the test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


# Settings


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("65536", 65536), ("64k", 65536), ("64K", 65536), ("2m", 2 << 20), ("9M", 9 << 20)],
)
def test_parse_size(text: str, size: int) -> None:
    assert size_in_bytes(text, "km") == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        "-1",
        "1.5k",
        "64kb",
        "0x10",
        "1 k",
        "٦٤",
        "9" * 10,
        "1g",
        "0",
        "0k",
        "01",
        " 1",
        "1\n",
    ],
)
def test_parse_size_refuses(text: str) -> None:
    assert size_in_bytes(text, "km") is None


@pytest.mark.parametrize("text", ["1", "0.05", "99999", "0.001"])
def test_the_refresh_interval(text: str) -> None:
    settings = Settings.from_environment({"IPGEO_REFRESH_INTERVAL": text})
    assert settings.refresh_interval == float(text)


@pytest.mark.parametrize(
    "text", ["0", "-1", "nan", "inf", "-inf", "1e-3", "1e999", "1e-999", "1s", " "]
)
def test_an_invalid_refresh_interval_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^IPGEO_REFRESH_INTERVAL must be a number of seconds"):
        Settings.from_environment({"IPGEO_REFRESH_INTERVAL": text})


def test_settings_from_environment() -> None:
    names = ("IPGEO_BLOB", "IPGEO_BODY_LIMIT", "IPGEO_BATCH_LIMIT")
    for unset in ({}, dict.fromkeys(names, "")):
        assert Settings.from_environment(unset) == Settings(None, 65536, 1000)
    given = dict(zip(names, ("/x/y.blob", "1k", "7"), strict=True))
    assert Settings.from_environment(given) == Settings(Path("/x/y.blob"), 1024, 7)


@pytest.mark.parametrize(
    ("batch", "body"), [("1", 65536), ("1344", 65536), ("1345", 65584), ("100000", 4_801_024)]
)
def test_the_body_limit_follows_the_batch_limit(batch: str, body: int) -> None:
    assert Settings.from_environment({"IPGEO_BATCH_LIMIT": batch}).body_limit == body


@pytest.mark.parametrize("text", ["0", "-1", "100001", "1k", " 1", "1.0", "٣", "01", "9" * 20])
def test_an_invalid_batch_limit_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="must be a number from 1 to 100000"):
        Settings.from_environment({"IPGEO_BATCH_LIMIT": text})


def test_body_limit_is_a_setting(blob: Path) -> None:
    client = client_of(blob, body_limit=20)
    body = b'{"ip":"1.2.3.4"}'
    assert client.post(PATH, data=body.ljust(20)).status_code == 200
    reply = client.post(PATH, data=body.ljust(21))
    assert reply.status_code == 413
    assert json.loads(reply.data)["error"]["code"] == "body_too_large"


# A missing file, or one that is not a blob


def break_layout(blob: bytes) -> bytes:
    return blob[:8] + b"\x01" + blob[9:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: None, "No such file"),
        (lambda _: b"", "0 bytes"),
        (lambda blob: blob[:-1], "the header says"),
        (lambda blob: blob[:-1] + b"\xff", "damaged"),
        (break_layout, "blob layout 1, this reader reads 2: build it again"),
    ],
)
def test_without_a_good_blob(
    blob: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[bytes], bytes | None],
    reason: str,
) -> None:
    good = blob.read_bytes()
    bad = change(good)
    blob.unlink() if bad is None else blob.write_bytes(bad)
    client = client_of(blob)
    assert_unavailable(client)
    clock.now += 1.5
    assert_unavailable(client)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, "it is logged once"
    assert reason in warnings[0].getMessage()
    assert str(blob) in warnings[0].getMessage()

    blob.write_bytes(good)
    assert client.get(QUERY).status_code == 503, "it is not looked for more than once a second"
    clock.now += 1.5
    assert client.get(QUERY).data == blobs.ATLANTIS_ARRAY
    assert client.get("/readyz").status_code == 200


def assert_unavailable(client: FlaskClient) -> None:
    for reply in (
        client.get(QUERY),
        client.post(PATH, data=b'{"ip":"1.2.3.4"}'),
        client.get("/readyz"),
    ):
        assert reply.status_code == 503
        assert json.loads(reply.data)["error"]["code"] == "unavailable"
        assert "ETag" not in reply.headers
    assert client.get("/healthz").status_code == 200
    assert client.get("/x").status_code == 404


def test_no_blob_is_named(caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(None)
    assert_unavailable(client)
    assert "IPGEO_BLOB is not set" in caplog.text


def test_a_folder_that_appears_later(folder: Path, clock: Clock) -> None:
    path = folder / "later" / "test.blob"
    client = client_of(path)
    assert_unavailable(client)
    path.parent.mkdir()
    path.write_bytes(blobs.fictional())
    clock.now += 1.5
    assert client.get(QUERY).data == blobs.ATLANTIS_ARRAY


def test_a_loaded_blob_is_in_memory(blob: Path) -> None:
    """The file may be truncated in place: it is not mapped."""
    client = client_of(blob)
    with blob.open("r+b") as file:
        file.truncate(0)
    assert client.get(QUERY).data == blobs.ATLANTIS_ARRAY


def test_readyz_has_the_age_of_the_file(blob: Path) -> None:
    an_hour_ago = time.time() - 3600
    os.utime(blob, (an_hour_ago, an_hour_ago))
    state = json.loads(client_of(blob).get("/readyz").data)
    assert 3600 <= state["data_age"] < 3660


# Errors


def test_an_unexpected_exception(
    blob: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Settings(blob))

    def fail() -> None:
        raise ZeroDivisionError(f"at {blobs.ATLANTIS_IP}")

    monkeypatch.setattr(store_of(app), "current", fail)
    reply = app.test_client().get(QUERY)
    assert reply.status_code == 500
    assert reply.content_type == "application/json"
    assert reply.json == {"error": {"code": "internal", "message": "internal error"}}
    assert "ZeroDivisionError" in caplog.text
    assert ", in fail" in caplog.text
    assert blobs.ATLANTIS_IP not in caplog.text, "addresses are personal data"


# Questions


_addresses = st.builds(Address, st.just(IPV4), st.integers(0, IPV4.last)) | st.builds(
    Address, st.just(IPV6), st.integers(0, IPV6.last)
)


@given(_addresses, st.sampled_from([ARRAY, OBJECT]))
def test_a_query_is_parsed_back(address: Address, form: str) -> None:
    ip = str(address)
    assert from_query(f"ip={ip}&format={form}".encode()) == Query(address, form)
    body = json.dumps({"format": form, "ip": ip}).encode()
    assert from_body(body, 1) == Query(address, form)


@given(st.binary(max_size=64))
def test_any_query_is_answered_or_refused(query: bytes) -> None:
    try:
        parsed = from_query(query)
    except RefusedError as error:
        assert error.fault.status == 400  # noqa: PT017 - both outcomes are allowed
    else:
        assert b"p=" in query or b"%70" in query
        assert parsed.form in (ARRAY, OBJECT)


@given(st.binary(max_size=64) | st.text(alphabet='{}[]",:ip\\u0069 1.e', max_size=64))
def test_any_body_is_answered_or_refused(content: bytes | str) -> None:
    body = content if isinstance(content, bytes) else content.encode()
    try:
        from_body(body, 1)
    except RefusedError as error:
        assert error.fault.status == 400  # noqa: PT017


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(st.dictionaries(st.text().filter("ips".__ne__), _json, max_size=5), st.booleans())
def test_other_members_are_ignored(members: dict[str, object], ascii_only: bool) -> None:
    asked = {**members, "ip": "1.2.3.4", "format": "object"}
    text = json.dumps(asked, ensure_ascii=ascii_only)
    if "Infinity" not in text and depth_of(asked) <= 8:
        assert from_body(text.encode(), 1) == Query(Address(IPV4, 0x01020304), OBJECT)


@pytest.mark.parametrize(
    "body", [b'"' + rb"\"" * 500_000, b"[" * 1_000_000, b'{"a":"' + b"\\" * 999_999, b'"' * 999_999]
)
def test_hostile_bodies_take_linear_time(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(RefusedError) as caught:
        from_body(body, 1)
    assert caught.value.fault == INVALID_JSON
    assert time.process_time() - started < 2


# gunicorn


def heartbeat(pid: int) -> float:
    """When the only worker of master ``pid`` last touched its heartbeat file: both hold it open."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if "wgunicorn-" in str(entry.readlink()):
            return entry.stat().st_mtime
    raise LookupError("no heartbeat file")


@pytest.mark.provokes("was sent SIGKILL")
def test_a_worker_that_dies_is_replaced(folder: Path, blob: Path) -> None:
    with Gunicorn(folder, blob) as server:
        (first,) = server.worker_pids()
        os.kill(first, signal.SIGKILL)
        wait.until(lambda: set(server.worker_pids()) - {first}, "a new worker")
        wait.until(lambda: get(server.address, QUERY).status == 200, "it answers")


def test_hup_loads_the_blob_again(folder: Path, blob: Path) -> None:
    with Gunicorn(folder, blob) as server:
        (old,) = server.worker_pids()
        blob.write_bytes(blobs.fictional(gap=True))
        os.kill(server.pid, signal.SIGHUP)
        wait.until(lambda: old not in server.worker_pids(), "the old worker ends")
        assert get(server.address, f"{PATH}?ip={blobs.GAP_IP}").status == 501


def test_missing_blob_does_not_stop_gunicorn(folder: Path) -> None:
    path = folder / "later.blob"
    with Gunicorn(folder, path) as server:
        assert get(server.address, QUERY).status == 503
        assert "no blob is loaded" in server.output.text()
        path.write_bytes(blobs.fictional())
        wait.until(lambda: get(server.address, QUERY).status == 200, "it is found", seconds=3)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@as_root
def test_the_socket_is_open_to_the_serving_group_only(folder: Path, blob: Path) -> None:
    """Also during its creation: a process that polls never finds it open to others."""
    user, other = pwd.getpwnam("www-data"), pwd.getpwnam("nobody")
    with Gunicorn(folder, blob, IPGEO_USER=user.pw_name) as server:
        status = (folder / "fallback.sock").stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, user.pw_gid, 0o660)
        for ids, answer in (
            ((user.pw_uid, user.pw_gid), "connected"),
            ((other.pw_uid, other.pw_gid), "PermissionError"),
        ):
            done = subprocess.run(
                ["python3", "-c", CONNECT, str(server.address)],
                user=ids[0],
                group=ids[1],
                extra_groups=[],
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout.strip() == answer


CONNECT = """
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What gunicorn.conf.py defines; it writes into the environment."""
    monkeypatch.setenv("IPGEO_BLOB", "/none.blob")
    return runpy.run_path(str(SOURCE / "gunicorn.conf.py"))


def test_the_socket_is_never_open_to_others(folder: Path, blob: Path, conf: dict[str, Any]) -> None:
    """bind() makes it with this mode; `when_ready` changes its group, and nothing changes it."""
    assert 0o777 & ~conf["umask"] == 0o660
    with Gunicorn(folder, blob):
        assert mode_of(folder / "fallback.sock") == 0o660


@as_root
def test_a_link_in_the_sockets_place_is_not_followed(folder: Path, conf: dict[str, Any]) -> None:
    """A user who may write in its folder could make root give away any file."""
    secret, socket_path = folder / "secret", folder / "fallback.sock"
    secret.touch(0o600)
    socket_path.symlink_to(secret)
    listener = SimpleNamespace(cfg_addr=str(socket_path))
    conf["when_ready"](SimpleNamespace(LISTENERS=[listener]))
    assert secret.stat().st_gid == 0
    assert socket_path.lstat().st_gid == pwd.getpwnam("www-data").pw_gid


def test_files_and_logs(folder: Path, blob: Path) -> None:
    log = folder / "access.log"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_ACCESS_LOG=log) as server:
        assert int((folder / "fallback.pid").read_text()) == server.pid
        assert mode_of(log) == 0o640, "it holds the clients' addresses"
        assert get(server.address, QUERY).status == 200
        wait.until(lambda: PATH in log.read_text(), "the request is logged")
        assert blobs.ATLANTIS_IP not in log.read_text() + server.output.text()
    assert not (folder / "fallback.pid").exists()


def test_body_limit_of_the_environment(folder: Path, blob: Path) -> None:
    with Gunicorn(folder, blob, IPGEO_BODY_LIMIT="1k") as server:
        body = b'{"ip":"1.2.3.4"}'
        assert post(server.address, PATH, body.ljust(1024)).status == 200
        assert post(server.address, PATH, body.ljust(1025)).status == 413


def test_an_unfinished_header_blocks_no_other_client(folder: Path, blob: Path) -> None:
    """Whatever its length: the only worker reads it packet by packet, and serves others."""
    headers = b"GET / HTTP/1.1\r\n" + b"".join(
        b"X%d: %s\r\n" % (n, b"x" * 8000) for n in range(2000)
    )
    address = ("127.0.0.1", free_port())
    bind = f"{address[0]}:{address[1]}"
    with Gunicorn(folder, blob, IPGEO_FALLBACK_BIND=bind) as server:
        with connect(server.address) as unfinished:
            with contextlib.suppress(OSError):  # refused before all is sent
                unfinished.sendall(headers)
            assert get(server.address, QUERY).body == blobs.ATLANTIS_ARRAY
            assert unfinished.recv(12) == b"HTTP/1.1 400"
        assert "LimitRequestHeaders" in server.output.text()


@pytest.mark.parametrize(
    "refused",
    [
        request("POST", PATH, body=b" " * 70_000, close=False),
        request("PUT", PATH, body=b" " * 70_000, close=False),
        request("POST", PATH, "Transfer-Encoding: chunked", close=False)
        + b"11170\r\n%s\r\n0\r\n\r\n" % (b" " * 70_000),
        request("GET", "/x", body=b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", close=False),
    ],
)
def test_an_unread_body_is_not_taken_for_a_request(
    folder: Path, blob: Path, refused: bytes
) -> None:
    """The connection is either closed or goes on with exactly the next request."""
    with Gunicorn(folder, blob) as server, connect(server.address) as connection:
        connection.sendall(refused)
        connection.sendall(request("GET", QUERY))
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                received += data
    heads = [line for line in received.split(b"\r\n") if b"HTTP/1.1 " in line]
    assert heads[0].split(b" ")[1] in (b"413", b"404")
    assert len(heads) == 1 or (len(heads) == 2 and received.endswith(blobs.ATLANTIS_ARRAY))


@as_root
def test_workers_give_up_root(folder: Path, blob: Path) -> None:
    """The blob lies where only root may enter; its own folder is open to all."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.move(blob.parent, closed / "data")
    user = pwd.getpwnam("www-data")
    with Gunicorn(folder, closed / "data" / "test.blob", IPGEO_USER=user.pw_name) as server:
        assert get(server.address, QUERY).body == blobs.ATLANTIS_ARRAY
        (worker,) = children(server.pid)
        status = Path(f"/proc/{worker}/status").read_text()
        assert f"Uid:\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}" in status
        assert f"Gid:\t{user.pw_gid}\t{user.pw_gid}\t{user.pw_gid}" in status
        assert f"Groups:\t{user.pw_gid} \n" in status
        before = heartbeat(server.pid)
        wait.until(lambda: heartbeat(server.pid) > before, "a heartbeat")
        assert server.worker_pids() == [worker]
        for target in ("/x", f"{PATH}?ip=x", "/readyz", "/healthz"):
            assert get(server.address, target).headers["content-type"] == "application/json"
        assert post(server.address, PATH, b"[" * 5000).status == 400
        assert "can be loaded by this user" not in server.output.text()


@as_root
def test_a_blob_that_comes_later_is_read_without_root(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    path = closed / "data" / "test.blob"
    path.parent.mkdir()
    with Gunicorn(folder, path) as server:
        assert get(server.address, QUERY).status == 503
        path.write_bytes(blobs.fictional())
        wait.until(lambda: get(server.address, QUERY).status == 200, "it is found", seconds=3)


@as_root
def test_a_blob_for_root_alone_is_served_with_a_warning(folder: Path, blob: Path) -> None:
    blob.chmod(0o600)
    with Gunicorn(folder, blob) as server:
        assert get(server.address, QUERY).status == 200
        assert "no newer blob can be loaded by this user" in server.output.text()


def test_a_folder_is_found_by_its_path_first(folder: Path, blob: Path) -> None:
    """Another folder at the path of the first one counts, not the one that was opened."""
    store = BlobStore(blob)
    blob.parent.rename(folder / "old")
    blob.parent.mkdir()
    blob.write_bytes(blobs.fictional(gap=True))
    loaded = store.current()
    assert loaded is not None
    assert loaded.blob.runs == 5
