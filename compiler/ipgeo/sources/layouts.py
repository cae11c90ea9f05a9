"""The layouts of formats that are not read yet, as far as it takes to recognise a file.

Each function tells whether the whole content ``data``, of any length, has the layout. A reader of
the format takes its function over.
"""

from ipgeo.sources.mmdb.metadata import recognises as mmdb_recognises

_LAST = 0xFFFFFFFF
"""The last IPv4 address."""


def _little(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _big(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


_DATX_HINTS = 4 + 65536 * 4
_DATX_OVERLAP = 65536 * 4
"""The text of a ``.datx`` begins this many bytes before the number in its first four bytes."""


def _datx_records(data: bytes, size: int) -> range | None:
    """Return the offsets of the records of ``size`` bytes, None if they would not fit."""
    records = range(_DATX_HINTS, _big(data, 0) - _DATX_OVERLAP, size)
    fits = records and records.stop - records[-1] == size and records.stop <= len(data)
    return records if fits else None


def is_datx(data: bytes) -> bool:
    """IPIP ``.datx``: the last record, at the position that the head says, has the last bound."""
    records = _datx_records(data, 9)
    return records is not None and _big(data, records[-1]) == _LAST


def is_datx_of_ranges(data: bytes) -> bool:
    """IPIP ``.datx`` of districts or base stations: records of both ends, which ascend."""
    records = _datx_records(data, 13)
    if records is None:
        return False
    first, last = ((_big(data, at), _big(data, at + 4)) for at in (records[0], records[-1]))
    return first[0] <= first[1] <= last[1] and last[0] <= last[1]


def is_ipdb(data: bytes) -> bool:
    """IPIP ``.ipdb``: a length, and JSON of that length with ``node_count``."""
    head = data[4 : 4 + min(_big(data, 0), 1 << 16)]
    return head.startswith(b"{") and b'"node_count"' in head


_XDB_REGIONS = 256 + 65536 * 8


def is_xdb(data: bytes) -> bool:
    """ip2region ``.xdb``: whole segments of either family, after the head and its index."""
    version, policy = _little(data, 0, 2), _little(data, 2, 2)
    first, last = _little(data, 8), _little(data, 12)
    whole = any((last - first) % size == 0 for size in (14, 38))
    return 2 <= version < 10 and policy in (1, 2) and _XDB_REGIONS <= first <= last and whole


def is_ip2region_db(data: bytes) -> bool:
    """ip2region ``.db``, version 1: entries of 12 bytes, from the first address to the last."""
    first, last = _little(data, 0), _little(data, 4)
    index = 8 < first <= last <= len(data) - 12 and (last - first) % 12 == 0
    return index and _little(data, first) == 0 and _little(data, last + 4) == _LAST


def is_ip2region_zdb(data: bytes) -> bool:
    """ALI1416's ip2region ``.zdb``, unpacked: records at 16, an index, segments to the end."""
    segments = _little(data, 12) + 65537 * 4
    return _little(data, 8) == 16 and 16 < segments < len(data) and (len(data) - segments) % 8 == 0


def is_qqwry(data: bytes) -> bool:
    """``qqwry.dat``: index entries of 7 bytes, from 0.0.0.0 to one within the last /8."""
    first, last = _little(data, 0), _little(data, 4)
    index = 8 <= first < last <= len(data) - 7 and (last - first) % 7 == 0
    return index and _little(data, first) == 0 and _little(data, last) >> 24 == 0xFF


def is_ip2location(data: bytes) -> bool:
    """IP2Location BIN: the table's rows, or the size in the head, which old files lack."""
    return _has_bin_head(data) and (_has_bin_rows(data) or (data[29] == 1 and _has_bin_size(data)))


def is_ip2proxy(data: bytes) -> bool:
    """IP2Proxy BIN: as IP2Location's, with another number of the product."""
    return _has_bin_head(data) and data[29] == 2 and _has_bin_size(data)


def _has_bin_head(data: bytes) -> bool:
    return len(data) >= 64 and 1 <= data[0] <= 40 and 2 <= data[1] <= 40


def _bin_rows(data: bytes) -> tuple[int, int]:
    """Return the offsets of the first and the last row of IPv4, the last of which ends it."""
    rows, first = _little(data, 5), _little(data, 9) - 1
    return first, first + (rows - 1) * data[1] * 4


def _has_bin_rows(data: bytes) -> bool:
    first, last = _bin_rows(data)
    return 30 <= first < last and _little(data, first) == 0 and _little(data, last) == _LAST


def _has_bin_size(data: bytes) -> bool:
    """Whether the rows end within the size that the head says, and the file too: it may be cut."""
    first, last = _bin_rows(data)
    return 30 <= first <= last < _little(data, 31) >= len(data)


_MMDB_KEYS = (b"\x47country", b"\x58autonomous_system_number")
"""Keys as an MMDB writes them: a byte of type and length, then the text."""


def is_cut_mmdb(data: bytes) -> bool:
    """An MMDB without its end, which has the metadata: known by its first keys, if it has them."""
    return not mmdb_recognises(data) and any(key in data for key in _MMDB_KEYS)


def is_czdb(data: bytes) -> bool:
    """cz88.net's ``.czdb``: a version, a client's number of 12 bits and a short encrypted block."""
    version, client, block = (_little(data, at) for at in (0, 4, 8))
    return 0 < version < 10**8 and client < 1 << 12 and block in (16, 32) and len(data) > 12 + block
