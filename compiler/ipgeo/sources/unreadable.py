"""What cannot be read, by content: what is no database, and formats that are not read yet."""

import codecs
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ipgeo.blob.layout import MAGIC
from ipgeo.sources import layouts

_HEAD = 1024
"""Bytes within which a page, a pointer or a text shows what it is."""
_MAX_JSON = 1 << 20
"""Bytes of JSON that is looked at: the body of an error has fewer."""

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_YET = "a format that is not read yet"
_DOWNLOAD = "not a database; see what the download returned"
_UNPACK = "unpack it; gzip, xz, and zip with one file inside are read as they are"
_EXPORT = "not read; export its data to a format that is"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A kind of content: what it is, how it is recognised, and why it is not read."""

    what: str
    recognises: Callable[[bytes], bool]
    reason: str = _NOT_YET


def problem_of(data: bytes) -> str | None:
    """Return what content is and why it cannot be read; None if that is not known."""
    for kind in UNREADABLE:
        if kind.recognises(data):
            return f"{kind.what}: {kind.reason}"
    return None


def _begins(*marks: bytes) -> Callable[[bytes], bool]:
    return partial(_begins_with, marks)


def _begins_with(marks: tuple[bytes, ...], data: bytes) -> bool:
    return data.startswith(marks)


def _is_empty(data: bytes) -> bool:
    return not data


def _text_head(data: bytes) -> bytes:
    return data[:_HEAD].removeprefix(_BYTE_ORDER_MARK).lstrip()


def _is_page(data: bytes) -> bool:
    return _text_head(data)[:5].lower() in (b"<html", b"<!doc", b"<head", b"<body", b"<?xml")


def _is_annex_pointer(data: bytes) -> bool:
    """Whether it is the pointer, or the target of a link that a file system without links holds."""
    return b"annex/objects/" in data[:_HEAD].split(b"\n")[0] and data[:1] in (b"/", b".")


def _is_json(data: bytes) -> bool:
    if len(data) > _MAX_JSON or _text_head(data)[:1] not in (b"{", b"["):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_pickle(data: bytes) -> bool:
    return data[:1] == b"\x80" and data[1:2] in (b"\2", b"\3", b"\4", b"\5") and data[-1:] == b"."


def _is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def _is_text(data: bytes) -> bool:
    head = data[:_HEAD]
    try:
        _Utf8Decoder().decode(head, final=len(head) == len(data))
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


UNREADABLE = (
    Unreadable("empty", _is_empty, "0 bytes"),
    Unreadable("an HTML or XML page", _is_page, _DOWNLOAD),
    Unreadable(
        "a Git LFS pointer",
        _begins(b"version https://git-lfs.github.com/spec/"),
        "not the file itself; `git lfs pull` fetches that",
    ),
    Unreadable(
        "a git-annex pointer",
        _is_annex_pointer,
        "not the file itself; `git annex get` fetches that",
    ),
    Unreadable("JSON", _is_json, _DOWNLOAD),
    Unreadable("an ipgeo blob", _begins(MAGIC), "already compiled; it can be served"),
    Unreadable("an SQLite database", _begins(b"SQLite format 3\0"), _EXPORT),
    Unreadable("a Parquet file", _begins(b"PAR1"), _EXPORT),
    Unreadable("a Python pickle", _is_pickle, _EXPORT),
    Unreadable("a tar archive", _is_tar, "not read; give one of the files in it"),
    Unreadable(
        "packed by bzip2", _begins(*(b"BZh%d1AY&SY" % level for level in range(1, 10))), _UNPACK
    ),
    Unreadable("packed by Zstandard", _begins(b"\x28\xb5\x2f\xfd"), _UNPACK),
    Unreadable("a 7-Zip archive", _begins(b"7z\xbc\xaf\x27\x1c"), _UNPACK),
    Unreadable("a RAR archive", _begins(b"Rar!\x1a\x07"), _UNPACK),
    Unreadable("zxinc's ipv6wry.db", _begins(b"IPDB")),
    Unreadable("IPIP .ipdb", layouts.is_ipdb),
    Unreadable("IPIP .datx", layouts.is_datx),
    Unreadable(
        "IPIP .datx of districts or base stations",
        layouts.is_datx_of_ranges,
        "not the layout of the city edition, not read",
    ),
    Unreadable("ip2region .xdb", layouts.is_xdb),
    Unreadable("ip2region .db (version 1)", layouts.is_ip2region_db, "an old format, not read"),
    Unreadable("ip2region .zdb", layouts.is_ip2region_zdb, "an old format, not read"),
    Unreadable("qqwry.dat", layouts.is_qqwry),
    Unreadable("IP2Location BIN", layouts.is_ip2location),
    Unreadable("IP2Proxy BIN", layouts.is_ip2proxy, "it lists proxies, not places"),
    Unreadable("czdb", layouts.is_czdb, "encrypted, and its key is personal"),
    Unreadable("a text (CSV, TSV, geofeed, ip2region …)", _is_text),
    Unreadable("a MaxMind DB", layouts.is_cut_mmdb, "its end is missing; get the whole file"),
)
"""In the order in which content is compared with them: what is surest comes first."""
