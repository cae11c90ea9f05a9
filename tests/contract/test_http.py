"""The HTTP contract: one table of cases for both servers, and their agreement on real data.

A row holds for the edge and for the fallback alike. Where the two cannot agree there is a row for
each, with the reason. The same rows are asked of an edge without a blob, for which the fallback
answers, and of one in proxy mode.
"""

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from harness import blobs
from harness.blobs import (
    ATLANTIS_ARRAY,
    ATLANTIS_IP,
    ATLANTIS_OBJECT,
    GAP_IP,
    UTOPIA_ARRAY,
    UTOPIA_IP,
    UTOPIA_OBJECT,
)
from harness.client import Address, Reply, connect, exchange, get, pipeline, post, request
from harness.edge import Edge
from harness.stack import Stack
from harness.tempdirs import short_tempdir
from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import ADDRESS_COUNT, format_ipv4
from ipgeo_fallback import create_app, errors
from ipgeo_fallback.settings import Settings

EDGE, FALLBACK = "edge", "fallback"
THROUGH = "through"
"""An edge that has no blob: it passes its requests on to the fallback."""
PROXY = "proxy"
"""An edge in proxy mode: the fallback answers, though the edge has a blob."""

PATH = "/api/ip_query"
BODY_LIMIT = 65536
BUILD_ID = Blob(blobs.fictional(gap=True)).build_id
TAG = f'"{BUILD_ID}"'

MESSAGES = {
    "missing_ip": "ip is missing",
    "invalid_ip": "ip is not an IPv4 or IPv6 address",
    "invalid_ips": "ips must be an array",
    "ip_and_ips": "send either ip or ips, not both",
    "too_many_ips": "too many addresses: the limit is 1000",
    "invalid_format": "format must be array or object",
    "invalid_json": "the body must be one JSON object in UTF-8, nested at most 8 deep",
    "repeated_argument": "ip, ips or format is given more than once",
    "too_many_arguments": "too many arguments: the limit is 8",
    "bad_request": "the request is not valid HTTP, or a header is too large",
    "not_found": "not found",
    "method_not_allowed": "method not allowed",
    "body_too_large": "the request body is too large: the limit is 65536 bytes",
    "uri_too_long": "the request line is too long: the limit is 8 KiB",
    "no_data": "the database has no entry for this address",
    "not_implemented": "transfer encoding not implemented",
    "unavailable": "no database is loaded",
    "http_version_not_supported": "HTTP version not supported",
}
"""The messages of errors by code; both servers send the same bytes."""

TOO_LARGE = r"client intended to send too large (chunked )?body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request and its expected answer.

    ``code`` is an error's; ``body`` is the exact body of other answers; ``headers`` has None for
    one that must be absent. ``only`` names the one server that the row holds for, ``why`` the
    reason. Without ``through`` the row does not hold for an edge that has no blob, without
    ``proxy`` not for one in proxy mode.
    """

    name: str
    request: bytes
    status: int = 200
    code: str = ""
    body: bytes | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str | None] = field(default_factory=dict)
    provokes: str = ""
    only: str = ""
    why: str = ""
    through: bool = True
    proxy: bool = True


def query(arguments: str | bytes, *headers: str, method: str = "GET") -> bytes:
    arguments = arguments.encode() if isinstance(arguments, str) else arguments
    return request(method, f"{PATH}?".encode() + arguments, *headers)


def body(content: str | bytes, *headers: str, target: str = PATH) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return request("POST", target, *headers, body=content)


def chunked(*chunks: bytes) -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return request("POST", PATH, "Transfer-Encoding: chunked") + framed + b"0\r\n\r\n"


def padded(size: int) -> bytes:
    return b'{"ip":"1.2.3.4"}'.ljust(size)


def nested(levels: int) -> str:
    """A valid question that is nested ``levels`` deep, the object itself being the first."""
    return '{"ip":"1.2.3.4","n":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def answers() -> Iterator[Case]:
    for name, sent, content in (
        ("GET", query("ip=1.2.3.4"), ATLANTIS_ARRAY),
        ("GET array", query("ip=1.2.3.4&format=array"), ATLANTIS_ARRAY),
        ("GET object", query("ip=1.2.3.4&format=object"), ATLANTIS_OBJECT),
        ("GET object, format first", query("format=object&ip=1.2.3.4"), ATLANTIS_OBJECT),
        ("GET without codes", query(f"ip={UTOPIA_IP}"), UTOPIA_ARRAY),
        ("GET object without codes", query(f"ip={UTOPIA_IP}&format=object"), UTOPIA_OBJECT),
        ("GET first address", query("ip=0.0.0.0"), UTOPIA_ARRAY),
        ("GET last address", query("ip=255.255.255.255"), UTOPIA_ARRAY),
        ("GET last of a run", query("ip=1.2.3.255"), ATLANTIS_ARRAY),
        ("GET first after a run", query("ip=1.2.4.0"), UTOPIA_ARRAY),
        ("GET last before a gap", query("ip=4.255.255.255"), UTOPIA_ARRAY),
        ("GET first after a gap", query("ip=6.0.0.0"), UTOPIA_ARRAY),
        ("HEAD", query("ip=1.2.3.4", method="HEAD"), b""),
        ("HEAD object", query("ip=1.2.3.4&format=object", method="HEAD"), b""),
        ("GET over TLS, a proxy says", query("ip=1.2.3.4", "X-Forwarded-Ssl: on"), ATLANTIS_ARRAY),
        ("GET with Range", query("ip=1.2.3.4", "Range: bytes=0-3"), ATLANTIS_ARRAY),
        ("GET with a small body", query("ip=1.2.3.4", "Content-Length: 2") + b"{}", ATLANTIS_ARRAY),
        ("GET with a fragment", query("ip=1.2.3.4#top"), ATLANTIS_ARRAY),
        ("GET, two slashes first", request("GET", f"/{PATH}?ip=1.2.3.4"), ATLANTIS_ARRAY),
        ("GET percent-encoded path", request("GET", "/api/%69p_query?ip=1.2.3.4"), ATLANTIS_ARRAY),
        (
            "GET absolute form",
            request("GET", f"http://localhost{PATH}?ip=1.2.3.4"),
            ATLANTIS_ARRAY,
        ),
        (
            "GET, host with too long a label",
            query("ip=1.2.3.4").replace(b"localhost", b"x" * 70),
            ATLANTIS_ARRAY,
        ),
    ):
        yield Case(name=name, request=sent, body=content, headers={"etag": TAG})
    for length, form in ((len(ATLANTIS_ARRAY), "array"), (len(ATLANTIS_OBJECT), "object")):
        yield Case(
            name=f"HEAD {form} has the length of GET",
            request=query(f"ip=1.2.3.4&format={form}", method="HEAD"),
            body=b"",
            headers={"content-length": str(length)},
        )


def conditions() -> Iterator[Case]:
    same = {"etag": TAG, "content-type": None}
    for given in (TAG, f"W/{TAG}", f'"x", {TAG}', f'{TAG},"x"', f'"x",W/{TAG} , "y"', "*"):
        for method in ("GET", "HEAD"):
            yield Case(
                name=f"{method} If-None-Match: {given.replace(BUILD_ID, 'ID')}",
                request=query("ip=1.2.3.4", f"If-None-Match: {given}", method=method),
                status=304,
                body=b"",
                headers=same,
            )
    for given in ('"x"', BUILD_ID, f'"{BUILD_ID}x"', f'"x{BUILD_ID}"', f'w/"{BUILD_ID}x"', '""'):
        yield Case(
            name=f"GET If-None-Match: {given.replace(BUILD_ID, 'ID')}",
            request=query("ip=1.2.3.4", f"If-None-Match: {given}"),
            body=ATLANTIS_ARRAY,
            headers={"etag": TAG},
        )
    for given in (TAG, "*"):
        condition = f"If-None-Match: {given}"
        named = given.replace(BUILD_ID, "ID")
        yield Case(
            name=f"POST If-None-Match: {named}",
            request=body('{"ip":"1.2.3.4"}', condition),
            body=ATLANTIS_ARRAY,
        )
        yield Case(
            name=f"invalid ip, If-None-Match: {named}",
            request=query("ip=x", condition),
            status=400,
            code="invalid_ip",
        )
        yield Case(
            name=f"no data, If-None-Match: {named}",
            request=query(f"ip={GAP_IP}", condition),
            status=501,
            code="no_data",
        )
        yield Case(
            name=f"healthz, If-None-Match: {named}", request=request("GET", "/healthz", condition)
        )
        yield Case(
            name=f"readyz, If-None-Match: {named}",
            request=request("GET", "/readyz", condition),
            through=False,
        )
    for condition in (
        'If-Match: "x"',
        "If-Modified-Since: x",
        "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    ):
        yield Case(
            name=f"ignored: {condition}",
            request=query("ip=1.2.3.4", condition),
            body=ATLANTIS_ARRAY,
            headers={"etag": TAG},
        )
        yield Case(
            name=f"POST ignored: {condition}",
            request=body('{"ip":"1.2.3.4"}', condition),
            body=ATLANTIS_ARRAY,
        )

    yield from dates()
    for name in ("If-None-Match", "If-Modified-Since", "If-Match", "Authorization", "Expect"):
        yield Case(
            name=f"{name} twice",
            request=query("ip=1.2.3.4", f"{name}: x", f"{name}: x"),
            status=400,
            code="bad_request",
        )


def dates() -> Iterator[Case]:
    """If-None-Match outdoes If-Modified-Since (RFC 9110, 13.2.2)."""
    for date in ("Fri, 01 Jan 2100 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT", "x"):
        for arguments in ("ip=1.2.3.4", "ip=1.2.3.4&format=object", "%69p=1.2.3.4"):
            for method in ("GET", "HEAD"):
                headers = (f"If-None-Match: {TAG}", f"If-Modified-Since: {date}")
                yield Case(
                    name=f"{method} ?{arguments} If-None-Match: ID, If-Modified-Since: {date}",
                    request=query(arguments, *headers, method=method),
                    status=304,
                    body=b"",
                    headers={"etag": TAG, "content-type": None},
                )
        yield Case(
            name=f"GET If-None-Match: another, If-Modified-Since: {date}",
            request=query("ip=1.2.3.4", 'If-None-Match: "x"', f"If-Modified-Since: {date}"),
            body=ATLANTIS_ARRAY,
            headers={"etag": TAG},
        )


def arguments() -> Iterator[Case]:
    for arguments, code in (
        ("", "missing_ip"),
        ("&", "missing_ip"),
        ("=1.2.3.4", "missing_ip"),
        ("IP=1.2.3.4", "missing_ip"),
        ("ip%00=1.2.3.4", "missing_ip"),
        ("i%p=1.2.3.4", "missing_ip"),
        ("%zzip=1.2.3.4", "missing_ip"),
        ("+ip=1.2.3.4", "missing_ip"),
        ("x=1;ip=1.2.3.4", "missing_ip"),
        ("ip%3D1.2.3.4", "missing_ip"),
        ("%26ip=1.2.3.4", "missing_ip"),
        ("ip", "invalid_ip"),
        ("ip=", "invalid_ip"),
        ("ip=1.2.3.4;format=object", "invalid_ip"),
        ("ip=1.2.3.4?x", "invalid_ip"),
        ("ip=1.2.3.4=", "invalid_ip"),
        ("ip==1.2.3.4", "invalid_ip"),
        ("ip=1.2.3.4&ip=1.2.3.4", "repeated_argument"),
        ("ip&ip", "repeated_argument"),
        ("ip=1.2.3.4&%69%70=1.2.3.4", "repeated_argument"),
        ("ip=1.2.3.4&format=array&format=array", "repeated_argument"),
        ("format&format", "repeated_argument"),
        ("ip=1.2.3.4&format=xml", "invalid_format"),
        ("ip=1.2.3.4&format=", "invalid_format"),
        ("ip=1.2.3.4&format", "invalid_format"),
        ("ip=1.2.3.4&format=Object", "invalid_format"),
        ("ip=1.2.3.4&format=object+", "invalid_format"),
        ("ip=1.2.3.4&format=object%00", "invalid_format"),
        ("ip=1.2.3.4&format=%ff", "invalid_format"),
        ("format=object", "missing_ip"),
        # The order of the checks:
        ("format=xml", "invalid_format"),
        ("ip=x&format=xml", "invalid_format"),
        ("ip=x&ip=x&format=xml", "repeated_argument"),
        ("ip&ip&3&4&5&6&7&8&9", "too_many_arguments"),
        ("ip=1.2.3.4&2&3&4&5&6&7&8&9", "too_many_arguments"),
        ("&&&&&&&&ip=1.2.3.4", "too_many_arguments"),
        ("ip=1.2.3.4" + "&" * 8, "too_many_arguments"),
        ("ip=1.2.3.4" + "&x=1" * 500, "too_many_arguments"),
    ):
        shown = arguments if len(arguments) < 60 else arguments[:20] + "..."
        yield Case(name=f"GET ?{shown}", request=query(arguments), status=400, code=code)
    yield Case(name="GET, no ?", request=request("GET", PATH), status=400, code="missing_ip")
    for arguments in (
        "%69p=1.2.3.4",
        "%69%70=%31.2.3%2E4",
        "&ip=1.2.3.4&",
        "ip=1.2.3.4&=x&=",
        "ip=1.2.3.4&x=1&x=2&x",
        "ip=1.2.3.4&%zz=%&%f",
        "ip=1.2.3.4&%FF=%00",
        "2&3&4&5&6&7&8&ip=1.2.3.4",
        "&&&&&&&ip=1.2.3.4",
        "ip=1.2.3.4&format=%61rray",
        "ip=1.2.3.4&IP=2.2.2.2&Format=object",
        "ip=1.2.3.4&" + "x" * 4000,
    ):
        yield Case(name=f"GET ?{arguments[:40]}", request=query(arguments), body=ATLANTIS_ARRAY)


BAD_ADDRESSES = (
    "010.0.0.1", "1.2.3.04", "1.2.3.00", "00.0.0.0", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3",
    "1.2.3.4.", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "1.2.3.999", "1.2.3.-4", "+1.2.3.4",
    "1.2.3.+4", "0x1.2.3.4", "0x10", "1.2.3.4e0", "16909060", "1.2.772", "a.b.c.d", "localhost",
    " 1.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "1.2.3.4\t", "1. 2.3.4", "1.2.3.4\0", "1.2.3.4\0x",
    "\0", "1.2.3\0.4", "255.255.255.2555", "1.2.3.4/32", "1.2.3.4:80", "[::1]", "::1%lo",
    "::12345", "1.2.3.٤", "１.2.3.4", "1。2.3.4", "é", "0000000000000001.2.3.4",
    "1.2.3.4" + "0" * 1000, "1,2,3,4", '1.2.3.4"', "1.2.3.4\\", "%31.2.3.4", "null", "-1", "1",
)  # fmt: skip


def addresses() -> Iterator[Case]:
    for address in BAD_ADDRESSES:
        escaped = "".join(f"%{byte:02x}" for byte in address.encode())
        name = repr(address[:40])
        yield Case(
            name=f"GET ip {name}", request=query(f"ip={escaped}"), status=400, code="invalid_ip"
        )
        yield Case(
            name=f"POST ip {name}",
            request=body(json.dumps({"ip": address})),
            status=400,
            code="invalid_ip",
        )
    for raw in (b"1.2.3.4%", b"1.2.3.4%0", b"1.2.3.4%zz", b"+1.2.3.4", b"1.2.3.4+", b"%ff",
                b"%31.2.3.%c4", b"1.2.3.4%u0030"):  # fmt: skip
        yield Case(
            name=f"GET raw ip {raw!r}", request=query(b"ip=" + raw), status=400, code="invalid_ip"
        )
    for method in ("GET", "HEAD"):
        yield Case(
            name=f"{method} no data",
            request=query(f"ip={GAP_IP}", method=method),
            status=501,
            code="no_data",
        )
    for edge_of_gap in ("5.0.0.0", "5.255.255.255"):
        yield Case(
            name=f"no data {edge_of_gap}",
            request=query(f"ip={edge_of_gap}&format=object"),
            status=501,
            code="no_data",
        )
    yield Case(
        name="POST no data", request=body(f'{{"ip":"{GAP_IP}"}}'), status=501, code="no_data"
    )


def bodies() -> Iterator[Case]:
    long_number = "9" * 5000
    for content in (
        '{"ip":"1.2.3.4"}',
        '{"ip":"1.2.3.4","format":"array"}',
        ' \t\r\n{ "ip" : "1.2.3.4" } \n',
        r'{"\u0069p":"\u0031.2.3\u002e4"}',
        r'{"ip":"1.2.3.4","\/\b\f\n\r\t\"\\":"\/"}',
        '{"ip":"1.2.3.4","other":null,"other":[{},[]],"":{"ip":"x","format":1}}',
        '{"ip":"1.2.3.4","中":"中","😀":"😀","\u007f":"\u2028"}',
        r'{"ip":"1.2.3.4","\ud83d\ude00":"\ud83d\ude00"}',
        r'{"ip":"1.2.3.4","x":"\ud800","\udc00":"\udc00\ud800"}',
        r'{"ip":"1.2.3.4","x":"\u0000"}',
        '{"ip":"1.2.3.4","x":1e999,"y":-1E+999,"z":-0,"w":0.0e-0}',
        f'{{"ip":"1.2.3.4","x":{long_number},"y":-{long_number}.{long_number}}}',
        '{"ip":"1.2.3.4","x":"[[[[[[[[[[[[{{{{{{{{{{\\"[[[["}',
        '{"ip":"1.2.3.4","x":true,"y":false,"z":[1,2.5,-3e2,""]}',
        '{"IP":1,"Format":2,"ip ":3,"ip":"1.2.3.4"}',
        '{"ip":"1.2.3.4",' + ",".join(f'"k{i}":{i}' for i in range(1000)) + "}",
        nested(8),
        '{"ip":"1.2.3.4","n":' + '{"n":' * 7 + "1" + "}" * 8,
        padded(BODY_LIMIT),
    ):
        name = content[:50] if isinstance(content, str) else "exactly at the limit"
        yield Case(name=f"POST {name}", request=body(content), body=ATLANTIS_ARRAY)
    for content in (
        '{"ip":"1.2.3.4","format":"object"}',
        r'{"f\u006frmat":"obj\u0065ct","ip":"1.2.3.4"}',
    ):
        yield Case(name=f"POST {content}", request=body(content), body=ATLANTIS_OBJECT)
    for media_type in ("application/json", "application/x-www-form-urlencoded", "text/html",
                       "multipart/form-data", "application/json; charset=utf-16", ""):  # fmt: skip
        yield Case(
            name=f"POST Content-Type: {media_type}",
            request=body('{"ip":"1.2.3.4"}', f"Content-Type: {media_type}"),
            body=ATLANTIS_ARRAY,
        )
    for target in ("?ip=9.9.9.9", "?ip=x&ip=x&format=xml", "?1&2&3&4&5&6&7&8&9", "?format=object"):
        yield Case(
            name=f"POST {target} is ignored",
            request=body('{"ip":"1.2.3.4"}', target=PATH + target),
            body=ATLANTIS_ARRAY,
        )

    for given in (
        ("text/plain", "application/json"),
        ("application/json", "text/plain"),
        ("text/plain", "text/plain"),
        ("", "text/plain"),
        ("text/plain, application/json",),
        ("application/json, text/plain",),
        ('text/plain; x="a", application/json',),
    ):
        for content in ('{"ip":"1.2.3.4"}', "1.2.3.4\n"):
            yield Case(
                name=f"POST {content!r} Content-Types: {given}",
                request=body(content, *(f"Content-Type: {media_type}" for media_type in given)),
                status=400,
                code="bad_request",
            )
    yield Case(
        name="POST Content-Type with a comma in quotes",
        request=body('{"ip":"1.2.3.4"}', 'Content-Type: application/json; x="a, b"'),
        body=ATLANTIS_ARRAY,
    )


BAD_JSON: Sequence[str | bytes] = (
    "null", "1", '"ip"', "true", "[]", '["ip","1.2.3.4"]', '[["ip","1.2.3.4"]]', "ip=1.2.3.4",
    "1.2.3.4", " ", "{", "}", "{}}", "{}{}", "{},", "[{}]x", '{"ip":"1.2.3.4"} x',
    '{"ip":"1.2.3.4"}\0', '\0{"ip":"1.2.3.4"}', '{"ip":"1.2.3.4"}{"ip":"1.2.3.4"}',
    '{"ip":"1.2.3.4",}', '{,"ip":"1.2.3.4"}', '{"ip":"1.2.3.4" "x":1}', '{"ip" "1.2.3.4"}',
    '{"ip":"1.2.3.4"', '{"ip":"1.2.3.4', '{"ip', '{"ip":}', '{"ip"}', "{'ip':'1.2.3.4'}",
    '{ip:"1.2.3.4"}', '{1:"1.2.3.4"}', '{"ip":"1.2.3.4","x":[1,]}', '{"ip":"1.2.3.4","x":[,1]}',
    '{"ip":"1.2.3.4","x":[1 2]}', '{"ip":"1.2.3.4","x":[}', '{"ip":"1.2.3.4","x":[1}]',
    '{"ip":"1.2.3.4"/**/}', '//\n{"ip":"1.2.3.4"}', '{"ip":"1.2.3.4","ip":"1.2.3.4"',
    # numbers
    *(f'{{"ip":"1.2.3.4","x":{number}}}' for number in (
        "0x10", "+1", "01", "-01", "00", "1.", ".5", "-", "-.5", "1e", "1e+", "1.e1", "1.5.5",
        "0b1", "1_000", "NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "0x", "1f", "١",
        "--1",
    )),
    # literals
    *(f'{{"ip":"1.2.3.4","x":{literal}}}' for literal in (
        "True", "FALSE", "Null", "nul", "truex", "undefined", "tru", "none",
    )),
    # strings
    *(f'{{"ip":"1.2.3.4","x":"{text}"}}' for text in (
        "\x00", "\x01", "\n", "\r", "\t", "\x1f", r"\x", r"\u12", r"\u12g4", r"\U0001", "\\", r"\'",
        r"\u 123", r"\u+123", r"\u-001", r"\0",
    )),
    # encodings
    '\ufeff{"ip":"1.2.3.4"}', '{"ip":"1.2.3.4"}\ufeff', '\u00a0{"ip":"1.2.3.4"}',
    '{\u2003"ip":"1.2.3.4"}', '\f{"ip":"1.2.3.4"}', '\v{"ip":"1.2.3.4"}',
    *('{"ip":"1.2.3.4"}'.encode(encoding) for encoding in (
        "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be",
    )),
    *(b'{"ip":"1.2.3.4","x":"' + raw + b'"}' for raw in (
        b"\xff", b"\xfe", b"\x80", b"\xc0\xaf", b"\xc1\x81", b"\xe4\xb8", b"\xe0\x80\xaf",
        b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe4", b"\xf0\x9f\x98", b"\xc3(", b"\xe9",
    )),
    b'{"\xff":1,"ip":"1.2.3.4"}', b'{"ip":"1.2.3.4"}\xff', b"\xff",
    # nesting
    nested(9), nested(64), nested(5000), "[" * 5000, "{" * 5000, '{"a":' * 5000,
    '{"ip":"1.2.3.4","n":' + '{"n":' * 8 + "1" + "}" * 9, "[" * 60000, '{"a":[' * 10000,
    '{"ip":"1.2.3.4","n":' + "[" * 8, '{"x":"' + r"\"" * 30000,
)  # fmt: skip


def bad_bodies() -> Iterator[Case]:
    for number, content in enumerate(BAD_JSON):
        yield Case(
            name=f"bad JSON {number}: {content[:40]!r}",
            request=body(content),
            status=400,
            code="invalid_json",
        )
    for name, sent in (
        ("no body, no length", request("POST", PATH)),
        ("empty body", request("POST", PATH, "Content-Length: 0")),
        ("empty chunked body", chunked()),
    ):
        yield Case(name=f"POST {name}", request=sent, status=400, code="invalid_json")
    for content, code in (
        ("{}", "missing_ip"),
        ('{"x":"ip"}', "missing_ip"),
        ('{"IP":"1.2.3.4"}', "missing_ip"),
        ('{"ip\\u0000":"1.2.3.4"}', "missing_ip"),
        ('{"x":{"ip":"1.2.3.4"}}', "missing_ip"),
        ('{"format":"object"}', "missing_ip"),
        *((f'{{"ip":{value}}}', "invalid_ip")
          for value in ("null", "1", "16909060", "1.2", "true", "false", "[]", '["1.2.3.4"]', "{}",
                        '""', r'"\ud800"', r'"1.2.3.4\u0000"', r'"1.2.3.4\ud83d\ude00"')),
        *((f'{{"ip":"1.2.3.4","format":{value}}}', "invalid_format")
          for value in ("null", "1", "true", "[]", "{}", '""', '"xml"', '"Object"', '"object "',
                        '["object"]', r'"object\u0000"', r'"\ud800"')),
        ('{"ip":"1.2.3.4","ip":"1.2.3.4"}', "repeated_argument"),
        ('{"ip":"1.2.3.4","\\u0069p":"1.2.3.4"}', "repeated_argument"),
        ('{"ip":null,"ip":null}', "repeated_argument"),
        ('{"ip":"1.2.3.4","format":"array","format":"array"}', "repeated_argument"),
        ('{"format":1,"\\u0066ormat":2}', "repeated_argument"),
        ('{"ip":1,"ip":2,"format":3}', "repeated_argument"),
        ('{"format":"xml"}', "invalid_format"),
        ('{"ip":"x","format":"xml"}', "invalid_format"),
        ('{"ip":"1.2.3.4","ip":"1.2.3.4"', "invalid_json"),
    ):  # fmt: skip
        yield Case(name=f"POST {content}", request=body(content), status=400, code=code)


def sizes() -> Iterator[Case]:
    yield Case(name="chunked", request=chunked(b'{"ip":', b'"1.2.3.4"', b"}"), body=ATLANTIS_ARRAY)
    limit = padded(BODY_LIMIT)
    yield Case(
        name="chunked exactly at the limit",
        request=chunked(limit[:10], limit[10:30000], limit[30000:]),
        body=ATLANTIS_ARRAY,
    )
    over = padded(BODY_LIMIT + 1)
    for name, sent in (
        ("one byte over the limit", body(over)),
        ("far over the limit", body(padded(1 << 20))),
        ("chunked over the limit", chunked(over)),
        ("many chunks over the limit", chunked(*[b" " * 100] * 700)),
        ("GET with a body over the limit", query("ip=1.2.3.4", "Content-Length: 65537")),
        ("not found, body over the limit", body(over, target="/x")),
        ("PUT, body over the limit", request("PUT", PATH, body=over)),
        ("healthz, body over the limit", request("GET", "/healthz", body=over)),
    ):
        yield Case(name=name, request=sent, status=413, code="body_too_large", provokes=TOO_LARGE)
    yield Case(
        name="Expect: 100-continue, refused",
        request=request("POST", PATH, "Content-Length: 99999999", "Expect: 100-continue"),
        status=413,
        code="body_too_large",
        provokes=TOO_LARGE,
        only=EDGE,
        why="gunicorn says 100 Continue before it asks the application",
    )


CHUNKED = "Transfer-Encoding: chunked"
INVALID_CHUNK = "client sent invalid chunked body"


def bodies_of_others() -> Iterator[Case]:
    """All methods except POST discard their body, but its framing must still be valid."""
    for method, length in (("GET", len(ATLANTIS_ARRAY)), ("HEAD", 0)):
        for name, sent in (
            ("a body", b"10\r\n%s\r\n0\r\n\r\n" % padded(16)),
            ("an extension and a trailer", b"10;x=y\r\n%s\r\n0\r\nX: y\r\n\r\n" % padded(16)),
            ("a body over the limit", b"10001\r\n%s\r\n0\r\n\r\n" % padded(BODY_LIMIT + 1)),
        ):
            for arguments in ("ip=1.2.3.4", "%69p=1.2.3.4"):
                yield Case(
                    name=f"{method} ?{arguments}, chunked, {name}",
                    request=query(arguments, CHUNKED, method=method) + sent,
                    body=ATLANTIS_ARRAY[:length],
                    headers={"etag": TAG},
                )
    for target in (f"{PATH}?ip=1.2.3.4", f"{PATH}?ip=x", "/x", "/healthz", "/readyz"):
        for method in ("GET", "HEAD", "PUT", "OPTIONS"):
            for sent in (b"zz\r\n", b"1\r\nx\r\nzz\r\n", b"1\r\nxyz"):
                yield Case(
                    name=f"{method} {target}, chunked, {sent!r}",
                    request=request(method, target, CHUNKED) + sent,
                    status=400,
                    code="bad_request",
                    provokes=INVALID_CHUNK,
                    proxy=target != "/readyz",
                )


def methods() -> Iterator[Case]:
    for path, allowed in (
        (PATH, "GET, HEAD, POST"),
        (f"{PATH}?ip=1.2.3.4", "GET, HEAD, POST"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ):
        # nginx refuses the last two by itself.
        others = ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "FOO", "TRACE", "CONNECT"]
        if "POST" not in allowed:
            others.append("POST")
        for method in others:
            yield Case(
                name=f"{method} {path}",
                request=request(method, path, "If-None-Match: *"),
                status=405,
                code="method_not_allowed",
                headers={"allow": allowed},
            )
    for path in ("/", "/api", "/api/", "/api/ip_query/", "/API/ip_query", "/api/ip_queryx",
                 "/api/ip_query/x", "/healthz/", "/readyz/", "/index.html",
                 "/api/ip_query;x", "/static/x", "/ipgeo-error", "/@fallback", "/api%2Fip_queryx",
                 "/%E4%B8%AD", "/%ff"):  # fmt: skip
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            yield Case(
                name=f"{method} {path}",
                request=request(method, f"{path}?ip=1.2.3.4"),
                status=404,
                code="not_found",
            )


def exceptions() -> Iterator[Case]:
    """The rows in which the two servers differ."""
    normalized = "nginx normalizes the path before it chooses the location, Flask does not"
    for path in ("/api//ip_query", "/api/./ip_query", "/x/../api/ip_query"):
        sent = request("GET", f"{path}?ip=1.2.3.4")
        yield Case(
            name=f"GET {path}",
            request=sent,
            body=ATLANTIS_ARRAY,
            only=EDGE,
            why=normalized,
        )
        yield Case(
            name=f"GET {path}",
            request=sent,
            status=404,
            code="not_found",
            only=FALLBACK,
            why=normalized,
        )
    nul = "nginx refuses a NUL in the path, to Flask it is a character like others"
    with_nul = request("GET", f"{PATH}%00?ip=1.2.3.4")
    yield Case(
        name="NUL in the path", request=with_nul, status=400, code="bad_request", only=EDGE, why=nul
    )
    yield Case(
        name="NUL in the path",
        request=with_nul,
        status=404,
        code="not_found",
        only=FALLBACK,
        why=nul,
    )
    yield from read_otherwise()


def either(
    name: str,
    sent: bytes,
    why: str,
    *,
    edge: tuple[int, str],
    fallback: tuple[int, str],
    through: bool = True,
) -> Iterator[Case]:
    """Both answers to a request: status, and the error's code or "" for Atlantis."""
    for only, (status, code) in ((EDGE, edge), (FALLBACK, fallback)):
        yield Case(
            name=name,
            request=sent,
            status=status,
            code=code,
            body=None if code else ATLANTIS_ARRAY,
            headers={} if code else {"etag": TAG},
            only=only,
            why=why,
            through=through,
            proxy=through,
        )


GOOD, BAD = (200, ""), (400, "bad_request")


def read_otherwise() -> Iterator[Case]:
    """Requests that nginx reads differently from gunicorn."""
    ascii_only = "gunicorn refuses bytes outside ASCII in the request line, as RFC 9112 has it"
    for raw in (b"1.2.3.\xb4", b"\xe4\xb8\xad"):
        yield from either(
            f"GET raw ip {raw!r}",
            query(b"ip=" + raw),
            ascii_only,
            edge=(400, "invalid_ip"),
            fallback=BAD,
            through=False,
        )
    yield from either(
        "raw byte in another argument",
        query(b"ip=1.2.3.4&x=\xff"),
        ascii_only,
        edge=GOOD,
        fallback=BAD,
        through=False,
    )
    lenient = "nginx takes what RFC 9112 does not"
    line = b"GET %s?ip=1.2.3.4 HTTP/1.1" % PATH.encode()
    end = b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    for name, sent in (
        ("line feeds alone", (line + end).replace(b"\r", b"")),
        ("two spaces", line.replace(b" ", b"  ") + end),
        ("a space at the end", line + b" " + end),
        ("a line feed before", b"\n" + line + end),
        ("two empty lines before", b"\r\n\r\n" + line + end),
        ("version 1.10", line + b"0" + end),
        ("header without a colon", query("ip=1.2.3.4", "colon")),
        ("header with a control character", query("ip=1.2.3.4", "X: \x01")),
        ("header with a bad name", query("ip=1.2.3.4", "X(Y): z")),
        ("unknown expectation", query("ip=1.2.3.4", "Expect: x")),
    ):
        yield from either(name, sent, lenient, edge=GOOD, fallback=BAD)
    many = "nginx limits headers by their bytes, gunicorn by their number too"
    yield from either(
        "101 headers",
        query("ip=1.2.3.4", *(f"X{number}: y" for number in range(101))),
        many,
        edge=GOOD,
        fallback=BAD,
        through=False,
    )
    yield from either(
        "headers too large together",
        query("ip=1.2.3.4", *(f"X{number}: {'x' * 7000}" for number in range(6))),
        many,
        edge=BAD,
        fallback=GOOD,
    )
    twice = "nginx looks for a second Content-Type where a body is read only"
    yield from either(
        "GET Content-Type twice",
        query("ip=1.2.3.4", "Content-Type: text/plain", "Content-Type: text/plain"),
        twice,
        edge=GOOD,
        fallback=BAD,
    )
    for target in ("/%", "/%zz", "/../x"):
        yield from either(
            f"GET {target}",
            request("GET", target),
            "nginx refuses a path that it cannot decode or that leaves the root",
            edge=BAD,
            fallback=(404, "not_found"),
        )
    for target in (f"http://{PATH}?ip=1.2.3.4", f"http://u@localhost{PATH}?ip=1.2.3.4"):
        yield from either(
            f"GET {target}",
            request("GET", target),
            "nginx takes no absolute form without a host, or with a user",
            edge=BAD,
            fallback=GOOD,
        )
    yield from either(
        "OPTIONS *",
        request("OPTIONS", "*"),
        "nginx knows no asterisk",
        edge=BAD,
        fallback=(404, "not_found"),
    )
    for method in ("X", "XX", "X" * 21):
        only = "gunicorn takes methods of 3 to 20 letters"
        for server, status, code in ((EDGE, 405, "method_not_allowed"), (FALLBACK, *BAD)):
            yield Case(
                name=f"method {method}",
                request=query("ip=1.2.3.4", method=method),
                status=status,
                code=code,
                only=server,
                why=only,
            )


def malformed() -> Iterator[Case]:
    """Requests that neither of them accepts as HTTP."""
    end = b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    bare = request("GET", f"{PATH}?ip=1.2.3.4")
    for name, sent, status, code in (
        ("malformed request line", b"GET" + end, *BAD),
        ("a body as the request line", b'{"ip": "123.45.67.89"}' + end, *BAD),
        ("NUL in the request line", query(b"ip=1.2.3.4\0"), *BAD),
        ("NUL in a header", query("ip=1.2.3.4", "X: \0"), *BAD),
        ("folded header", query("ip=1.2.3.4", "X: y\r\n z"), *BAD),
        ("space before a colon", query("ip=1.2.3.4", "X : y"), *BAD),
        ("header without a name", query("ip=1.2.3.4", ": y"), *BAD),
        *((f"method {method}", query("ip=1.2.3.4", method=method), *BAD)
          for method in ("get", "Get", "GET2", "A.B", "G!T", "8.8.8.8")),
        ("version 9.1", b"GET / HTTP/9.1" + end, 505, "http_version_not_supported"),
        ("version 2.0", b"GET / HTTP/2.0" + end, 505, "http_version_not_supported"),
        ("version 0.8", b"GET / HTTP/0.8" + end, *BAD),
        ("version x", b"GET / HTTP/x" + end, *BAD),
        ("no Host", bare.replace(b"Host: localhost\r\n", b""), *BAD),
        *((f"Host: {host}", bare.replace(b"localhost", host.encode()), *BAD)
          for host in ("", "a b", "a/b", "a..b")),
        ("two Hosts", query("ip=1.2.3.4", "Host: x"), *BAD),
        *((f"Content-Length: {length}", query("ip=1", f"Content-Length: {length}"), *BAD)
          for length in ("x", "-1", "+1", "", "1, 1", "9" * 23)),
        ("Content-Length twice", query("ip=1", "Content-Length: 1", "Content-Length: 1"), *BAD),
        ("both framings", query("ip=1", "Content-Length: 5", CHUNKED) + b"0\r\n\r\n", *BAD),
        ("chunked twice", query("ip=1", CHUNKED, CHUNKED) + b"0\r\n\r\n", *BAD),
        ("chunked in HTTP/1.0",
         query("ip=1", CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n", *BAD),
        *((f"Transfer-Encoding: {coding}", query("ip=1", f"Transfer-Encoding: {coding}"),
           501, "not_implemented")
          for coding in ("gzip", "identity", "x", "gzip, chunked", "")),
        ("URI too long", query("ip=1.2.3.4&" + "x" * 9000), 414, "uri_too_long"),
        ("header too large", query("ip=1.2.3.4", "X: " + "x" * 9000), *BAD),
        ("malformed chunk", request("POST", PATH, CHUNKED) + b"zz\r\n", *BAD),
    ):  # fmt: skip
        provokes = INVALID_CHUNK if name == "malformed chunk" else ""
        yield Case(name=name, request=sent, status=status, code=code, provokes=provokes)


CASES = [
    *chain(
        answers(), conditions(), arguments(), addresses(), bodies(), bad_bodies(), sizes(),
        bodies_of_others(), malformed(), methods(), exceptions(),
    )
]  # fmt: skip


def parameters(cases: Iterable[Case], *more_servers: str) -> Iterator[Any]:
    for case in cases:
        for server in (EDGE, FALLBACK, THROUGH, *more_servers):
            if holds(case, server):
                marks = [pytest.mark.provokes(case.provokes)] if case.provokes else []
                name = case.name.encode("ascii", "backslashreplace").decode()
                yield pytest.param(server, case, id=f"{server}: {name}", marks=marks)


def holds(case: Case, server: str) -> bool:
    """Whether the row is for ``server``; nginx's own refusals also apply without a blob."""
    if server == THROUGH:
        return case.only in ("", EDGE) and case.through
    if server == PROXY:
        return case.only in ("", EDGE) and case.proxy
    return case.only in ("", server)


@contextmanager
def in_front(stack: Stack, blob: Path, **settings: object) -> Iterator[Edge]:
    """Give another edge that asks the stack's fallback."""
    settings["IPGEO_UPSTREAMS"] = f"unix:{stack.fallback.address}"
    with short_tempdir() as folder, Edge(folder, blob, None, **settings) as edge:
        yield edge


def without_blob(stack: Stack) -> AbstractContextManager[Edge]:
    return in_front(stack, stack.edge.folder / "none.blob")


@pytest.fixture(scope="module")
def through(fiction: Stack) -> Iterator[Edge]:
    with without_blob(fiction) as edge:
        yield edge


@pytest.fixture(scope="module")
def proxy(fiction: Stack) -> Iterator[Edge]:
    with in_front(fiction, fiction.edge.folder / "fiction.blob", IPGEO_MODE="proxy") as edge:
        yield edge


def address_of(stack: Stack, server: str) -> Address:
    return stack.edge.address if server == EDGE else stack.fallback.address


@pytest.mark.parametrize(("server", "case"), [*parameters(CASES, PROXY)])
def test_case(fiction: Stack, through: Edge, proxy: Edge, server: str, case: Case) -> None:
    passing_on = {THROUGH: through, PROXY: proxy}
    edge = passing_on.get(server)
    check_case(edge.address if edge else address_of(fiction, server), server, case)


def check_case(address: Address, server: str, case: Case) -> None:
    reply = exchange(address, case.request)
    assert reply.status == case.status, reply
    check_headers(reply, server, case.media_type)
    if case.code:
        check_error(reply, case)
    if case.body is not None:
        assert reply.body == case.body
    for name, value in case.headers.items():
        assert reply.headers.get(name) == value
    if not case.request.lstrip().startswith((b"GET ", b"HEAD ")) or reply.status not in (200, 304):
        assert "etag" not in reply.headers


def check_headers(reply: Reply, server: str, media_type: str) -> None:
    """The headers of every answer."""
    if reply.status != 304:
        assert reply.headers["content-type"] == media_type
        assert "content-length" in reply.headers
    assert "transfer-encoding" not in reply.headers
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers.get("server", "") in ("nginx", "openresty", "gunicorn")
    if server in (EDGE, FALLBACK):  # the others refuse some requests by themselves
        by_fallback = "fallback" if server == FALLBACK else None
        assert reply.headers.get("x-ipgeo-served-by") == by_fallback
    assert ("allow" in reply.headers) == (reply.status == 405)
    assert "last-modified" not in reply.headers


def check_error(reply: Reply, case: Case) -> None:
    if case.request.startswith(b"HEAD "):
        assert reply.body == b""
        return
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert reply.body == error_body(case.code)


def error_body(code: str, limit: int | None = None) -> bytes:
    """The body of an error; ``limit`` takes the place of the default one in the message."""
    message = MESSAGES[code]
    if limit is not None:
        message = re.sub(r"limit is \d+", f"limit is {limit}", message)
    return f'{{"error":{{"code":"{code}","message":"{message}"}}}}'.encode()


@pytest.mark.provokes(TOO_LARGE)
def test_only_the_fallback_sends_continue_before_a_refusal(fiction: Stack) -> None:
    asked = request("POST", PATH, "Content-Length: 99999999", "Expect: 100-continue")
    assert exchange(fiction.edge.address, asked).status == 413
    first = exchange(fiction.fallback.address, asked)
    assert first.status == 100
    assert first.body.startswith(b"HTTP/1.1 413 ")


def test_a_request_of_http_0_9(fiction: Stack) -> None:
    """The edge answers it with the body alone."""
    for server, expected in ((EDGE, ATLANTIS_ARRAY), (FALLBACK, b"HTTP/1.1 400 ")):
        with connect(address_of(fiction, server)) as connection:
            connection.sendall(b"GET %s?ip=1.2.3.4\r\n" % PATH.encode())
            assert connection.recv(len(expected)) == expected


def test_the_table_names_no_case_twice() -> None:
    names = [(case.only, case.name) for case in CASES]
    assert sorted(set(names)) == sorted(names)


def test_an_exception_has_a_reason() -> None:
    assert all(bool(case.only) == bool(case.why) for case in CASES)


def test_messages_are_those_of_the_fallback() -> None:
    """All codes except the one for a server's own fault, which no request can cause."""
    faults = {fault for fault in vars(errors).values() if isinstance(fault, errors.Fault)}
    messages = {
        fault.code: fault.with_limits(batch_limit=1000, body_limit=BODY_LIMIT).message
        for fault in faults - {errors.INTERNAL}
    }
    assert messages == {code: MESSAGES[code] for code in messages}


def test_unavailable_is_the_same_bytes(through: Edge) -> None:
    expected = (503, error_body("unavailable"))
    edge = get(through.address, "/readyz")
    assert (edge.status, edge.body) == expected
    fallback = create_app(Settings(None)).test_client().get("/readyz")
    assert (fallback.status_code, fallback.data) == expected


@pytest.fixture(params=[EDGE, FALLBACK])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_healthz(fiction: Stack, server: str) -> None:
    reply = get(address_of(fiction, server), "/healthz")
    assert json.loads(reply.body) == {"status": "ok"}


def test_readyz(fiction: Stack, server: str) -> None:
    reply = get(address_of(fiction, server), "/readyz")
    state = json.loads(reply.body)
    age = state.pop("data_age")
    assert isinstance(age, int)
    assert 0 <= age < 3600
    expected = {
        "status": "ready",
        "build_id": BUILD_ID,
        "generation": 1,
        "runs": 5,
        "refresh": "ok",
    }
    assert state == expected
    assert [*state] == [*expected]


def test_input_is_not_echoed(fiction: Stack, server: str) -> None:
    address = address_of(fiction, server)
    replies = [
        get(address, f"{PATH}?ip=echo-me"),
        get(address, f"{PATH}?ip=1.2.3.4&format=echo-me"),
        get(address, "/echo-me"),
        post(address, PATH, b'{"ip":"echo-me"}'),
        post(address, PATH, b"echo-me"),
    ]
    assert not [reply for reply in replies if b"echo-me" in reply.body]


def test_answers_are_the_same_bytes(fiction: Stack) -> None:
    """Where both answer the same case, an answer that is not an error is the same to the byte."""
    for form in ("array", "object"):
        for ip in (ATLANTIS_IP, UTOPIA_IP):
            target = f"{PATH}?ip={ip}&format={form}"
            edge, fallback = (
                get(address_of(fiction, server), target) for server in (EDGE, FALLBACK)
            )
            assert edge.body == fallback.body
            for name in ("etag", "content-length", "content-type", "cache-control"):
                assert edge.headers[name] == fallback.headers[name]


def boundaries(blob: Blob) -> list[int]:
    """The first and the last address of every run."""
    return sorted({address for first, last, _ in blob.spans() for address in (first, last)})


def seeded_sample(blob: Blob) -> list[int]:
    """10,000 random addresses, both ends of a run of every location, 40,000 further ends."""
    chance = random.Random(2017)
    one_run = {number: (first, last) for first, last, number in blob.spans()}
    return [
        *(chance.randrange(ADDRESS_COUNT) for _ in range(10_000)),
        *(address for run in one_run.values() for address in run),
        *chance.sample(boundaries(blob), 40_000),
    ]


def check_answers(address: Address, blob: Blob, addresses: Sequence[int]) -> None:
    targets = [f"{PATH}?ip={format_ipv4(number)}" for number in addresses]
    replies = pipeline(address, targets)
    wrong = [
        (format_ipv4(number), status, body)
        for number, (status, body) in zip(addresses, replies, strict=True)
        if (status, body) != (200, blobs.expected(blob, number))
    ]
    assert not wrong[:10]


def test_all_boundaries_of_the_real_data(real: Stack, real_blob: bytes) -> None:
    """Both ends of every run, from the edge."""
    real.edge.wait_until_ready()
    blob = Blob(real_blob)
    check_answers(real.edge.address, blob, boundaries(blob))


def test_sample_of_the_real_data(real: Stack, real_blob: bytes, server: str) -> None:
    """The same addresses from both, so that they agree.

    The fallback is too slow for the ends of all runs: it is asked for 10,000 random addresses, for
    both ends of a run of every location, and for 40,000 further ends of runs (a twelfth of them),
    chosen by a seed.
    """
    blob = Blob(real_blob)
    check_answers(address_of(real, server), blob, seeded_sample(blob))


def test_both_forms_of_the_real_data(real: Stack, real_blob: bytes, server: str) -> None:
    blob = Blob(real_blob)
    numbers = seeded_sample(blob)[::40]
    texts = [format_ipv4(number) for number in numbers]
    targets = [f"{PATH}?ip={text}&format=object" for text in texts]
    replies = pipeline(address_of(real, server), targets)
    for number, text, reply in zip(numbers, texts, replies, strict=True):
        location = blob.find(number)
        assert location is not None
        members = blob.answer(location).object_tail
        assert reply == (200, f'{{"ip":"{text}",'.encode() + members)


@pytest.mark.parametrize(
    ("ip", "answer"),
    [
        ("123.12.23.45", ["中国", "CN", "河南", "410000", "商丘", "411400", "", ""]),
        ("230.1.2.3", "保留地址"),
        ("221.254.120.130", ["日本", "JP"]),
        ("0.0.0.0", ""),  # noqa: S104 - an address to look up
        ("10.0.0.1", ""),
        ("255.255.255.255", ""),
    ],
)
def test_known_addresses_of_the_real_data(
    real: Stack, server: str, ip: str, answer: str | list[str]
) -> None:
    reply = get(address_of(real, server), f"{PATH}?ip={ip}")
    assert reply.status == 200
    found = json.loads(reply.body)
    assert len(found) == 8
    if isinstance(answer, list):
        assert found[: len(answer)] == answer
    else:
        assert any(answer in name for name in found)
