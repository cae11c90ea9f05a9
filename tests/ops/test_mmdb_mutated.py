"""Mutated MMDBs: each is refused at an offset, or answers what a second reading of it answers.

A process of its own judges them, with 1 GB of address space, and 10 s for the product to read a
file. The C code of MaxMind's reader can write past its buffers.
"""

import itertools
import lzma
import multiprocessing
import random
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import maxminddb
import pytest

from crosscheck import mmdb, mmdb_answers
from harness.mmdb import MARKER
from ipgeo.compiling.compile import compile_blob
from ipgeo.errors import InputError
from ipgeo.places.answers import answer_of, fields_of, rows_of
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Source
from ipgeo.sources.mmdb.source import read_mmdb
from ipgeo.sources.options import DEFAULTS

NODE_COUNT = b"\x4anode_count"
CUT = 500
MEMORY = 1 << 30
SECONDS = 10

MUTATIONS = {
    "formats/GeoLite2-Country-20191224.mmdb.xz": 300,  # of a cut: the whole takes seconds each
    "formats/MaxMind-DB-no-ipv4-search-tree.mmdb": 300,
    "formats/MaxMind-DB-string-value-entries.mmdb": 300,
    "formats/MaxMind-DB-test-decoder.mmdb": 300,
    "formats/MaxMind-DB-test-ipv4-28.mmdb": 300,
    "formats/MaxMind-DB-test-ipv6-24.mmdb": 300,
    "formats/MaxMind-DB-test-mixed-32.mmdb": 300,
    "formats/ipinfo-ip_geolocation_standard_sample.mmdb": 300,
    "formats/ipinfo_lite_sample.mmdb": 300,
    "formats/loyal-cn-private.mmdb": 100,  # thousands of networks
    "mmdb/GeoIP2-City-Test.mmdb": 300,
    "mmdb/GeoIP2-ISP-Test.mmdb": 100,  # idem
    "mmdb/GeoLite2-ASN-Test.mmdb": 300,
    "mmdb/GeoLite2-City-Test.mmdb": 300,
    "mmdb/GeoLite2-Country-Test.mmdb": 300,
    "mmdb/MaxMind-DB-test-ipv4-24.mmdb": 300,
    "mmdb/MaxMind-DB-test-ipv6-32.mmdb": 300,
    "mmdb/MaxMind-DB-test-mixed-28.mmdb": 300,
}
"""How many mutations of each real file are judged."""

WHOLE_BUILDS = 30
"""One of so many is also built to a blob and proven: the others end with the source's answers."""

Answers = tuple[mmdb_answers.Steps, mmdb_answers.Steps | None]


def mutated(original: bytes, rng: random.Random) -> bytes:
    """Return the file with one to four bytes changed, a piece moved, or its end cut off."""
    data = bytearray(original)
    at = rng.randrange(len(data))
    match rng.randrange(10):
        case 0:
            del data[at:]
        case 1:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        case 2 | 3:
            data[at : at + 4] = rng.randbytes(4)
        case 4 | 5:
            data[at] ^= 1 << rng.randrange(8)
        case _:
            data[at] = rng.randrange(256)
    return bytes(data)


def cut(original: bytes, nodes: int) -> bytes:
    """Return a file of 24-bit records with the nodes that are met first from the left and right.

    The other nodes become no data.
    """
    at = original.rfind(NODE_COUNT) + len(NODE_COUNT)
    after = at + 1 + (original[at] & 31)
    count = int.from_bytes(original[at + 1 : after], "big")
    records = [int.from_bytes(original[at : at + 3], "big") for at in range(0, 6 * count, 3)]
    walks = (itertools.islice(preorder(records, count, side), nodes) for side in (0, 1))
    numbers = {node: n for n, node in enumerate(dict.fromkeys(itertools.chain(*walks)))}

    def renumbered(record: int) -> bytes:
        moved = len(numbers) + max(0, record - count)
        return numbers.get(record, moved).to_bytes(3, "big")

    tree = b"".join(renumbered(records[2 * node + side]) for node in numbers for side in (0, 1))
    size = len(numbers).to_bytes(after - at - 1, "big")
    return tree + original[6 * count : at + 1] + size + original[after:]


def preorder(records: list[int], count: int, side: int) -> Iterator[int]:
    """Yield the nodes of a tree, those below the record of a ``side`` before the other ones."""
    stack = [0]
    while stack:
        node = stack.pop()
        yield node
        below = (records[2 * node + 1 - side], records[2 * node + side])
        stack.extend(record for record in below if record < count)


def answers_of(source: Source) -> Answers:
    """What a source says, as the second reading has it."""
    fields = fields_of(source.extra)
    row_of = rows_of(Codes(), source.extra, fields)
    answers: dict[int, str | None] = {NO_DATA: None}
    for number, location in enumerate(source.locations):
        answer = answer_of(row_of(location), fields)
        answers[number] = f"{answer.array.decode()}\n{answer.object_without_ip.decode()}"
    ipv4, ipv6 = (
        mmdb.steps((first, last + 1, answers[number]) for first, last, number in runs or ())
        for runs in (source.v4, source.v6)
    )
    return ipv4, ipv6 if source.v6 else None


def second_reading(path: Path, metadata: bytes, source: Source) -> Answers:
    """Read a file that the product has read.

    MaxMind's reader refuses one that lacks optional metadata: then ``metadata`` take their place.
    """
    try:
        return mmdb_answers.read(path, source.languages)
    except maxminddb.InvalidDatabaseError:
        data = path.read_bytes()
        path.write_bytes(data[: data.rfind(MARKER)] + metadata)
        return mmdb_answers.read(path, source.languages)


def judge(path: Path, metadata: bytes, *, whole: bool) -> str:
    """Return why the file at ``path`` is refused, or whether it is read well."""
    signal.alarm(SECONDS)  # ends the process
    try:
        source = read_mmdb(path, path.read_bytes(), DEFAULTS)
        if whole:
            compile_blob(source, Codes())
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    finally:
        signal.alarm(0)
    expected = second_reading(path, metadata, source)
    return "right" if answers_of(source) == expected else "wrong"


def judge_all(name: str, original: bytes, path: Path) -> dict[int, str]:
    """Judge all mutations of a file; return the verdicts by their numbers."""
    metadata = original[original.rfind(MARKER) :]
    verdicts = {}
    for number in range(MUTATIONS[name]):
        path.write_bytes(mutated(original, random.Random(f"{name} {number}")))
        verdicts[number] = judge(path, metadata, whole=number % WHOLE_BUILDS == 0)
    return verdicts


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.fixture
def process() -> Iterator[ProcessPoolExecutor]:
    """Another process with limits."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, limit_memory) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_file_is_refused_or_answers_right(
    real_data: Path, tmp_path: Path, process: ProcessPoolExecutor, name: str
) -> None:
    original = (real_data / name).read_bytes()
    if name.endswith(".xz"):
        original = cut(lzma.decompress(original), CUT)
    verdicts = process.submit(judge_all, name, original, tmp_path / "mutated.mmdb").result()
    unexpected = {
        number: verdict
        for number, verdict in verdicts.items()
        if verdict != "right" and not verdict.startswith("offset ")
    }
    assert unexpected == {}
    if len(verdicts) == 300:
        assert len(set(verdicts.values())) > 5
