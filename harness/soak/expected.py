"""Blobs whose answers all differ at every address, with the expected answers of each."""

import json
import random
import runpy
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from harness import ROOT
from harness.soak import content
from ipgeo.blob.check import check_header
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.compile import compile_blob
from ipgeo.compiling.plan import plan_body
from ipgeo.contract import FIELDS
from ipgeo.places.answers import answer_of
from ipgeo.places.code_files import read_codes
from ipgeo.ranges.address import IPV4, IPV6, Address, Family
from ipgeo.sources.registry import read_source

ARRAY, OBJECT = "array", "object"

_RUNS_PER_ROW = 16
_MAX_ROWS = 100_000
_MAX_WHOLE_ARRAYS = 1 << 18
"""Less than the compiler has: so blobs that load within milliseconds have arrays in parts, too."""


class ExpectedBlob:
    """One blob and all its answers, kept from before they were written into it."""

    def __init__(self, name: str, runs: int, seed: int, digit: int = 0) -> None:
        """Make a blob of about ``runs`` runs; ``name`` or ``digit`` is in each of its values.

        Its answers are whole, or its objects in parts, or both forms: that depends on their number.
        """
        chance = random.Random(f"{seed} {name}")
        rows = content.rows_of(chance, name, digit, min(max(2, runs // _RUNS_PER_ROW), _MAX_ROWS))
        v4, v6 = content.runs_of(chance, runs, len(rows))
        body = plan_body(rows, content.FIELDS, max_arrays=_MAX_WHOLE_ARRAYS)
        self.name = name
        self.starts: dict[Family, Sequence[int]] = {IPV4: v4.starts, IPV6: v6.starts}
        self._row_numbers = {IPV4: v4.ids, IPV6: v6.ids}
        answers = [answer_of(row, content.FIELDS) for row in rows]
        self._arrays = [answer.array for answer in answers]
        self._tails = [answer.object_tail for answer in answers]
        self.data = write_blob(v4, body, {"name": name}, v6)
        self.build_id = check_header(self.data, len(self.data))

    def row(self, address: Address) -> int:
        """Return the number of the row that answers for ``address``, of a family in ``starts``."""
        family, number = address
        return self._row_numbers[family][bisect_right(self.starts[family], number) - 1]

    def answer(self, row: int, text: bytes, form: str) -> bytes:
        """Return the answer that a row gives for an address whose canonical form is ``text``."""
        if form == ARRAY:
            return self._arrays[row]
        return b'{"ip":"' + text + b'",' + self._tails[row]


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
        self.starts = {IPV4: array("I", (address for address, _ in changes))}
        row_numbers = (ids.setdefault(text, len(ids)) for _, text in changes)
        self._row_numbers = {IPV4: array("I", row_numbers)}
        self._arrays = [_compact(json.loads(text)) for text, _ in ids]
        self._tails = [_tail(json.loads(text)) for _, text in ids]
        self.data = compile_blob(read_source(source), read_codes(codes)).data
        self.build_id = check_header(self.data, len(self.data))


def _tail(whole: dict[str, object]) -> bytes:
    return _compact({name: whole[name] for name in FIELDS if name in whole})[1:]


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def make(sizes: Sequence[int], seed: int) -> list[ExpectedBlob]:
    """Return a blob of each size (in runs), at most ten."""
    return [ExpectedBlob(f"blob{n}", runs, seed, n) for n, runs in enumerate(sizes)]
