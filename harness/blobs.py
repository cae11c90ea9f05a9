"""Blobs for tests: a fictional one whose answers are written down here, and the real data's."""

import json
import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT
from harness.parts import runs6
from ipgeo.blob.body import whole_answers
from ipgeo.blob.reader import Blob
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.compile import compile_blob
from ipgeo.contract import ARRAY_FIELDS
from ipgeo.places.answers import Answer, answer_of, rows_of
from ipgeo.places.code_files import read_codes
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Location
from ipgeo.ranges.address import parse_ipv4
from ipgeo.ranges.columns import Runs4, Runs6
from ipgeo.sources.registry import read_source

ATLANTIS_IP = "1.2.3.4"
ATLANTIS_ARRAY = (
    '["Atlantis","AT","海底","420000","Deep \\"Blue\\"","421000","Triton/Sons","Bubble"]'
).encode()
ATLANTIS_OBJECT = (
    '{"ip":"1.2.3.4","country":"Atlantis","country_code":"AT","province":"海底",'
    '"province_code":"420000","city":"Deep \\"Blue\\"","city_code":"421000",'
    '"organization":"Triton/Sons","isp":"Bubble","latitude":31.25,"longitude":-24.5,'
    '"time_zone":"Ocean/Deep"}'
).encode()

UTOPIA_IP = "9.9.9.9"
UTOPIA_ARRAY = b'["Utopia","None","","None","","None","",""]'
UTOPIA_OBJECT = (
    b'{"ip":"9.9.9.9","country":"Utopia","country_code":null,"province":"","province_code":null,'
    b'"city":"","city_code":null,"organization":"","isp":"","latitude":null,"longitude":null,'
    b'"time_zone":""}'
)

GAP_IP = "5.5.5.5"
"""An address in the run without data."""

_ATLANTIS = Location(
    "Atlantis",
    "海底",
    'Deep "Blue"',
    "Triton/Sons",
    "Bubble",
    ("31.25", "-24.5", "Ocean/Deep"),
)
_UTOPIA = Location("Utopia", extra=("", "", ""))
_CODES = Codes(
    {
        ("Atlantis",): "AT",
        ("Atlantis", "海底"): "420000",
        ("Atlantis", "海底", 'Deep "Blue"'): "421000",
    }
)
_EXTRA = ("latitude", "longitude", "time_zone")
_FIELDS = (*ARRAY_FIELDS, *_EXTRA)
_ANSWERS = [
    answer_of(row, _FIELDS) for row in map(rows_of(_CODES, _EXTRA, _FIELDS), (_ATLANTIS, _UTOPIA))
]
_FICTION = {"0.0.0.0": 1, "1.2.3.0": 0, "1.2.4.0": 1}  # noqa: S104 - no bind address
_GAP = {"5.0.0.0": NO_DATA, "6.0.0.0": 1}
_FICTION6 = {
    "::": NO_DATA,
    "2001:db8::": 0,
    "2001:db8:0:1::": 1,
    "2001:db9::": NO_DATA,
    "2002:102:304::": 1,
    "2002:102:305::": NO_DATA,
}


def fictional(*, gap: bool = False) -> bytes:
    """Return a small blob: 1.2.3.0/24 is Atlantis, the rest Utopia; 5.0.0.0/8 may be a gap."""
    return of_runs(_FICTION | (_GAP if gap else {}))


def dual() -> bytes:
    """Return the blob with a gap, and with IPv6.

    2001:db8::/64 is Atlantis, the rest of that /32 is Utopia, and so is 2002:102:304::/48: the
    6to4 network of 1.2.3.4, which itself is in Atlantis. There are no other data.
    """
    return of_runs(_FICTION | _GAP, _FICTION6)


def of_runs(runs: Mapping[str, int], networks: Mapping[str, int] | None = None) -> bytes:
    """Return a blob from first addresses, ascending, to 0 (Atlantis), 1 (Utopia) or NO_DATA.

    ``networks`` are those of IPv6, if it is to have any.
    """
    starts = array("I", (_address(text) for text in runs))
    v6 = runs6(networks) if networks else None
    return of_answers(starts, array("I", runs.values()), _ANSWERS, {"sample": True}, v6)


def of_answers(
    starts: "array[int]",
    rows: "array[int]",
    answers: Sequence[Answer],
    meta: Mapping[str, Any] | None = None,
    v6: Runs6 | None = None,
) -> bytes:
    """Return a blob whose IPv4 run ``i`` has ``starts[i]`` and ``answers[rows[i]]``, whole.

    Its fields are those of the first answer, if that is JSON; a row may be ``NO_DATA``.
    """
    fields = _names(answers[0]) if answers else []
    return write_blob(Runs4(starts, rows), whole_answers(answers, fields), meta or {}, v6)


def _names(answer: Answer) -> list[str]:
    try:
        names = list(json.loads(answer.object_without_ip))
        "".join(names).encode()
    except ValueError:
        return []
    return names


def _address(text: str) -> int:
    address = parse_ipv4(text)
    if address is None:
        raise ValueError(f"{text} is not an address")
    return address


def expected(blob: Blob, address: int) -> bytes | None:
    """Return the expected array answer of both servers for ``address``; None for no data."""
    row = blob.find(address)
    return None if row is None else blob.answer(row).array


def real_data() -> Path:
    """Return the folder of the real data, or skip the test where there is none.

    IPGEO_REAL_DATA names the folder; with IPGEO_REQUIRE_REAL_DATA=1 its absence is a failure.
    """
    folder = Path(os.environ.get("IPGEO_REAL_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "17monipdb.dat").exists():
        reason = f"no real data in {folder} (IPGEO_REAL_DATA)"
        if os.environ.get("IPGEO_REQUIRE_REAL_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def real_blob(folder: Path) -> bytes:
    """Compile and prove the real data."""
    return compile_blob(read_source(folder / "17monipdb.dat"), read_codes(folder)).data


def numbered(count: int) -> bytes:
    """Return a blob of ``count`` runs, 10,000 addresses each, with a location each."""
    answers = [Answer(b"[%d]" % n, b'"country":"%d"}' % n) for n in range(count)]
    starts = array("I", range(0, count * 10_000, 10_000))
    return of_answers(starts, array("I", range(count)), answers, {"sample": True})
