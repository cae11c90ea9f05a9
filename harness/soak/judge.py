"""Judging an answer: whose it is, whether it is right, and whether it came too late."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.soak.board import Board
from harness.soak.tally import MIXED, STALE, WRONG
from harness.soak.traffic import BATCH, GET, LINES, Ask
from harness.soak.truth import Pool, Truth

_EXCERPT = 160


class Fault(NamedTuple):
    """What is the matter with an answer."""

    kind: str
    example: str


class Judge:
    """Knows all blobs, and what was published when."""

    def __init__(self, truths: Sequence[Truth], pool: Pool, board: Board) -> None:
        """Judge answers for addresses of ``pool``."""
        self._truths = truths
        self._pool = pool
        self._board = board
        self._by_tag = {f'"{truth.build_id}"'.encode(): n for n, truth in enumerate(truths)}

    def fault(self, ask: Ask, confirmed: int, etag: bytes, body: bytes) -> Fault | None:
        """Return what is wrong with an answer that has status 200, if anything is.

        ``confirmed`` is the last publication that was known to be served as the request was sent.
        """
        blob = self._of_get(ask, etag, body) if ask.kind == GET else self._of_post(ask, etag, body)
        if isinstance(blob, Fault):
            return blob
        if self._board.was_current(blob, confirmed):
            return None
        since = self._truths[self._board.blob(confirmed)].name
        name = self._truths[blob].name
        example = f"{ask.kind}: {name} in publication {self._board.published - 1}"
        return Fault(STALE, f"{example}, asked after {since} (number {confirmed}) was served")

    def _of_get(self, ask: Ask, etag: bytes, body: bytes) -> int | Fault:
        blob = self._by_tag.get(etag)
        if blob is None:
            return Fault(WRONG, f"{ask.kind}: ETag {etag!r} is no blob's")
        owed = self._one(blob, ask)
        if body == owed:
            return blob
        return Fault(WRONG, self._compare(ask, ask.start, owed, body))

    def _of_post(self, ask: Ask, etag: bytes, body: bytes) -> int | Fault:
        if etag:
            return Fault(WRONG, f"{ask.kind} with an ETag")
        for blob in self._likely():
            if body == self._whole(blob, ask):
                return blob
        return self._sort_out(ask, body)

    def _likely(self) -> Iterator[int]:
        """All blobs, the one that was published last first."""
        current = self._board.current
        yield current
        yield from (blob for blob in range(len(self._truths)) if blob != current)

    def _one(self, blob: int, ask: Ask) -> bytes:
        pool, start = self._pool, ask.start
        return self._truths[blob].owed(pool.addresses[start], pool.texts[start], ask.form)

    def _each(self, blob: int, ask: Ask) -> list[bytes]:
        pool, owed, form = self._pool, self._truths[blob].owed, ask.form
        places = slice(ask.start, ask.start + ask.size)
        pairs = zip(pool.addresses[places], pool.texts[places], strict=True)
        return [owed(address, text, form) for address, text in pairs]

    def _whole(self, blob: int, ask: Ask) -> bytes:
        if ask.kind == BATCH:
            return b'{"results":[' + b",".join(self._each(blob, ask)) + b"]}"
        if ask.kind == LINES:
            return b"\n".join(self._each(blob, ask)) + b"\n"
        return self._one(blob, ask)

    def _sort_out(self, ask: Ask, body: bytes) -> Fault:
        """An answer that is no blob's: mixed if each part is the right one of some blob's."""
        try:
            parts = _parts(ask, body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return Fault(WRONG, f"{ask.kind}: not JSON: {_excerpt(body)}")
        if len(parts) != ask.size:
            return Fault(WRONG, f"{ask.kind}: {len(parts)} answers to {ask.size} addresses")
        owed = [[json.loads(text) for text in self._each(n, ask)] for n in range(len(self._truths))]
        met: dict[str, int] = {}
        for at, part in enumerate(parts):
            of = [t.name for n, t in enumerate(self._truths) if owed[n][at] == part]
            if not of:
                right = self._each(self._board.current, ask)[at]
                given = json.dumps(part, ensure_ascii=False).encode()
                return Fault(WRONG, self._compare(ask, ask.start + at, right, given))
            met[of[0]] = met.get(of[0], 0) + 1
        if len(met) == 1:
            return Fault(WRONG, f"{ask.kind}: not byte for byte: {_excerpt(body)}")
        return Fault(MIXED, f"{ask.kind} of {ask.size}: {met}")

    def _compare(self, ask: Ask, place: int, owed: bytes, body: bytes) -> str:
        text = self._pool.texts[place].decode()
        return f"{ask.kind} {text}: owed {_excerpt(owed)}, got {_excerpt(body)}"


def _parts(ask: Ask, body: bytes) -> list[object]:
    if ask.kind == LINES:
        return [json.loads(line) for line in body.splitlines()]
    if ask.kind == BATCH:
        return list(json.loads(body)["results"])
    return [json.loads(body)]


def _excerpt(text: bytes) -> str:
    return text[:_EXCERPT].decode(errors="replace")
