"""Requests: GET, POST and batches, in both forms, in seeded random order.

The colons of IPv6 are in a query as they are, or as ``%3A``.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from harness.soak.expected import ARRAY, OBJECT
from harness.soak.pool import Pool

GET, POST, BATCH, LINES = "GET", "POST", "batch", "lines"
SINGLE = (GET, POST)
KINDS = (GET, POST, BATCH, LINES)

_PATH = b"/api/ip_query"
_HOST = b" HTTP/1.1\r\nHost: localhost\r\n"
_MAX_BURST = 8


class Ask(NamedTuple):
    """A request, and which addresses of the pool it asks for; so many of them are of IPv6."""

    wire: bytes
    kind: str
    form: str
    start: int
    size: int
    ipv6: int


class Traffic:
    """Makes requests; all addresses of the pool are used before one is used again."""

    def __init__(self, pool: Pool, seed: str, batch: int) -> None:
        """Batches have up to ``batch`` addresses."""
        self._pool = pool
        self._batch = min(batch, len(pool))
        self._chance = random.Random(seed)
        self._at = self._chance.randrange(len(pool))

    def next(self) -> Sequence[Ask]:
        """Return one request, or several to be sent at once."""
        move = self._chance.random()
        if move < 0.5:
            return (self._single(),)
        if move < 0.75:
            return (self._many(),)
        return [self._single() for _ in range(self._chance.randrange(2, _MAX_BURST))]

    def parts(self) -> bool:
        """Return whether to close a connection now, as clients do at times."""
        return self._chance.random() < 1 / 500

    def _single(self) -> Ask:
        start = self._take(1)
        text = self._pool.asked[start]
        form = self._form()
        if self._chance.random() < 0.6:
            if self._chance.random() < 0.5:
                text = text.replace(b":", b"%3A")
            argument = b"&format=object" if form == OBJECT else b""
            wire = b"GET " + _PATH + b"?ip=" + text + argument + _HOST + b"\r\n"
            return self._ask(wire, GET, form, start)
        member = b',"format":"object"' if form == OBJECT else b""
        body = b'{"ip":"' + text + b'"' + member + b"}"
        return self._ask(_post(body, b"", b"application/json"), POST, form, start)

    def _many(self) -> Ask:
        count = self._chance.randint(2, self._batch)
        start = self._take(count)
        texts = self._pool.asked[start : start + count]
        form = self._form()
        if self._chance.random() < 0.5:
            member = b',"format":"object"' if form == OBJECT else b""
            body = b'{"ips":["' + b'","'.join(texts) + b'"]' + member + b"}"
            return self._ask(_post(body, b"", b"application/json"), BATCH, form, start, count)
        argument = b"?format=object" if form == OBJECT else b""
        wire = _post(b"\n".join(texts), argument, b"text/plain")
        return self._ask(wire, LINES, form, start, count)

    def _ask(self, wire: bytes, kind: str, form: str, start: int, size: int = 1) -> Ask:
        return Ask(wire, kind, form, start, size, self._pool.count_ipv6(start, size))

    def _take(self, count: int) -> int:
        start = self._at if self._at + count <= len(self._pool) else 0
        self._at = start + count
        return start

    def _form(self) -> str:
        return ARRAY if self._chance.random() < 0.7 else OBJECT


def _post(body: bytes, argument: bytes, media_type: bytes) -> bytes:
    head = b"POST " + _PATH + argument + _HOST + b"Content-Type: " + media_type
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
