"""What is in a blob of the soak: runs of both families, and rows that no other blob has."""

import json
import random
from array import array
from functools import cache

from harness.parts import columns6, starts6
from ipgeo.contract import ARRAY_FIELDS
from ipgeo.places.answers import Row
from ipgeo.ranges.columns import Runs4, Runs6

FIELDS = (*ARRAY_FIELDS, "latitude", "longitude", "time_zone", "continent_code")

_COUNTRIES = 200
_PROVINCES = 2_000
_OWNERS = 30_000
_PADDINGS = 8


def runs_of(chance: random.Random, runs: int, rows: int) -> tuple[Runs4, Runs6]:
    """Return about ``runs`` runs, a quarter of them of IPv6; neighbours have different rows.

    Every row has a run, if there are as many.
    """
    starts = sorted({0, *(chance.getrandbits(32) for _ in range(runs - runs // 4 - 1))})
    networks = starts6(chance, runs // 4)
    v4 = Runs4(array("I", starts), _row_numbers(chance, len(starts), rows))
    return v4, columns6(networks, _row_numbers(chance, len(networks), rows))


def _row_numbers(chance: random.Random, runs: int, rows: int) -> "array[int]":
    """Give each run a row, each row a run, and no two neighbours the same one."""
    numbers = array("I", (n % rows for n in range(runs)))
    for run in range(rows, runs):
        numbers[run] = (numbers[run - 1] + 1 + _below(chance, rows - 1)) % rows
    return numbers


def _below(chance: random.Random, limit: int) -> int:
    """Return a number of 0 to ``limit`` - 1; not quite evenly, but faster than ``randrange``."""
    return int(chance.random() * limit)


def rows_of(chance: random.Random, name: str, digit: int, count: int) -> list[Row]:
    """Return rows of ``FIELDS`` that differ from those of any other name and digit in each value.

    Every text has the ``name``, and every number ends in the ``digit`` (0 to 9), counted from below
    where it is negative. Only codes may be missing. So no part of an answer fits two blobs.
    """
    as_json = cache(json.JSONEncoder(ensure_ascii=False).encode)
    # Texts of many lengths: those of two blobs never lie at the same offsets.
    paddings = [f" {name}城" * n for n in range(_PADDINGS)]
    rows = []
    for n in range(count):
        country, province, owner = n % _COUNTRIES, n % _PROVINCES, n % _OWNERS
        values = (
            f"{name} {country}",
            f"{name}.{country}",
            f"{name}/{province}{paddings[province % _PADDINGS]}",
            f"{name}:{province}" if province % 3 else None,
            f"{name}-{n}{chance.choice(paddings)}",
            f"{name}+{n}" if n % 5 else None,
            f"{name} organization {owner}",
            f"{name} ISP {owner // 9}",
            _degrees(chance, 90, digit),
            _degrees(chance, 180, digit),
            f"{name}/zone {country // 8}",
            name,
        )
        rows.append(tuple(map(as_json, values)))
    return rows


def _degrees(chance: random.Random, limit: int, digit: int) -> float:
    thousandths = _below(chance, 2000 * limit) - 1000 * limit
    return (thousandths * 10 + digit) / 10_000
