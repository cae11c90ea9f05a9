"""A small source that the project makes itself, from public facts.

The facts: IANA's IPv4 address space and special-purpose registries (which registry has which /8,
which blocks have a special purpose), and the operators of a few well-known public services.
"""

import itertools
import struct
from bisect import bisect_left
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

from ipgeo.files.atomic import File, publish_alone
from ipgeo.places.code_files import CITY_FILE, COUNTRY_FILE, PROVINCE_FILE
from ipgeo.sources.dat import RECORDS_START, SAMPLE_MARK, TEXT_OVERLAP

SOURCE_FILE = "sample.dat"
VERSION = "2026-11"

Fields = tuple[str, ...]
"""Country, province, city, organization: the edition of four fields."""

Range = tuple[int, int, Fields]
"""First and last address (inclusive), and the fields of a content."""

# IANA's IPv4 Address Space Registry: each /8 by the registry that has or administers it.
_REGISTRIES = {
    "APNIC": "1 14 27 36 39 42 43 49 58-61 101 103 106 110-126 133 150 153 163 171 175 180 182 183"
    " 202 203 210 211 218-223",
    "RIPE NCC": "2 5 25 31 37 46 51 53 57 62 77-95 109 141 145 151 176 178 185 188 193-195 212 213"
    " 217",
    "LACNIC": "177 179 181 186 187 189-191 200 201",
    "AFRINIC": "41 102 105 154 196 197",
    "ARIN": "3 4 6-9 11-13 15-24 26 28-30 32-35 38 40 44 45 47 48 50 52 54-56 63-76 96-100 104 107"
    " 108 128-132 134-140 142-144 146-149 152 155-162 164-170 172-174 184 192 198 199 204-209"
    " 214-216",
}

# IANA's IPv4 Special-Purpose Address Registry and multicast (RFC 5771), later ones inside earlier.
_SPECIAL = {
    "0.0.0.0/8": "本网络",
    "10.0.0.0/8": "局域网",
    "100.64.0.0/10": "共享地址",
    "127.0.0.0/8": "本机地址",
    "169.254.0.0/16": "本地链路",
    "172.16.0.0/12": "局域网",
    "192.0.0.0/24": "IETF",
    "192.0.2.0/24": "文档地址",
    "192.168.0.0/16": "局域网",
    "198.18.0.0/15": "基准测试",
    "198.51.100.0/24": "文档地址",
    "203.0.113.0/24": "文档地址",
    "224.0.0.0/4": "组播地址",
    "240.0.0.0/4": "保留地址",
}

_WELL_KNOWN: dict[str, Fields] = {
    "1.1.1.0/24": ("CLOUDFLARE", "CLOUDFLARE", "", "Cloudflare DNS"),
    "8.8.4.0/24": ("美国", "美国", "", "Google Public DNS"),
    "8.8.8.0/24": ("美国", "美国", "", "Google Public DNS"),
    "9.9.9.0/24": ("瑞士", "瑞士", "", "Quad9"),
    "17.0.0.0/8": ("美国", "美国", "", "Apple"),
    "114.114.114.0/24": ("中国", "江苏", "南京", "114DNS"),
    "119.29.29.0/24": ("中国", "广东", "深圳", "DNSPod"),
    "168.95.1.0/24": ("中国", "台湾", "", "HiNet"),
    "180.76.76.0/24": ("中国", "北京", "北京", "Baidu DNS"),
    "192.33.4.0/24": ("美国", "美国", "", "C.ROOT-SERVERS.NET"),
    "193.0.14.0/24": ("荷兰", "荷兰", "", "K.ROOT-SERVERS.NET"),
    "198.41.0.0/24": ("美国", "美国", "", "A.ROOT-SERVERS.NET"),
    "202.12.27.0/24": ("日本", "日本", "", "M.ROOT-SERVERS.NET"),
    "223.5.5.0/24": ("中国", "浙江", "杭州", "AliDNS"),
}

_COUNTRIES = (
    ("中国", "CN", "AP", "86", "Asia/Shanghai", "39.904200", "116.407400"),
    ("日本", "JP", "AP", "81", "Asia/Tokyo", "35.689500", "139.691700"),
    ("瑞士", "CH", "EU", "41", "Europe/Zurich", "46.948000", "7.447400"),
    ("美国", "US", "NA", "1", "America/New_York", "38.907200", "-77.036900"),
    ("荷兰", "NL", "EU", "31", "Europe/Amsterdam", "52.367600", "4.904100"),
)
_PROVINCES = (
    ("110000", "中国", "北京"),
    ("320000", "中国", "江苏"),
    ("330000", "中国", "浙江"),
    ("440000", "中国", "广东"),
    ("710000", "中国", "台湾"),
)
_CITIES = (
    ("110000", "中国", "北京", "北京"),
    ("320100", "中国", "江苏", "南京"),
    ("330100", "中国", "浙江", "杭州"),
    ("440300", "中国", "广东", "深圳"),
)


def write_sample(folder: Path, warn: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Write the sample source and its code files into ``folder``; return their paths.

    The same bytes each time. Calls ``warn`` with each warning. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        SOURCE_FILE: encode_dat(_flatten(_ranges())),
        COUNTRY_FILE: _table(_COUNTRIES),
        PROVINCE_FILE: _table(_PROVINCES),
        CITY_FILE: _table(_CITIES),
    }
    paths = [folder / name for name in files]
    contents = zip(paths, files.values(), strict=True)
    for warning in publish_alone([File(path, content, (path,)) for path, content in contents]):
        warn(warning)
    return paths


def encode_dat(ranges: list[Range]) -> bytes:
    """Return a ``.dat`` file of ranges that ascend without gaps over all addresses."""
    text = bytearray()
    offsets: dict[str, int] = {}
    records = bytearray()
    for _, last, fields in ranges:
        content = "\t".join(fields)
        encoded = content.encode()
        if content not in offsets:
            offsets[content] = len(text)
            text += encoded
        key = offsets[content] | len(encoded) << 24
        records += struct.pack(">I", last) + struct.pack("<I", key)
    bounds = [last for _, last, _ in ranges]
    hints = struct.pack("<256I", *(bisect_left(bounds, octet << 24) for octet in range(256)))
    index_end = RECORDS_START + len(records) + TEXT_OVERLAP
    return struct.pack(">I", index_end) + hints + bytes(records) + bytes(text)


def _table(rows: tuple[tuple[str, ...], ...]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def _ranges() -> list[Range]:
    """Return all facts; a later one lies over the earlier ones."""
    facts: list[tuple[str, Fields]] = [
        (f"{octet}.0.0.0/8", (name, name, "", "")) for octet, name in _eights()
    ]
    facts += [(block, (name, name, "", "")) for block, name in _SPECIAL.items()]
    facts += _WELL_KNOWN.items()
    facts.append(("255.255.255.0/24", (SAMPLE_MARK, VERSION, "", "")))
    networks = [(IPv4Network(block), fields) for block, fields in facts]
    return [(int(n[0]), int(n[-1]), fields) for n, fields in networks]


def _eights() -> list[tuple[int, str]]:
    return [
        (octet, name)
        for name, blocks in _REGISTRIES.items()
        for block in blocks.split()
        for octet in range(int(block.split("-")[0]), int(block.split("-")[-1]) + 1)
    ]


def _flatten(ranges: list[Range]) -> list[Range]:
    """Cut the ranges at each other's edges; the last one that covers a piece has it."""
    edges = sorted({edge for first, last, _ in ranges for edge in (first, last + 1)})
    flat: list[Range] = []
    for first, after in itertools.pairwise(edges):
        fields = [f for lower, upper, f in ranges if lower <= first <= upper][-1]
        if flat and flat[-1][2] == fields:
            flat[-1] = (flat[-1][0], after - 1, fields)
        else:
            flat.append((first, after - 1, fields))
    return flat
