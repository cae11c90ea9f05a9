"""`require "ipgeo"` from another application's nginx.conf, and that of docs/openresty.md."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ROOT, blobs, wait
from harness.blobs import (
    ATLANTIS_ARRAY,
    ATLANTIS_IP,
    ATLANTIS_OBJECT,
    GAP_IP,
    UTOPIA_ARRAY,
    UTOPIA_IP,
    UTOPIA_OBJECT,
)
from harness.client import Reply, get
from harness.edge import Edge, application
from harness.logs import NGINX, Log
from harness.ports import HAS_IPV6, free_port
from harness.process import Server, environment
from ipgeo.blob.reader import Blob
from ipgeo.files.atomic import write_atomically

HTTP = """
    lua_shared_dict DICT 16m;
    init_by_lua_block {
        require("ipgeo").setup{ blob = "{{ settings.IPGEO_BLOB }}"OPTIONS }
    }
    init_worker_by_lua_block { require("ipgeo").init_worker() }
"""
SERVER = """
        location = /healthz { return 200; }

        location = /where {
            content_by_lua_block {
                local arguments = ngx.req.get_uri_args()
                local answer, err = require("ipgeo").lookup(arguments.ip, arguments.format)
                if not answer then
                    ngx.status = 404
                    return ngx.print(err)
                end
                ngx.print(answer)
            }
        }

        # Other phases than the usual one.
        location = /phases {
            set_by_lua_block $set { return require("ipgeo").lookup("1.2.3.4") }
            rewrite_by_lua_block { ngx.ctx.rewrite = require("ipgeo").lookup("1.2.3.4") }
            access_by_lua_block {
                ngx.ctx.access = require("ipgeo").lookup("1.2.3.4")
                ngx.timer.at(0, function() ngx.log(ngx.NOTICE, "in a timer: ",
                    require("ipgeo").lookup("1.2.3.4")) end)
            }
            header_filter_by_lua_block {
                ngx.header.X_Header = require("ipgeo").lookup("1.2.3.4")
            }
            log_by_lua_block {
                ngx.log(ngx.NOTICE, "in log: ", require("ipgeo").lookup("1.2.3.4"))
            }
            content_by_lua_block {
                ngx.print(ngx.var.set, "\\n", ngx.ctx.rewrite, "\\n", ngx.ctx.access)
            }
        }

        # Values that are not an address as a string; nothing may raise.
        location = /values {
            content_by_lua_block {
                local values = { 16909060, 1.5, true, false, {}, { "1.2.3.4" }, print, "", "x",
                    "1.2.3.4 ", "1.2.3.4\\0", "01.2.3.4", "::1%lo", ("1"):rep(100000) }
                for _, value in ipairs(values) do
                    ngx.say(tostring(select(2, require("ipgeo").lookup(value))))
                end
                ngx.say(tostring(select(2, require("ipgeo").lookup())))
                ngx.say(tostring(select(2, require("ipgeo").lookup(nil, "object"))))
            }
        }

        # A caller's mistakes.
        location = /mistakes {
            content_by_lua_block {
                local setup = require("ipgeo").setup
                for _, options in ipairs{ {}, { blob = 1 }, { blob = true }, "path", 5 } do
                    local ok, err = pcall(setup, options)
                    ngx.say(tostring(ok), " ", err)
                end
                local ok, err = pcall(setup)
                ngx.say(tostring(ok), " ", err)
            }
        }
"""


def serving(folder: Path, blob: Path, name: str = "ipgeo_blob_2", options: str = "") -> Edge:
    http = HTTP.replace("DICT", name).replace("OPTIONS", options)
    return Edge(folder, blob, conf=application(http, SERVER))


@pytest.fixture
def blob(folder: Path) -> Path:
    path = folder / "test.blob"
    path.write_bytes(blobs.fictional(gap=True))
    return path


def where(edge: Edge, query: str) -> tuple[int, bytes]:
    reply = get(edge.address, f"/where?{query}")
    return reply.status, body_of(reply)


def body_of(reply: Reply) -> bytes:
    """The body, which Lua sends in chunks."""
    if "chunked" not in reply.headers.get("transfer-encoding", ""):
        return reply.body
    chunks, rest = [], reply.body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return b"".join(chunks)


@pytest.mark.parametrize(
    ("name", "options"), [("ipgeo_blob_2", ""), ("geo", ', dict = "geo", interval = 0.1')]
)
def test_lookup(folder: Path, blob: Path, name: str, options: str) -> None:
    with serving(folder, blob, name, options) as edge:
        for query, status, body in (
            (f"ip={ATLANTIS_IP}", 200, ATLANTIS_ARRAY),
            (f"ip={ATLANTIS_IP}&format=array", 200, ATLANTIS_ARRAY),
            (f"ip={ATLANTIS_IP}&format=object", 200, ATLANTIS_OBJECT),
            (f"ip={UTOPIA_IP}", 200, UTOPIA_ARRAY),
            (f"ip={UTOPIA_IP}&format=object", 200, UTOPIA_OBJECT),
            (f"ip={GAP_IP}", 404, b"no_data"),
            (f"ip={GAP_IP}&format=object", 404, b"no_data"),
            # As nginx writes the address of an IPv4 client of a listener for both families.
            (f"ip=::ffff:{ATLANTIS_IP}", 200, ATLANTIS_ARRAY),
            (f"ip=::FFFF:{ATLANTIS_IP}", 200, ATLANTIS_ARRAY),
            (
                f"ip=::ffff:{ATLANTIS_IP}&format=object",
                200,
                ATLANTIS_OBJECT.replace(b'"ip":"', b'"ip":"::ffff:'),
            ),
            (f"ip=::ffff:{GAP_IP}", 404, b"no_data"),
            ("ip=::ffff:010.0.0.1", 404, b"invalid_ip"),
            ("ip=::ffff:", 404, b"invalid_ip"),
            ("ip=::ffff:::ffff:1.2.3.4", 404, b"invalid_ip"),
            ("ip=::1.2.3.4", 404, b"no_data"),  # this blob has no IPv6
            ("ip=::fffe:1.2.3.4", 404, b"no_data"),
            ("ip=x::ffff:1.2.3.4", 404, b"invalid_ip"),
            ("ip=::ffff:1.2.3.4%00", 404, b"invalid_ip"),
            ("ip=::ffff:102:304", 200, ATLANTIS_ARRAY),
            ("ip=64:ff9b::1.2.3.4", 200, ATLANTIS_ARRAY),
            ("ip=::ffff:102:304%25eth0", 404, b"invalid_ip"),
            ("ip=010.0.0.1", 404, b"invalid_ip"),
            ("ip=1.2.3.4%00", 404, b"invalid_ip"),
            ("ip=1.2.3.4&ip=1.2.3.4", 404, b"invalid_ip"),
            ("ip", 404, b"invalid_ip"),
            ("", 404, b"invalid_ip"),
        ):
            assert where(edge, query) == (status, body)
        assert "every worker keeps a copy" not in edge.error_log.text()


def test_in_every_phase(folder: Path, blob: Path) -> None:
    with serving(folder, blob) as edge:
        reply = get(edge.address, "/phases")
        assert reply.status == 200
        assert body_of(reply).split(b"\n") == [ATLANTIS_ARRAY] * 3
        assert reply.headers["x-header"].encode("latin-1") == ATLANTIS_ARRAY
        expected = [f"{place}{ATLANTIS_ARRAY.decode()}" for place in ("in a timer: ", "in log: ")]
        wait.until(
            lambda: all(text in edge.error_log.text() for text in expected), "both are logged"
        )


def test_values_that_are_no_address(folder: Path, blob: Path) -> None:
    with serving(folder, blob) as edge:
        reply = get(edge.address, "/values")
        assert reply.status == 200
        assert body_of(reply).split() == [b"invalid_ip"] * 16


def test_mistakes_are_the_caller_s(folder: Path, blob: Path) -> None:
    with serving(folder, blob) as edge:
        printed = body_of(get(edge.address, "/mistakes")).decode().splitlines()
        assert len(printed) == 6
        assert all(line.startswith("false ") for line in printed)
        assert all("ipgeo.setup: { blob = PATH } expected" in line for line in printed)
        assert not [line for line in printed if "init.lua" in line], "level 2: not our own line"
        assert where(edge, f"ip={ATLANTIS_IP}") == (200, ATLANTIS_ARRAY)


@pytest.mark.parametrize("content", [None, b"not a blob"])
def test_unavailable_until_there_is_a_blob(folder: Path, content: bytes | None) -> None:
    path = folder / "test.blob"
    if content:
        path.write_bytes(content)
    with serving(folder, path) as edge:
        for query in (f"ip={ATLANTIS_IP}", f"ip={GAP_IP}&format=object"):
            assert where(edge, query) == (404, b"unavailable")
        assert where(edge, "ip=x") == (404, b"invalid_ip")
        write_atomically(path, blobs.fictional(gap=True))
        edge.hup()
        assert where(edge, f"ip={ATLANTIS_IP}") == (200, ATLANTIS_ARRAY)
        write_atomically(path, blobs.fictional())
        edge.hup()
        assert where(edge, f"ip={GAP_IP}") == (200, UTOPIA_ARRAY)


# Several blobs in one nginx

HTTP_OF_TWO = """
    lua_shared_dict one 16m;
    lua_shared_dict two 16m;
    init_by_lua_block {
        local ipgeo = require "ipgeo"
        loaded = {
            one = ipgeo.new{ blob = "{{ settings.IPGEO_BLOB }}", dict = "one", interval = 0.1 },
            two = ipgeo.new{
                blob = "{{ settings.IPGEO_VAR }}/two.blob", dict = "two", interval = 0.1,
            },
        }
    }
    init_worker_by_lua_block {
        loaded.one:init_worker()
        loaded.two:init_worker()
    }
"""
SERVER_OF_TWO = """
        location = /healthz { return 200; }

        location = /where {
            content_by_lua_block {
                for _, object in ipairs{ loaded.one, loaded.two, require("ipgeo") } do
                    local answer, err
                    if object.new then
                        answer, err = object.lookup(ngx.var.arg_ip)
                    else
                        answer, err = object:lookup(ngx.var.arg_ip)
                    end
                    ngx.say(answer or err)
                end
            }
        }

        location = /mistakes {
            content_by_lua_block {
                local function tell(change)
                    local path = "{{ settings.IPGEO_BLOB }}"
                    local options = { blob = path, dict = "one", interval = 1 }
                    for name, value in pairs(change) do
                        options[name] = value
                    end
                    for _, name in ipairs{ "new", "setup" } do
                        ngx.say((select(2, pcall(require("ipgeo")[name], options))))
                    end
                end
                tell{ blob = 1 }
                tell{ dict = 5 }
                tell{ interval = "often" }
                tell{ interval = 0 }
                tell{ period = 1 }
            }
        }
"""


@pytest.fixture
def two(folder: Path, blob: Path) -> Iterator[Edge]:
    """Two objects: of ``test.blob``, which has a gap, and of ``two.blob``, which has none."""
    (folder / "two.blob").write_bytes(blobs.fictional())
    with Edge(folder, blob, conf=application(HTTP_OF_TWO, SERVER_OF_TWO)) as edge:
        yield edge


def everywhere(edge: Edge) -> list[bytes]:
    """The answers for the gap of both objects, and of the module itself, which has no blob."""
    return body_of(get(edge.address, f"/where?ip={GAP_IP}")).splitlines()


def test_two_objects_are_refreshed_independently(folder: Path, two: Edge) -> None:
    assert everywhere(two) == [b"no_data", UTOPIA_ARRAY, b"unavailable"]
    write_atomically(folder / "two.blob", blobs.fictional(gap=True))
    wait.until(lambda: everywhere(two)[1] == b"no_data", "the second one is loaded")
    assert everywhere(two) == [b"no_data", b"no_data", b"unavailable"]
    write_atomically(folder / "test.blob", blobs.fictional())
    wait.until(lambda: everywhere(two)[0] == UTOPIA_ARRAY, "the first one is loaded")
    assert everywhere(two) == [UTOPIA_ARRAY, b"no_data", b"unavailable"]
    assert "every worker keeps a copy" not in two.error_log.text()


def test_a_wrong_option_is_named(two: Edge) -> None:
    printed = body_of(get(two.address, "/mistakes")).decode().splitlines()
    assert printed == [
        f"ipgeo.{name}: {mistake}"
        for mistake in (
            "{ blob = PATH } expected",
            "the option dict is not a string",
            "the option interval is not a number",
            "the option interval is not above 0",
            "there is no option period",
        )
        for name in ("new", "setup")
    ]
    assert everywhere(two) == [b"no_data", UTOPIA_ARRAY, b"unavailable"]


@pytest.mark.provokes("lua_shared_dict one is already in use")
def test_two_objects_of_one_dict_are_refused(folder: Path, blob: Path) -> None:
    http = HTTP_OF_TWO.replace('dict = "two"', 'dict = "one"')
    with pytest.raises(RuntimeError, match=r"ipgeo\.new: lua_shared_dict one is already in use"):
        Edge(folder, blob, conf=application(http, SERVER_OF_TWO)).start()


# docs/openresty.md


class Application(Server):
    """The nginx.conf of docs/openresty.md, started as it is there, by an ordinary user."""

    name = "nginx"

    def __init__(self, folder: Path, conf: str) -> None:
        """Serve on a free port with ``conf`` in ``folder``, which has what it needs."""
        super().__init__(folder, "nginx.out", NGINX)
        self.error_log = Log(folder / "var" / "app-error.log", NGINX)
        self._port = free_port()
        # An IPv4 client of a listener for both families.
        listen = f"[::]:{self._port} ipv6only=off" if HAS_IPV6 else f"127.0.0.1:{self._port}"
        for old, new in (
            (r"listen 127\.0\.0\.1:\d+;", f"listen {listen};"),
            (r"location = /where", r"location = /healthz { return 200; }\n\g<0>"),
        ):
            conf, count = re.subn(old, new, conf)
            assert count == 1
        (folder / "app.conf").write_text(conf)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self._port

    def start(self) -> None:
        command = [
            "/usr/sbin/nginx",
            "-p",
            f"{self.folder}",
            "-e",
            "var/app-error.log",
            "-c",
            "app.conf",
        ]
        self._spawn(
            [*as_ordinary_user(self.folder), *command, "-g", "daemon off;"], environment({})
        )
        self._wait_until_alive()

    def _close_logs(self) -> None:
        super()._close_logs()
        self.error_log.close()


def as_ordinary_user(folder: Path) -> list[str]:
    """What to start a program with, so that it is not root; the folder becomes that user's."""
    if os.geteuid() != 0:
        return []
    for path in (folder, folder / "var"):
        shutil.chown(path, "www-data", "www-data")
    return ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups"]


@pytest.fixture
def readme(folder: Path, blob: Path) -> Iterator[Application]:
    """The nginx.conf of docs/openresty.md, but for the port, and with /healthz for the harness."""
    (conf,) = re.findall(
        r"^```nginx\n(.*?)^```",
        (ROOT / "docs" / "openresty.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    if "load_module" not in conf or not Path("/usr/lib/nginx/modules").exists():
        pytest.skip("it is written for Debian's nginx")
    # A copy: an ordinary user may not come to the checkout.
    shutil.copytree(ROOT / "lua", folder / "lua")
    (folder / "var").mkdir()
    shutil.copy(blob, folder / "var" / "ipgeo.blob")
    with Application(folder, conf) as application:
        yield application


def test_the_readme_s_application(readme: Application) -> None:
    reply = get(readme.address, f"/where?ip={ATLANTIS_IP}")
    assert (reply.status, json.loads(body_of(reply))) == (200, json.loads(ATLANTIS_OBJECT))
    for query, status, code in (
        ("ip=x", 400, "invalid_ip"),
        (f"ip={GAP_IP}", 404, "no_data"),
    ):
        reply = get(readme.address, f"/where?{query}")
        assert (reply.status, json.loads(body_of(reply))) == (status, {"error": code})
    log = (readme.folder / "var" / "app-error.log").read_text()
    assert f"build id none -> {Blob(blobs.fictional(gap=True)).build_id}" in log
    assert "[warn]" not in log


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here, so no listener for both families")
def test_the_readme_s_application_knows_its_client(readme: Application) -> None:
    """Its address is ::ffff:127.0.0.1 there."""
    reply = get(readme.address, "/where")
    assert reply.status == 200
    answer = json.loads(body_of(reply))
    assert (answer["ip"], answer["country"]) == ("::ffff:127.0.0.1", "Utopia")
