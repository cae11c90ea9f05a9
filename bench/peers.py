"""nginx without us: the same server, settings and log, another way to the answer.

The configuration is rendered from the edge's own template, with one location in the place of Lua,
so that a peer differs from the edge only in the part that is compared.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.edge import Edge
from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import LAST_ADDRESS, format_ipv4

NGINX = (
    os.environ.get("IPGEO_NGINX")
    or shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    or "nginx"
)
"""The program that nginx/render finds, too."""

GEOIP2_FIELDS = ("country", "country_code", "province", "province_code", "city", "city_code")
"""What the MaxMind module looks up: the geography, six of the array's eight."""


class Peer(Edge):
    """nginx with one worker that answers /api/ip_query by ``answer``, without Lua."""

    def __init__(
        self, folder: Path, answer: str, *, http: str = "", modules: Iterable[Path] = ()
    ) -> None:
        """Put ``answer`` into the server block, ``http`` into the http block; load ``modules``."""
        super().__init__(folder, folder / "none.blob", IPGEO_WORKERS=1)
        self._parts = {
            "modules.conf": "".join(f'load_module "{path}";\n' for path in modules),
            "http.conf": http,
            "server.conf": f"location = /healthz {{ return 200; }}\n{answer}\n",
        }

    def _options(self) -> list[str | Path]:
        parts = self.folder / "parts"
        parts.mkdir(exist_ok=True)
        for name, text in self._parts.items():
            (parts / name).write_text(text)
        return ["--without-lua", parts]


def constant(body: bytes, headers: Mapping[str, str]) -> str:
    """Return a location that answers ``body`` to every request."""
    return _location(f"return 200 {quoted(body.decode())};", headers)


def from_geo(headers: Mapping[str, str]) -> str:
    """Return a location that answers from nginx's geo module (`geo_ranges`)."""
    return _location("return 200 $ipgeo_answer;", headers)


def geo_ranges(blob: Blob) -> Iterator[str]:
    """Yield the lines of a geo block with every run of the blob.

    255.255.255.255 is left out: the module takes it for its parser's error value.
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
