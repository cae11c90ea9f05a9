"""A whole comparison: build, read a second time, start the servers, ask, compare."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from crosscheck import mmdb_answers
from harness.agree.asked import Answer, Expected, boundaries, random_addresses
from harness.agree.readers import Command, Count, OverHttp, Reader
from harness.compiler import PROGRAM
from harness.process import environment, run
from harness.stack import Stack
from harness.tempdirs import short_tempdir
from ipgeo.blob.reader import Blob, read_blob
from ipgeo.ranges.address import IPV4, IPV6, Address

BATCH = 10_000
_WORKERS = 4
_MIB = 1 << 20


@dataclass
class Result:
    """The counts by reader, and what was asked; ``seconds`` are those of each step."""

    blob_bytes: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    without_data: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Count] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether all readers agree."""
        return not any(count.differing for count in self.counts.values())

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure a step."""
        begin = time.monotonic()
        yield
        self.seconds[step] = time.monotonic() - begin


def compare(source: Path, count: int, seed: int, **settings: object) -> Result:
    """Compare the readers at all boundaries and at ``count`` random addresses.

    ``settings`` are further environment variables (IPGEO_...) of the servers. Raises RuntimeError
    if the source cannot be built or read, or if a server fails.
    """
    result = Result()
    with short_tempdir() as folder:
        path, texts = folder / "served.blob", folder / "addresses"
        with result.timed("build and proof"):
            run([PROGRAM, "build", source, "-o", path], environment({"IPGEO_VAR": folder}))
        with result.timed("second reading"):
            expected = Expected(*mmdb_answers.read(source))
        with result.timed("addresses"):
            blob = read_blob(path)
            result.blob_bytes = blob.size
            answers = _write(texts, _addresses(blob, expected, count, seed, result), expected)
            result.without_data = answers.count(None)
        settings = {
            "IPGEO_WORKERS": _WORKERS,
            "IPGEO_BATCH_LIMIT": BATCH,
            # Two generations, and what the dict needs for itself.
            "IPGEO_DICT_SIZE": f"{2 * result.blob_bytes // _MIB + 16}m",
            **settings,
        }
        with ExitStack() as running:
            stack = running.enter_context(Stack(folder, path, **settings))
            stack.edge.wait_until_ready()
            readers: list[Reader] = [
                OverHttp("edge", stack.edge.address),
                OverHttp("fallback", stack.fallback.address),
                running.enter_context(Command(path, texts)),
            ]
            result.counts = _compared(readers, texts, answers)
    return result


def _addresses(
    blob: Blob, expected: Expected, count: int, seed: int, result: Result
) -> Iterator[Address]:
    """Yield what is to be asked: the boundaries are those of the blob and of the second reading."""
    starts6 = blob.v6.starts if blob.v6 else []
    for family, starts in ((IPV4, blob.v4.starts), (IPV6, starts6)):
        numbers = boundaries(family, starts, expected.starts[family])
        result.asked[f"at {family.name} boundaries"] = len(numbers)
        yield from (Address(family, number) for number in numbers)
    result.asked["random"] = count
    yield from random_addresses(expected, count, seed)


def _write(path: Path, addresses: Iterator[Address], expected: Expected) -> list[Answer]:
    """Write the texts of addresses, one a line; return their answers."""
    answers = []
    with path.open("w") as file:
        for address in addresses:
            file.write(f"{address}\n")
            answers.append(expected.answer(address))
    return answers


def _compared(
    readers: Sequence[Reader], texts: Path, answers: Sequence[Answer]
) -> dict[str, Count]:
    counts = {reader.name: Count() for reader in readers}
    with texts.open("rb") as lines:
        for start in range(0, len(answers), BATCH):
            batch = [line.rstrip(b"\n") for line in islice(lines, BATCH)]
            for reader in readers:
                counts[reader.name].compare(reader, batch, answers[start : start + BATCH])
    return counts
