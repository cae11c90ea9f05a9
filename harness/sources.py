"""Sources for tests: `.dat` files and code files with known content."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from ipgeo.sources.dat import EDITIONS
from ipgeo.sources.sample import encode_dat

END = 1 << 32

VALUES = {
    "latitude": "39.904989",
    "longitude": "-116.405285",
    "utc_offset": "UTC+8",
    "china_admin_code": "110000",
    "source_country_code": "UK",
}
"""What `edition` writes under these names; a field of another name holds that name."""


def edition(count: int) -> tuple[str, ...]:
    """Return the fields of a content of an edition."""
    return tuple(VALUES.get(name, name) for name in EDITIONS[count])


def dat(contents: Sequence[tuple[int, tuple[str, ...]]]) -> bytes:
    """Return a file of (first address, fields), ascending from address 0."""
    firsts = [first for first, _ in contents] + [END]
    return encode_dat(
        [
            (first, after - 1, fields)
            for (first, fields), after in zip(contents, firsts[1:], strict=True)
        ]
    )


def small_dat(count: int = 4) -> bytes:
    """Return a file of three records of two contents."""
    other = ("其他", *edition(count)[1:])
    return dat([(0, edition(count)), (0x01020304, other), (0xFF000000, edition(count))])


def write_codes(folder: Path, *, change: Callable[[bytes], bytes] = bytes) -> Path:
    """Write three small code files into ``folder``, each passed through ``change``."""
    folder.mkdir(exist_ok=True)
    files = {
        "country_list.txt": "中国\tCN\tAP\t86\t\t\t\n日本\tJP\tAP\t81\t\t\t\n",
        "china_province_code.txt": "110000\t中国\t北京\n230000\t中国\t黑龙江\n",
        "china_city_code.txt": "110000\t中国\t北京\t北京\n230400\t中国\t黑龙江\t鹤岗\n",
    }
    for name, text in files.items():
        (folder / name).write_bytes(change(text.encode()))
    return folder


def patched(data: bytes, offset: int, new: bytes) -> bytes:
    """Return ``data`` with ``new`` in the place of the bytes at ``offset``."""
    return data[:offset] + new + data[offset + len(new) :]


def u32_be(value: int) -> bytes:
    """Return four bytes, big-endian."""
    return struct.pack(">I", value)


def u32_le(value: int) -> bytes:
    """Return four bytes, little-endian."""
    return struct.pack("<I", value)
