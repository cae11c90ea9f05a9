"""Synthetic data of any size: blobs and `.dat` files, the same bytes for the same arguments.

usage: synthetic.py blob RUNS FILE
       synthetic.py city RUNS FILE      both families, answers in parts, as GeoLite2-City in size
       synthetic.py dat RECORDS FILE
"""

import random
import struct
import sys
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ipgeo.blob.layout import BUCKETS
from ipgeo.blob.writer import write_blob
from ipgeo.compiling.plan import plan_body
from ipgeo.contract import ARRAY_FIELDS
from ipgeo.places.answers import Row, rows_of
from ipgeo.places.codes import Codes
from ipgeo.places.location import Location, NamePath
from ipgeo.ranges.address import ADDRESS_COUNT, LAST_ADDRESS
from ipgeo.ranges.columns import LOW_BITS, Runs4, Runs6
from ipgeo.sources.dat import RECORDS_START, TEXT_OVERLAP

SEED = 20261121
LOCATIONS = 13_828
"""As many as the free ip2region edition of 2022 has, in 683,844 rows."""

SYLLABLES = "安北昌东福广海江京开林明南平青上泰武西新阳永云正中州山川河湖"
PROVIDERS = (
    "电信",
    "联通",
    "移动",
    "铁通",
    "教育网",
    "Amazon.com",
    "Deutsche Telekom AG",
    "阿里云",
)


def names(count: int) -> list[tuple[str, str, str, str, str]]:
    """Return ``count`` different locations: country, province, city, organization, ISP."""
    source = random.Random(SEED)
    found: dict[tuple[str, str, str, str, str], None] = {}
    while len(found) < count:
        country, province, city = (
            "".join(source.choices(SYLLABLES, k=length)) for length in (2, 3, 3)
        )
        found[country, province + "省", city + "市", "", source.choice(PROVIDERS)] = None
    return list(found)


def starts(count: int) -> "array[int]":
    """Return the ascending first addresses of ``count`` runs that cover everything.

    As in real data some /16 have hundreds of runs and many have none: their shares are lognormal.
    """
    source = random.Random(SEED)
    shares = list(accumulate(source.lognormvariate(0, 1.5) for _ in range(BUCKETS)))
    found = {0}
    while len(found) < count:
        buckets = source.choices(range(BUCKETS), cum_weights=shares, k=count - len(found))
        found.update(bucket << 16 | source.randrange(BUCKETS) for bucket in buckets)
    return array("I", sorted(found))


def location_ids(count: int) -> "array[int]":
    """Return ``count`` location ids, each different from the one before."""
    source = random.Random(SEED)
    steps = source.choices(range(1, LOCATIONS), k=count)
    return array("I", (total % LOCATIONS for total in accumulate(steps)))


def blob(runs: int) -> bytes:
    """Return a blob; a country has a code, and one province in two, and so on."""
    locations = [Location(*fields) for fields in names(LOCATIONS)]
    by_names: dict[NamePath, str] = {}
    for number, location in enumerate(locations):
        country, province, city = location.country, location.province, location.city
        by_names[country,] = f"{chr(65 + number % 26)}{chr(65 + number // 26 % 26)}"
        if number % 2:
            by_names[country, province] = f"{number:06}"
            by_names[country, province, city] = f"{number:06}"
    rows = [*map(rows_of(Codes(by_names), (), ARRAY_FIELDS), locations)]
    v4 = Runs4(starts(runs), location_ids(runs))
    return write_blob(v4, plan_body(rows, ARRAY_FIELDS), {"sample": True})


@dataclass(frozen=True, slots=True)
class City:
    """GeoLite2-City of July 2018 in numbers, for as many IPv4 runs."""

    runs: int = 2_212_325
    runs6: int = 183_973
    rows: int = 438_608
    cities: int = 96_788
    provinces: int = 3_804
    zones: int = 400


CITY = City()
CITY_FIELDS = (*ARRAY_FIELDS, "latitude", "longitude", "time_zone")


def city_rows(count: int) -> list[Row]:
    """Return up to ``count`` rows of a country and province, a city and a position."""
    source = random.Random(SEED)

    def word(length: int) -> str:
        return "".join(source.choices(SYLLABLES, k=length))

    def degrees(limit: int) -> str:
        return repr(round(source.uniform(-limit, limit), 4))

    provinces = [
        (f'"{word(3)}"', f'"{n % 240:02}"', f'"{word(4)}"', f'"{n:06}"')
        for n in range(CITY.provinces)
    ]
    cities = [f'"{word(3)}{n}"' for n in range(CITY.cities)]
    zones = [f'"{word(2)}/{word(3)}"' for _ in range(CITY.zones)]
    rows = []
    for _ in range(count):
        city = source.randrange(CITY.cities)
        province = provinces[city % CITY.provinces]
        position = degrees(60), degrees(180), zones[city % CITY.zones]
        rows.append((*province, cities[city], "null", '""', '""', *position))
    return list(dict.fromkeys(rows))


def starts6(count: int) -> tuple["array[int]", "array[int]"]:
    """Return the upper and lower halves of the ascending first addresses of ``count`` runs.

    Most are /48 and shorter; a seventh is longer than /64.
    """
    source = random.Random(SEED)
    busy = [0x2001, *range(0x2400, 0x2410), *range(0x2600, 0x2608), *range(0x2A00, 0x2A15)]
    shares = list(accumulate(source.lognormvariate(0, 1.3) for _ in busy))
    found = {0}
    while len(found) < count:
        bucket = source.choices(busy, cum_weights=shares)[0]
        bits = source.choice((16, 24, 28, 32, 32, 48, 112))
        site = bucket << bits | source.getrandbits(bits)
        found.add(site << (112 - bits))
    ordered = sorted(found)
    highs = array("Q", (start >> 64 for start in ordered))
    return highs, array("Q", (start & LOW_BITS for start in ordered))


def city(runs: int) -> bytes:
    """Return a blob like one of GeoLite2-City; with ``CITY.runs``, as large."""
    rows = city_rows(max(1, CITY.rows * runs // CITY.runs))
    runs6 = max(1, CITY.runs6 * runs // CITY.runs)
    ids = random.Random(SEED).choices(range(len(rows)), k=runs + runs6)
    v4 = Runs4(starts(runs), array("I", ids[:runs]))
    v6 = Runs6(*starts6(runs6), array("I", ids[runs:]))
    return write_blob(
        v4.coalesced(), plan_body(rows, CITY_FIELDS), {"sample": True}, v6.coalesced()
    )


def dat(records: int) -> bytes:
    """Return a `.dat` file of the edition with five fields.

    The contents take 0.7 MB: far below what an offset of 24 bits reaches.
    """
    contents = ["\t".join(fields).encode() for fields in names(LOCATIONS)]
    offsets = [0, *accumulate(map(len, contents))]
    keys = [offset | len(content) << 24 for offset, content in zip(offsets, contents, strict=False)]
    bounds = starts(records)[1:]
    for record, bound in enumerate(bounds):
        bounds[record] = bound - 1
    bounds.append(LAST_ADDRESS)
    words = array("I", bytes(8 * records))
    words[1::2] = array("I", map(keys.__getitem__, location_ids(records)))
    big_endian = bounds[:]
    big_endian.byteswap()
    words[0::2] = big_endian
    if sys.byteorder == "big":
        words.byteswap()
    hints = (bisect_left(bounds, octet << 24) for octet in range(256))
    index_end = RECORDS_START + 8 * records + TEXT_OVERLAP
    head = struct.pack(">I", index_end) + struct.pack("<256I", *hints)
    return head + words.tobytes() + b"".join(contents)


def main(form: str, count: str, path: str) -> None:
    """Write a file."""
    if int(count) >= ADDRESS_COUNT // 2:
        raise SystemExit(f"{count} runs are too many")
    make = {"blob": blob, "city": city, "dat": dat}[form]
    Path(path).write_bytes(make(int(count)))


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        raise SystemExit(print(__doc__))
    if len(sys.argv) != 4 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        raise SystemExit(2)
    main(*sys.argv[1:])
