"""The readers that are asked: servers by batches of lines, and the command."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from harness import client
from harness.agree.asked import Answer
from harness.compiler import PROGRAM

_TARGET = "/api/ip_query?format=object"
_NO_DATA = b'{"error":{"code":"no_data","message":"the database has no entry for this address"}}\n'
_MAX_EXAMPLES = 3


class Reader(Protocol):
    """Something that answers many addresses."""

    name: str

    def ask(self, texts: Sequence[bytes], /) -> bytes:
        """Return a line for each text."""

    def line(self, text: bytes, answer: Answer, /) -> bytes:
        """Return the line that is right for a text."""


class OverHttp:
    """A server."""

    def __init__(self, name: str, address: client.Address) -> None:
        """Ask the server at ``address``."""
        self.name = name
        self._address = address

    def ask(self, texts: Sequence[bytes]) -> bytes:
        """Return the answer to a batch of lines; raise RuntimeError at another status than 200.

        The client's side stays open: nginx cuts a long answer off when that is closed.
        """
        batch = client.request(
            "POST", _TARGET, "Content-Type: text/plain", body=b"\n".join(texts), close=False
        )
        with client.connect(self._address) as connection, connection.makefile("rb") as reader:
            connection.sendall(batch)
            status, body = client.read_one(reader)
        if status != 200:
            raise RuntimeError(f"{self.name}: status {status}: {body[:200]!r}")
        return body

    def line(self, text: bytes, answer: Answer) -> bytes:
        """Return an object, or the error for no data."""
        return _NO_DATA if answer is None else _object(text, answer) + b"\n"


class Command:
    """`ipgeo-compile lookup`, which is given all texts at once, and answers in their order."""

    name = "ipgeo-compile lookup"

    def __init__(self, blob: Path, texts: Path) -> None:
        """Start it; ``texts`` has the addresses that are asked for, one a line."""
        with texts.open("rb") as lines:
            command = (PROGRAM, "lookup", "--format", "object", blob)
            self._process = subprocess.Popen(command, stdin=lines, stdout=subprocess.PIPE)

    def ask(self, texts: Sequence[bytes]) -> bytes:
        """Return its next lines."""
        assert self._process.stdout is not None
        return b"".join(islice(self._process.stdout, len(texts)))

    def line(self, text: bytes, answer: Answer) -> bytes:
        """Return a text, a tab and an object or null."""
        shown = b"null" if answer is None else _object(text, answer)
        return text + b"\t" + shown + b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate()


@dataclass
class Count:
    """How a reader did: the answers that differ, the first of them, and the seconds it took."""

    differing: int = 0
    examples: list[str] = field(default_factory=list)
    seconds: float = 0

    def compare(self, reader: Reader, texts: Sequence[bytes], answers: Sequence[Answer]) -> None:
        """Ask a reader, and count what differs from the right answers."""
        begin = time.monotonic()
        given = reader.ask(texts)
        self.seconds += time.monotonic() - begin
        expected = [reader.line(*pair) for pair in zip(texts, answers, strict=True)]
        if given == b"".join(expected):
            return
        lines = given.splitlines(keepends=True)
        for text, right, line in zip_longest(texts, expected, lines, fillvalue=b""):
            if line != right:
                self._add(f"{reader.name} {text.decode()}: expected {right!r}, got {line!r}")

    def _add(self, example: str) -> None:
        self.differing += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(example)


def _object(text: bytes, answer: str) -> bytes:
    return b'{"ip":"' + text + b'",' + answer.encode()
