"""Blobs whose answers all differ at every address, with the expected answers of each."""

import itertools
import json
import random
import runpy
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from harness import ROOT
from harness.blobs import of_answers
from ipgeo.blob.reader import Blob
from ipgeo.compiling.compile import compile_blob
from ipgeo.contract import ARRAY_FIELDS
from ipgeo.places.answers import answer_of, rows_of
from ipgeo.places.code_files import read_codes
from ipgeo.places.codes import Codes
from ipgeo.places.location import Location
from ipgeo.ranges.address import LAST_ADDRESS, format_ipv4
from ipgeo.sources.registry import read_source

ARRAY, OBJECT = "array", "object"

_RUNS_PER_LOCATION = 8
_RANDOM_ADDRESSES = 20_000
_MAX_PADDING = 60


class ExpectedBlob:
    """One blob and all its answers, kept from before they were written into it."""

    def __init__(self, name: str, runs: int, seed: int) -> None:
        """Make a blob of about ``runs`` runs; ``name`` is in each of its answers."""
        chance = random.Random(f"{seed} {name}")
        locations = max(2, runs // _RUNS_PER_LOCATION)
        self.name = name
        self.starts = array("I", sorted({0, *(chance.getrandbits(32) for _ in range(runs - 1))}))
        self._location_ids = _location_ids(chance, len(self.starts), locations)
        # Answers of many lengths: those of two blobs never lie at the same offsets.
        made = [
            Location(f"{name}-{n}", city=name * chance.randrange(_MAX_PADDING))
            for n in range(locations)
        ]
        row_of = rows_of(Codes(), (), ARRAY_FIELDS)
        answers = [answer_of(row_of(location), ARRAY_FIELDS) for location in made]
        self._arrays = [answer.array for answer in answers]
        self._tails = [answer.object_tail for answer in answers]
        self.data = of_answers(self.starts, self._location_ids, answers, {"name": name})
        self.build_id = Blob(self.data).build_id

    def location(self, address: int) -> int:
        """Return the id of the location of ``address``."""
        return self._location_ids[bisect_right(self.starts, address) - 1]

    def answer(self, address: int, text: bytes, form: str) -> bytes:
        """Return the answer for ``address``, whose dotted decimal form is ``text``."""
        location = self.location(address)
        if form == ARRAY:
            return self._arrays[location]
        return b'{"ip":"' + text + b'",' + self._tails[location]


class ExpectedFromSource(ExpectedBlob):
    """A source and all its answers, read by the reader that shares no code with the compiler.

    Only ``data`` and ``build_id`` are the compiler's: what its container must make of the source.
    """

    def __init__(self, name: str, source: Path, codes: Path) -> None:
        """Read a `.dat` file of an edition with up to five fields, and the folder of its codes."""
        reading = runpy.run_path(str(ROOT / "crosscheck" / "reading.py"))
        changes = list(reading["source_changes"](source, reading["Tables"](codes)))
        ids: dict[tuple[str, str], int] = {}
        self.name = name
        self.starts = array("I", (address for address, _ in changes))
        self._location_ids = array("I", (ids.setdefault(text, len(ids)) for _, text in changes))
        self._arrays = [_compact(json.loads(text)) for text, _ in ids]
        self._tails = [_tail(json.loads(text)) for _, text in ids]
        self.data = compile_blob(read_source(source), read_codes(codes)).data
        self.build_id = Blob(self.data).build_id


def _tail(whole: dict[str, object]) -> bytes:
    if len(whole) > len(ARRAY_FIELDS):
        raise ValueError(f"more than {len(ARRAY_FIELDS)} members: {whole}")
    return _compact({name: whole[name] for name in ARRAY_FIELDS})[1:]


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _location_ids(chance: random.Random, runs: int, locations: int) -> "array[int]":
    """Give each run a location, each location a run, and no two neighbours the same one."""
    ids = array("I", (n % locations for n in range(runs)))
    for run in range(locations, runs):
        ids[run] = (ids[run - 1] + chance.randrange(1, locations)) % locations
    return ids


def make(sizes: Sequence[int], seed: int) -> list[ExpectedBlob]:
    """Return a blob of each size (in runs)."""
    return [ExpectedBlob(f"blob{n}", runs, seed) for n, runs in enumerate(sizes)]


class Pool:
    """The addresses to ask for, shuffled: both ends of every run of every blob, and random ones."""

    def __init__(self, all_expected: Sequence[ExpectedBlob], seed: int) -> None:
        """Gather them; the same arguments give the same order."""
        chance = random.Random(seed)
        starts = set(itertools.chain.from_iterable(expected.starts for expected in all_expected))
        ends = {start - 1 for start in starts if start} | {LAST_ADDRESS}
        others = {chance.getrandbits(32) for _ in range(_RANDOM_ADDRESSES)}
        addresses = sorted(starts | ends | others)
        chance.shuffle(addresses)
        self.addresses = array("I", addresses)
        self.texts = [format_ipv4(address).encode() for address in addresses]

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self.texts)
