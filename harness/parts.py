"""Large blobs for tests: both families, answers in parts, and what each address must answer."""

import random
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from ipgeo.blob.writer import write_blob
from ipgeo.compiling.plan import plan_body
from ipgeo.contract import ARRAY_FIELDS
from ipgeo.places.answers import Answer, Row, answer_of, rows_of
from ipgeo.places.codes import Codes
from ipgeo.places.location import NO_DATA, Location, NamePath
from ipgeo.ranges.address import IPV4, Family
from ipgeo.ranges.columns import Runs4, Runs6

_COUNTRIES = 200
_EXTRA = ("latitude", "longitude", "time_zone", "continent_code", "currency_code")
_BUSY = 0x2001, 0x2400, 0x2A02
"""The first 16 bits of most IPv6 addresses that have data."""


@dataclass(frozen=True, slots=True)
class InParts:
    """A blob, and the runs and rows that were written into it."""

    data: bytes
    v4: Runs4
    v6: Runs6
    rows: list[Row]
    fields: tuple[str, ...]

    def row(self, family: Family, address: int) -> int | None:
        """Return the number of the row that ``address`` has, looked up run by run."""
        if family == IPV4:
            row = self.v4.ids[bisect_right(self.v4.starts, address) - 1]
        else:
            starts = list(zip(self.v6.highs, self.v6.lows, strict=True))
            row = self.v6.ids[bisect_right(starts, (address >> 64, address % (1 << 64))) - 1]
        return None if row == NO_DATA else row

    def answer(self, row: int) -> Answer:
        """Return both forms of a row."""
        return answer_of(self.rows[row], self.fields)


def in_parts(
    rows: int = 500, runs4: int = 2000, runs6: int = 2000, seed: int = 1, max_arrays: int = 0
) -> InParts:
    """Return a blob whose answers are in parts; over 8,192 ``rows`` make large tables, too.

    Up to ``max_arrays`` bytes of arrays are whole. One run in eight has no data.
    """
    chance = random.Random(seed)
    locations, codes = _places(chance, rows)
    fields = (*ARRAY_FIELDS, *_EXTRA)
    made = list(dict.fromkeys(map(rows_of(codes, _EXTRA, fields), locations)))
    v4, v6 = _runs4(chance, runs4, len(made)), _runs6(chance, runs6, len(made))
    data = write_blob(
        v4, plan_body(made, fields, max_whole=0, max_arrays=max_arrays), {"sample": True}, v6
    )
    return InParts(data, v4, v6, made, fields)


def runs6(rows: Mapping[str, int]) -> Runs6:
    """Return runs from first addresses, ascending from ::, to rows."""
    return columns6([int(IPv6Address(text)) for text in rows], array("I", rows.values()))


def columns6(starts: Sequence[int], ids: "array[int]") -> Runs6:
    """Return runs from first addresses, ascending from ::, to ids."""
    highs = array("Q", (start >> 64 for start in starts))
    lows = array("Q", (start % (1 << 64) for start in starts))
    return Runs6(highs, lows, ids)


def starts6(chance: random.Random, count: int) -> list[int]:
    """Return ascending first addresses from :: on: ``count`` of them, or one or two more.

    Some runs are longer than /64, some far shorter; most lie where the Internet is busy.
    """
    starts = {0}
    while len(starts) < count:
        site = chance.choice(_BUSY) << 112 | chance.getrandbits(32) << 80
        starts |= {site, site + (1 << chance.randrange(80))}
        if not chance.randrange(8):
            starts.add(chance.getrandbits(128))
    return sorted(starts)


def _places(chance: random.Random, count: int) -> tuple[list[Location], Codes]:
    codes: dict[NamePath, str] = {}
    locations = []
    for number in range(count):
        country = f"Country {number % _COUNTRIES}"
        province = f'Prov"ince {number % _COUNTRIES}-{chance.randrange(9)}'
        codes[country,] = f"{chr(65 + number % 26)}{chr(65 + number // 26 % 26)}"
        codes[country, province] = f"{number % 1_000_000:06}"
        city = chance.choice(("", f"城市 {number}", f"Ci\\ty {number}"))
        extra = (
            _degrees(chance, 90),
            _degrees(chance, 180),
            f"Zone/{number % 30}",
            f"C{number % _COUNTRIES % 7}",
            "none",
        )
        isp = f"ISP {chance.randrange(40)}"
        locations.append(Location(country, province, city, "", isp, extra))
    return locations, Codes(codes)


def _degrees(chance: random.Random, limit: int) -> str:
    """Return degrees with up to four decimals; some are none, or so small that they are 0.0."""
    if not chance.randrange(10):
        return chance.choice(("", "0", f"-{limit}", "0.5"))
    return f"{chance.uniform(-limit, limit):.4f}"


def _runs4(chance: random.Random, count: int, rows: int) -> Runs4:
    starts = sorted({0, *(chance.getrandbits(32) for _ in range(count - 1))})
    return Runs4(array("I", starts), _ids(chance, len(starts), rows)).coalesced()


def _runs6(chance: random.Random, count: int, rows: int) -> Runs6:
    starts = starts6(chance, count)
    return columns6(starts, _ids(chance, len(starts), rows)).coalesced()


def _ids(chance: random.Random, count: int, rows: int) -> "array[int]":
    ids = (chance.randrange(rows) if chance.randrange(8) else NO_DATA for _ in range(count))
    return array("I", ids)
