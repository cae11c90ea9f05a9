"""Judges an answer: which blob it is from, whether it is right, and whether it is stale."""

import json
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.soak.expected import ExpectedBlob
from harness.soak.pool import Pool
from harness.soak.tally import MIXED, STALE, WRONG
from harness.soak.timeline import Timeline
from harness.soak.traffic import BATCH, GET, LINES, Ask

_EXCERPT = 256


class Fault(NamedTuple):
    """What is wrong with an answer."""

    kind: str
    example: str


class Judge:
    """Knows all blobs, and what was published when."""

    def __init__(
        self, all_expected: Sequence[ExpectedBlob], pool: Pool, timeline: Timeline
    ) -> None:
        """Judge answers for addresses of ``pool``."""
        self._expected = all_expected
        self._pool = pool
        self._timeline = timeline
        self._rows = [array("I", map(expected.row, pool.addresses)) for expected in all_expected]
        self._by_tag = {
            f'"{expected.build_id}"'.encode(): n for n, expected in enumerate(all_expected)
        }

    def fault(self, ask: Ask, confirmed: int, etag: bytes, body: bytes) -> Fault | None:
        """Return what is wrong with an answer that has status 200, if anything is.

        ``confirmed`` is the last publication that was known to be served as the request was sent.
        """
        blob = self._of_get(ask, etag, body) if ask.kind == GET else self._of_post(ask, etag, body)
        if isinstance(blob, Fault):
            return blob
        if self._timeline.was_current(blob, confirmed):
            return None
        since = self._expected[self._timeline.blob(confirmed)].name
        name = self._expected[blob].name
        example = f"{ask.kind}: {name} in publication {self._timeline.published - 1}"
        return Fault(STALE, f"{example}, asked after {since} (number {confirmed}) was served")

    def _of_get(self, ask: Ask, etag: bytes, body: bytes) -> int | Fault:
        blob = self._by_tag.get(etag)
        if blob is None:
            return Fault(WRONG, f"{ask.kind}: ETag {etag!r} is no blob's")
        expected = self._one(blob, ask)
        if body == expected:
            return blob
        return Fault(WRONG, self._compare(ask, ask.start, expected, body))

    def _of_post(self, ask: Ask, etag: bytes, body: bytes) -> int | Fault:
        if etag:
            return Fault(WRONG, f"{ask.kind} with an ETag")
        for blob in self._likely():
            if body == self._whole(blob, ask):
                return blob
        return self._sort_out(ask, body)

    def _likely(self) -> Iterator[int]:
        """All blobs, the one that was published last first."""
        current = self._timeline.current
        yield current
        yield from (blob for blob in range(len(self._expected)) if blob != current)

    def _one(self, blob: int, ask: Ask) -> bytes:
        row, text = self._rows[blob][ask.start], self._pool.texts[ask.start]
        return self._expected[blob].answer(row, text, ask.form)

    def _each(self, blob: int, ask: Ask) -> list[bytes]:
        answer, form = self._expected[blob].answer, ask.form
        asked = slice(ask.start, ask.start + ask.size)
        pairs = zip(self._rows[blob][asked], self._pool.texts[asked], strict=True)
        return [answer(row, text, form) for row, text in pairs]

    def _whole(self, blob: int, ask: Ask) -> bytes:
        if ask.kind == BATCH:
            return b'{"results":[' + b",".join(self._each(blob, ask)) + b"]}"
        if ask.kind == LINES:
            return b"\n".join(self._each(blob, ask)) + b"\n"
        return self._one(blob, ask)

    def _sort_out(self, ask: Ask, body: bytes) -> Fault:
        """Judge an answer of no single blob: mixed if each part is the right one of some blob."""
        try:
            parts = _parts(ask, body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return Fault(WRONG, f"{ask.kind}: not JSON: {_excerpt(body)}")
        if len(parts) != ask.size:
            return Fault(WRONG, f"{ask.kind}: {len(parts)} answers to {ask.size} addresses")
        expected = [
            [json.loads(text) for text in self._each(n, ask)] for n in range(len(self._expected))
        ]
        met: dict[str, int] = {}
        for at, part in enumerate(parts):
            of = [t.name for n, t in enumerate(self._expected) if expected[n][at] == part]
            if not of:
                right = self._each(self._timeline.current, ask)[at]
                given = json.dumps(part, ensure_ascii=False).encode()
                return Fault(WRONG, self._compare(ask, ask.start + at, right, given))
            met[of[0]] = met.get(of[0], 0) + 1
        if len(met) == 1:
            return Fault(WRONG, f"{ask.kind}: not byte for byte: {_excerpt(body)}")
        return Fault(MIXED, f"{ask.kind} of {ask.size}: {met}")

    def _compare(self, ask: Ask, index: int, expected: bytes, body: bytes) -> str:
        text = self._pool.asked[index].decode()
        return f"{ask.kind} {text}: expected {_excerpt(expected)}, got {_excerpt(body)}"


def _parts(ask: Ask, body: bytes) -> list[object]:
    if ask.kind == LINES:
        return [json.loads(line) for line in body.splitlines()]
    if ask.kind == BATCH:
        return list(json.loads(body)["results"])
    return [json.loads(body)]


def _excerpt(text: bytes) -> str:
    return text[:_EXCERPT].decode(errors="replace")
