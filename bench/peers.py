"""nginx without us: the same server, settings and log, another way to the answer.

The configuration is the project's own one with Lua and all locations taken out and one location put
in, so that a peer differs from the edge in nothing but what is compared.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness import ROOT
from harness.edge import Edge
from harness.process import environment, run
from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import LAST_ADDRESS, format_ipv4

LUA_DIRECTIVE = r"[a-z_]+_by_lua(?:_block|_file)?|lua_[a-z_]+"

NGINX = (
    os.environ.get("IPGEO_NGINX")
    or shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    or "nginx"
)
"""The program that nginx/configure finds, too."""

GEOIP2_FIELDS = ("country", "country_code", "province", "province_code", "city", "city_code")
"""What the MaxMind module looks up: the geography, six of the array's eight."""


class Peer(Edge):
    """nginx with one worker that answers /api/ip_query by ``answer``, without Lua."""

    def __init__(
        self, folder: Path, answer: str, *, http: str = "", modules: Iterable[Path] = ()
    ) -> None:
        """Put ``answer`` into the location, ``http`` into the http block; load ``modules``."""
        super().__init__(folder, folder / "none.blob", IPGEO_WORKERS=1)
        self._answer = answer
        self._http = http
        self._modules = modules

    def start(self) -> None:
        """Configure and start it; return when it answers."""
        variables = environment(self._settings)
        run([ROOT / "nginx" / "configure"], variables)
        self._take_lua_out(self.folder / "nginx")
        self._spawn([self.folder / "nginx" / "run", "-g", "daemon off;"], variables)
        self._wait_until_alive()

    def _take_lua_out(self, folder: Path) -> None:
        modules = "".join(f'load_module "{path}";\n' for path in self._modules)
        (folder / "gen-modules.conf").write_text(modules)
        (folder / "gen-mode.conf").write_text("")
        # In every file: whatever of them nginx.conf includes, no Lua module is loaded.
        for file in folder.glob("*.conf"):
            file.write_text(without(file.read_text(), LUA_DIRECTIVE))
        conf = without((folder / "nginx.conf").read_text(), "location")
        locations = f"location = /healthz {{ return 200; }}\n{self._answer}\n"
        conf = put_before(conf, "server", self._http)
        conf = put_before(conf, "server_name", locations)
        (folder / "nginx.conf").write_text(conf)


def without(conf: str, directives: str) -> str:
    """Return ``conf`` without the directives whose beginning matches the expression."""
    found = re.compile(rf"^[ \t]*(?:{directives})\b", re.MULTILINE)
    while match := found.search(conf):
        conf = conf[: match.start()] + conf[_end(conf, match.end()) :]
    return conf


def put_before(conf: str, directive: str, addition: str) -> str:
    """Return ``conf`` with ``addition`` before the first ``directive`` at a line's beginning."""
    match = re.search(rf"^[ \t]*{directive}\b", conf, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"nginx.conf has no {directive}")
    return conf[: match.start()] + addition + conf[match.start() :]


def _end(conf: str, start: int) -> int:
    """Return where a directive ends: at its semicolon or at its block's closing brace."""
    depth = 0
    for match in re.finditer(r"""(["']).*?\1|[{};]""", conf[start:]):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0 and match[0] in "};":
            return start + match.end()
    raise RuntimeError("nginx.conf: a directive without an end")


def constant(body: bytes, headers: Mapping[str, str]) -> str:
    """Return a location that answers ``body`` to everybody."""
    return _location(f"return 200 {quoted(body.decode())};", headers)


def from_geo(headers: Mapping[str, str]) -> str:
    """Return a location that answers what nginx's geo module says (`geo_ranges`)."""
    return _location("return 200 $ipgeo_answer;", headers)


def geo_ranges(blob: Blob) -> Iterator[str]:
    """Yield the lines of a geo block with every run of the blob.

    All but 255.255.255.255, which the module takes for a number that it cannot read.
    """
    yield "geo $arg_ip $ipgeo_answer {\n    ranges;\n"
    for first, end, location in blob.spans():
        last = min(end, LAST_ADDRESS - 1)
        if location is not None and first <= last:
            text = quoted(blob.answer(location).array.decode())
            yield f"    {format_ipv4(first)}-{format_ipv4(last)} {text};\n"
    yield "}\n"


def from_geoip2(headers: Mapping[str, str]) -> str:
    """Return a location that answers an array of eight from the MaxMind module's variables."""
    values = ",".join(f'"$ipgeo_{name}"' for name in GEOIP2_FIELDS)
    return _location(f'return 200 \'[{values},"",""]\';', headers)


def geoip2_variables(mmdb: Path) -> str:
    """Return the http block's part of `from_geoip2`."""
    lines = [
        f"    $ipgeo_{name} {'default=None ' if name.endswith('_code') else ''}"
        f"source=$arg_ip {name};\n"
        for name in GEOIP2_FIELDS
    ]
    return f"geoip2 {mmdb} {{\n{''.join(lines)}}}\n"


def quoted(text: str) -> str:
    """Return ``text`` as one word of nginx's configuration."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _location(answer: str, headers: Mapping[str, str]) -> str:
    lines = [f"    add_header {name} {quoted(value)} always;\n" for name, value in headers.items()]
    return f"location = /api/ip_query {{\n{''.join(lines)}    {answer}\n}}\n"


def module_path(name: str) -> Path | None:
    """Return where nginx has a dynamic module, if it does."""
    build = subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=True).stderr
    folder = re.search(r"--modules-path=(\S+)", build)
    path = Path(folder[1]) / name if folder else None
    return path if path and path.exists() else None
