"""The servers that are compared, all over the same blob."""

import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import peers
from addresses import first_texts
from load import pinned_to

from harness.client import Reply, get
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.ports import free_port
from harness.tempdirs import short_tempdir
from ipgeo.blob.reader import Blob
from ipgeo.exports.mmdb import export_mmdb
from ipgeo.ranges.address import parse_ipv4

PATH = "/api/ip_query"
MEDIAN_OF = 20_000
ADDED_HEADERS = ("cache-control", "etag")
"""The headers of the edge's answers that nginx does not add to every answer."""

GEOIP2_MODULE = "ngx_http_geoip2_module.so"


class Flask(Gunicorn):
    """The fallback by itself: one worker, on a TCP port."""

    def __init__(self, folder: Path, blob: Path) -> None:
        """Serve ``blob`` with a worker that is not replaced while it is measured."""
        self.port = free_port()
        super().__init__(
            folder,
            blob,
            IPGEO_FALLBACK_BIND=f"127.0.0.1:{self.port}",
            GUNICORN_CMD_ARGS="--max-requests 0",
        )


AnyServer = Edge | Flask


class Servers:
    """Starts each server when it is first asked for; stops them all at the end of a ``with``."""

    def __init__(self, blob: bytes, core: int) -> None:
        """Serve ``blob`` from ``core``, each server with one worker."""
        self.blob = Blob(blob)
        self._content = blob
        self._core = core
        self._running: dict[str, AnyServer] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self._folder = started.enter_context(short_tempdir())
            self._blob_file = self._folder / "served.blob"
            self._blob_file.write_bytes(self._content)
            self._stack = started
            self.edge = self._start("ipgeo", self._edge())
            self.median = self._median_answer()
            self._headers = self._added_headers()
            self._stack = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self, name: str) -> AnyServer | None:
        """Return a running server; None if this machine lacks what it needs."""
        if name not in self._running:
            made = self._make(name)
            if made is None:
                return None
            self._start(name, made)
        return self._running[name]

    def error_lines(self) -> list[str]:
        """Return the errors that the servers have logged since the last call."""
        logs = [server.output for server in self._running.values()]
        logs += [server.error_log for server in self._running.values() if isinstance(server, Edge)]
        return [line for log in logs for line in log.take()]

    def _start(self, name: str, server: AnyServer) -> AnyServer:
        with pinned_to(self._core):
            self._stack.enter_context(server)
        self._running[name] = server
        return server

    def _make(self, name: str) -> AnyServer | None:
        folder = self._folder / name
        folder.mkdir(mode=0o755)
        match name:
            case "limit":
                return peers.Peer(folder, peers.constant(self.median.body, self._headers))
            case "geo":
                ranges = folder / "ranges.conf"
                ranges.write_text("".join(peers.geo_ranges(self.blob)))
                answer = peers.from_geo(self._headers)
                return peers.Peer(folder, answer, http=f"include {ranges};\n")
            case "geoip2":
                return self._geoip2(folder)
            case "flask":
                return Flask(folder, self._blob_file)
        raise ValueError(name)

    def _edge(self) -> Edge:
        folder = self._folder / "ipgeo"
        folder.mkdir(mode=0o755)
        kib = max(64 << 10, 3 * len(self._content) >> 10)  # two slots and room to spare
        return Edge(folder, self._blob_file, IPGEO_WORKERS=1, IPGEO_DICT_SIZE=f"{kib}k")

    def _geoip2(self, folder: Path) -> peers.Peer | None:
        module = peers.module_path(GEOIP2_MODULE)
        if module is None:
            return None
        mmdb = folder / "ipgeo.mmdb"
        mmdb.write_bytes(export_mmdb(self.blob, int(self._blob_file.stat().st_mtime)))
        return peers.Peer(
            folder,
            peers.from_geoip2(self._headers),
            http=peers.geoip2_variables(mmdb),
            modules=[module],
        )

    def _median_answer(self) -> Reply:
        """Return the edge's reply whose body has the median length, over the load's addresses."""
        texts = first_texts(MEDIAN_OF)
        found = {text: self.blob.find(parse_ipv4(text) or 0) for text in texts}
        without = [text for text, location in found.items() if location is None]
        if without:
            problem = "the blob has no data for {}: take one that covers all routable addresses"
            raise RuntimeError(problem.format(without[0]))
        arrays = {text: self.blob.answer(location or 0).array for text, location in found.items()}
        length = statistics.median_low(map(len, arrays.values()))
        # nginx would take a dollar for a variable.
        text = next(t for t, body in arrays.items() if len(body) == length and b"$" not in body)
        self.median_address = text
        return get(self.edge.address, f"{PATH}?ip={text}")

    def _added_headers(self) -> dict[str, str]:
        return {name: self.median.headers[name] for name in ADDED_HEADERS}
