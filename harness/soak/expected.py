"""Blobs whose answers all differ at every address, with what each of them owes."""

import itertools
import json
import random
import runpy
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from harness import ROOT
from ipgeo.blob.reader import Blob
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.compile import compile_blob
from ipgeo.places.answers import render
from ipgeo.places.codes import Codes, read_codes
from ipgeo.places.location import Location
from ipgeo.ranges.address import LAST_ADDRESS, format_ipv4
from ipgeo.sources.dat import read_dat

ARRAY, OBJECT = "array", "object"

_MEMBERS = (
    "country",
    "country_code",
    "province",
    "province_code",
    "city",
    "city_code",
    "organization",
    "isp",
)

_RUNS_PER_LOCATION = 8
_RANDOM_ADDRESSES = 20_000
_LONGEST_PADDING = 60


class Truth:
    """One blob and all its answers, kept from before they were written into it."""

    def __init__(self, name: str, runs: int, seed: int) -> None:
        """Make a blob of about ``runs`` runs; ``name`` is in each of its answers."""
        chance = random.Random(f"{seed} {name}")
        locations = max(2, runs // _RUNS_PER_LOCATION)
        self.name = name
        self.first = array("I", sorted({0, *(chance.getrandbits(32) for _ in range(runs - 1))}))
        self._number = _numbers(chance, len(self.first), locations)
        # Answers of many lengths: those of two blobs never lie at the same places.
        places = [
            Location(f"{name}-{n}", city=name * chance.randrange(_LONGEST_PADDING))
            for n in range(locations)
        ]
        answers = [render(place, Codes({})) for place in places]
        self._arrays = [answer.array for answer in answers]
        self._members = [answer.members for answer in answers]
        self.data = write_blob(self.first, self._number, answers, {"name": name})
        self.build_id = Blob(self.data).build_id

    def location(self, address: int) -> int:
        """Return the number of the location of ``address``."""
        return self._number[bisect_right(self.first, address) - 1]

    def owed(self, address: int, text: bytes, form: str) -> bytes:
        """Return the answer for ``address``, whose dotted decimal form is ``text``."""
        location = self._number[bisect_right(self.first, address) - 1]
        if form == ARRAY:
            return self._arrays[location]
        return b'{"ip":"' + text + b'",' + self._members[location]


class SourceTruth(Truth):
    """A source and all its answers, read by the reader that shares no code with the compiler.

    Only ``data`` and ``build_id`` are the compiler's: what its container must make of the source.
    """

    def __init__(self, name: str, source: Path, codes: Path) -> None:
        """Read a `.dat` file of an edition with up to five fields, and the folder of its codes."""
        reading = runpy.run_path(str(ROOT / "crosscheck" / "reading.py"))
        changes = list(reading["source_changes"](source, reading["Tables"](codes)))
        place: dict[tuple[str, str], int] = {}
        self.name = name
        self.first = array("I", (address for address, _ in changes))
        self._number = array("I", (place.setdefault(text, len(place)) for _, text in changes))
        self._arrays = [_compact(json.loads(text)) for text, _ in place]
        self._members = [_members(json.loads(text)) for _, text in place]
        self.data = compile_blob(read_dat(source), read_codes(codes)).data
        self.build_id = Blob(self.data).build_id


def _members(whole: dict[str, object]) -> bytes:
    if len(whole) > len(_MEMBERS):
        raise ValueError(f"more than {len(_MEMBERS)} members: {whole}")
    return _compact({name: whole[name] for name in _MEMBERS})[1:]


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _numbers(chance: random.Random, runs: int, locations: int) -> "array[int]":
    """Give each run a location, each location a run, and no two neighbours the same one."""
    numbers = array("I", (n % locations for n in range(runs)))
    for run in range(locations, runs):
        numbers[run] = (numbers[run - 1] + chance.randrange(1, locations)) % locations
    return numbers


def make(sizes: Sequence[int], seed: int) -> list[Truth]:
    """Return a blob of each size (in runs)."""
    return [Truth(f"blob{n}", runs, seed) for n, runs in enumerate(sizes)]


class Pool:
    """The addresses to ask for, shuffled: both ends of every run of every blob, and random ones."""

    def __init__(self, truths: Sequence[Truth], seed: int) -> None:
        """Gather them; the same arguments give the same order."""
        chance = random.Random(seed)
        starts = set(itertools.chain.from_iterable(truth.first for truth in truths))
        ends = {start - 1 for start in starts if start} | {LAST_ADDRESS}
        others = {chance.getrandbits(32) for _ in range(_RANDOM_ADDRESSES)}
        addresses = sorted(starts | ends | others)
        chance.shuffle(addresses)
        self.addresses = array("I", addresses)
        self.texts = [format_ipv4(address).encode() for address in addresses]

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self.texts)
