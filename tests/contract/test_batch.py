"""Many addresses in one request: one table for both servers, and their agreement on any body."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness import ROOT, blobs
from harness.blobs import (
    ATLANTIS_ARRAY,
    ATLANTIS_IP,
    ATLANTIS_OBJECT,
    GAP_IP,
    UTOPIA_ARRAY,
    UTOPIA_IP,
    UTOPIA_OBJECT,
)
from harness.client import Address, Reply, connect, exchange, post, request
from harness.edge import Edge
from harness.process import environment
from harness.stack import Stack
from harness.tempdirs import short_tempdir
from ipgeo.ranges.address import IPV4, IPV6, format_ipv4, format_ipv6
from ipgeo_fallback import create_app, errors, store_of
from ipgeo_fallback.settings import Settings
from test_http import (
    BAD_ADDRESSES,
    BODY_LIMIT,
    CASES,
    EDGE,
    FALLBACK,
    PATH,
    TAG,
    THROUGH,
    TOO_LARGE,
    Case,
    address_of,
    body,
    check_case,
    chunked,
    error_body,
    parameters,
    without_blob,
)

LIMIT = 1000
NDJSON = "application/x-ndjson"
TEXT = "Content-Type: text/plain"

A, A_OBJECT = ATLANTIS_ARRAY, ATLANTIS_OBJECT
U, U_OBJECT = UTOPIA_ARRAY, UTOPIA_OBJECT
BAD, NONE = error_body("invalid_ip"), error_body("no_data")


def results(*elements: bytes) -> bytes:
    return b'{"results":[' + b",".join(elements) + b"]}"


def lines(*answers: bytes) -> bytes:
    return b"".join(answer + b"\n" for answer in answers)


def many(count: int, element: str = '"9.9.9.9"') -> str:
    return '{"ips":[' + ",".join([element] * count) + "]}"


def shown(content: str | bytes) -> str:
    text = content if isinstance(content, str) else content.decode("latin-1")
    return repr(text if len(text) < 70 else f"{text[:40]}...{text[-10:]} {len(text)}")


# JSON


def answered() -> Iterator[Case]:
    for content, elements in (
        ('{"ips":[]}', []),
        ('{"ips":[ \t\r\n]}', []),
        ('{"ips":["1.2.3.4"]}', [A]),
        ('{"ips":["1.2.3.4","9.9.9.9"]}', [A, U]),
        ('{"ips":["9.9.9.9","1.2.3.4","9.9.9.9"]}', [U, A, U]),
        ('{"ips":["1.2.3.4","5.5.5.5","x","9.9.9.9"]}', [A, NONE, BAD, U]),
        ('{"ips":["5.0.0.0","5.255.255.255","4.255.255.255"]}', [NONE, NONE, U]),
        ('{"ips":["0.0.0.0","255.255.255.255","1.2.3.255","1.2.4.0"]}', [U, U, A, U]),
        ('{"ips":["1.2.3.4"],"format":"array"}', [A]),
        ('{"ips":["1.2.3.4","x"],"format":"object"}', [A_OBJECT, BAD]),
        ('{"format":"object","ips":["9.9.9.9","5.5.5.5",1]}', [U_OBJECT, NONE, BAD]),
        (r'{"ips":["9.9.9.9","\u0031.2.3.4"],"format":"object"}', [U_OBJECT, A_OBJECT]),
        ('{"format":"object","ips":[]}', []),
        # IPv6; test_addresses.py has its texts
        ('{"ips":["::ffff:1.2.3.4","9.9.9.9","::ffff:9.9.9.9"]}', [A, U, U]),
        (r'{"ips":["::ffff:1.2.3.4","\u003a:ffff:9.9.9.9"]}', [A, U]),
        ('{"ips":["::ffff:1.2.3.4",1,["::ffff:1.2.3.4"],null]}', [A, BAD, BAD, BAD]),
        ('{"ips":["::ffff:1.2.3.4",{"::1":"::ffff:1.2.3.4"},"::1"]}', [A, BAD, NONE]),
        # White space
        (' \t\r\n{ "ips"\n:\t[ "1.2.3.4" ,\r\n"9.9.9.9"\t] } \n', [A, U]),
        ('{"ips":[\n  "1.2.3.4",\n  "9.9.9.9"\n]}', [A, U]),
        ('{"ips": ["1.2.3.4", "9.9.9.9"]}', [A, U]),
        ('{"ips":[ "1.2.3.4"\t,\tnull ]}', [A, BAD]),
        # Keys
        (r'{"ip\u0073":["1.2.3.4"]}', [A]),
        (r'{"\u0069\u0070\u0073":["1.2.3.4"],"f\u006frmat":"obj\u0065ct"}', [A_OBJECT]),
        ('{"IPS":1,"ips ":2,"Format":3,"ips":["1.2.3.4"],"x":null,"x":[]}', [A]),
        ('{"ips\\u0000":["9.9.9.9"],"ips":["1.2.3.4"]}', [A]),
        # Brackets and quotes as plain characters
        ('{"ips":["1.2.3.4]","5"]}', [BAD, BAD]),
        ('{"ips":["]"]}', [BAD]),
        ('{"ips":["]","1.2.3.4"]}', [BAD, A]),
        ('{"ips":["1","]","]"]}', [BAD, BAD, BAD]),
        ('{"ips":["","[","1.2.3.4"]}', [BAD, BAD, A]),
        (r'{"ips":["],\"ips\":[1","1.2.3.4"]}', [BAD, A]),
        ('{"ips":[",","1.2.3.4,","1.2.3.4"]}', [BAD, BAD, A]),
        # Look-alikes of the member
        (r'{"x":"\"ips\":[\"1.2.3.4\"]","ips":["1.2.3.4"]}', [A]),
        (r'{"x":"\"ips\":[","ips":["1.2.3.4"]}', [A]),
        (r'{"x\"ips":["9.9.9.9"],"ips":["1.2.3.4"]}', [A]),
        (r'{"ips":["1.2.3.4"],"x\"ips":["9.9.9.9"]}', [A]),
        ('{"x":{"ips":["9.9.9.9"]},"ips":["1.2.3.4"]}', [A]),
        ('{"x":{"ips":["9.9.9.9","9.9.9.9"]},"ips":["1.2.3.4",null]}', [A, BAD]),
        ('{"x":{"ips":[ ]},"ips":["1.2.3.4"]}', [A]),
        ('{"ips":["1.2.3.4"],"x":{"ips":["9.9.9.9"]}}', [A]),
        ('{"x":[{"ips":["9.9.9.9"]}],"ips":["1.2.3.4"]}', [A]),
        ('{"ips":[{"ips":["9.9.9.9"]},"1.2.3.4"]}', [BAD, A]),
        (r'{"ip\u0073":["1.2.3.4"],"x":{"ips":["9.9.9.9"]}}', [A]),
        (r'{"x":{"ips":["9.9.9.9"]},"ip\u0073":["1.2.3.4"]}', [A]),
        ('{"x":["ips"],"y":"ips","ips":["1.2.3.4"]}', [A]),
        # At the limits
        (many(LIMIT), [U] * LIMIT),
        (many(LIMIT, r'"\u0039.9.9.9"'), [U] * LIMIT),
        (many(LIMIT, "null"), [BAD] * LIMIT),
        (many(LIMIT, '"255.255.255.255"').replace(",", ", "), [U] * LIMIT),
        (many(LIMIT).ljust(BODY_LIMIT), [U] * LIMIT),
        ('{"ips":["1.2.3.4",%s"9.9.9.9"]}' % (" " * 65000), [A, U]),
        ('{"ips":["1.2.3.4","%s","9.9.9.9"]}' % ("1" * 65000), [A, BAD, U]),
        ('{"ips":["1.2.3.4"],"x":"%s"}' % ('\\"ips\\":[1]' * 4000), [A]),
    ):
        yield Case(name=f"POST {shown(content)}", request=body(content), body=results(*elements))


NOT_AN_ADDRESS = (
    "null", "true", "false", "0", "1", "-0", "1.2", "1e3", "16909060", "0.0e-0", "9" * 5000,
    "[]", "{}", '["1.2.3.4"]', '{"ip":"1.2.3.4"}', '{"ips":["1.2.3.4"]}', '{"1.2.3.4":"1.2.3.4"}',
    "[[[[[[]]]]]]", '{"a":[{"a":[{"a":[]}]}]}', "[1,[2,[3]],{}]",
    '""', '" "', '"]"', '"["', '"{"', '"1,2"', '"null"', '"\x7f"', '"é"', '"😀"', '"１.2.3.4"',
    r'"\ud800"', r'"1.2.3.4\u0000"', r'"\u00001.2.3.4"', r'"1.2.3.4\n"', r'"\/"', r'"\\"', r'"\""',
    r'"1.2.3.4\""', r'"\"1.2.3.4\""', r'"1\\u002e2.3.4"', r'"1.2.3.4\ud83d\ude00"',
)  # fmt: skip


def elements() -> Iterator[Case]:
    """Each between two that are answered."""
    bad = [*NOT_AN_ADDRESS, *map(json.dumps, BAD_ADDRESSES)]
    bad += [json.dumps(address, ensure_ascii=False) for address in BAD_ADDRESSES]
    good = (r'"\u0031.2.3.4"', r'"1.2.3\u002E4"', r'"\u0031\u002e\u0032\u002e\u0033\u002e\u0034"')
    for element, answer in chain(
        ((raw, BAD) for raw in dict.fromkeys(bad)), ((g, A) for g in good)
    ):
        for form, first, last in (("array", A, U), ("object", A_OBJECT, U_OBJECT)):
            if form == "object" and answer is A:
                answer = A_OBJECT  # noqa: PLW2901 - the same address in the other form
            content = f'{{"ips":["1.2.3.4",{element},"9.9.9.9"],"format":"{form}"}}'
            yield Case(
                name=f"{form}: element {shown(element)}",
                request=body(content),
                body=results(first, answer, last),
            )


def not_batches() -> Iterator[Case]:
    """Bodies that look like a batch at first, but are not."""
    for content in (
        '{"x":{"ips":["9.9.9.9"]},"ip":"1.2.3.4"}',
        '{"ip":"1.2.3.4","x":[{"ips":["9.9.9.9"]}]}',
        r'{"x\"ips":["9.9.9.9"],"ip":"1.2.3.4"}',
        r'{"x":"\"ips\":[\"9.9.9.9\"]","ip":"1.2.3.4"}',
        '{"IPS":["9.9.9.9"],"ip":"1.2.3.4"}',
    ):
        yield Case(name=f"POST {content}", request=body(content), body=A)
    for content in ('{"x":{"ips":["9.9.9.9"]}}', r'{"x\"ips":["9.9.9.9"]}', '{"Ips":[]}'):
        yield Case(name=f"POST {content}", request=body(content), status=400, code="missing_ip")
    for method in ("GET", "HEAD"):
        yield Case(
            name=f"{method} ?ips=",
            request=request(method, f"{PATH}?ips=1.2.3.4&ips=9.9.9.9"),
            status=400,
            code="missing_ip",
        )


BAD_ARRAYS = (
    '["1.2.3.4",]', '[,"1.2.3.4"]', "[,]", "[,,]", '["1.2.3.4" "9.9.9.9"]', '["1.2.3.4""9.9.9.9"]',
    '["1.2.3.4",,"9.9.9.9"]', '["1.2.3.4"\n"9.9.9.9"]', "[1.2.3.4]", "[1.2.3.4,5.6.7.8]",
    "[1.]",
    "[.]", "[.5]", "[01]", "[1 2]", '["1"2]', '[1"2"]', '["1.2.3.4]', '["1.2.3.4"', '["', "[",
    '["1',
    '["1.2.3.4\n"]', '["\n1.2.3.4"]', '["1.2.\n3.4"]', '["\r"]', '["1.2.3.4\t"]', '["\x00"]',
    '["1.2.3.4\x00"]', '["1.2.3.4\x1f"]', '["1.2.3.4"\x00]', '["1.2.3.4"\f]', '["1.2.3.4"\v]',
    '["1.2.3.4"\u00a0]', '["1.2.3.4"}', '["1.2.3.4"]]', "['1.2.3.4']", '[1,"1.2.3.4",]', "[null,]",
    "[nul]", "[[[[[[[[]]]]]]]]", r'["\u12"]', r'["1.2.3.4\x"]', '["1.2.3.4"/**/]', "]", "", "[)",
    '["1.2.3.4",null,]', '["1.2.3.4";"9.9.9.9"]', '["1.2.3.4":"9.9.9.9"]', '["]]', '["]","]',
)  # fmt: skip


def invalid() -> Iterator[Case]:
    """Invalid JSON is reported before any problem of the members."""
    around = (
        '{"ips":%s}',
        '{"ips":%s,"format":"xml"}',
        '{"ips":%s,"ip":"1.2.3.4"}',
        '{"ips":%s,"ips":["1.2.3.4"]}',
        '{"ips":["1.2.3.4"],"ips":%s}',
        '{"x":{"ips":%s},"ip":"1.2.3.4"}',
        '{"x":{"ips":%s},"ips":["1.2.3.4"]}',
        '{"ips":["1.2.3.4"],"x":{"ips":%s}}',
        r'{"x\"ips":%s,"ip":"1.2.3.4"}',
        '{"format":1,"format":2,"ips":%s}',
    )
    bodies: list[str | bytes] = [frame % array for array in BAD_ARRAYS for frame in around]
    bodies += [
        '{"ips":["1.2.3.4"],}', '{"ips":["1.2.3.4"]}x', '{"ips":["1.2.3.4"]}}',
        '{"ips"["1.2.3.4"]}',
        '["ips",["1.2.3.4"]]', '{"ips":["1.2.3.4"] "x":1}', '\ufeff{"ips":["1.2.3.4"]}',
        '{ips:["1.2.3.4"]}', '{"ips":["1.2.3.4"]}\0', '"ips":["1.2.3.4"]', '["1.2.3.4"]',
        b'{"ips":["1.2.3.4\xff"]}', b'{"ips":["1.2.3.4","\xed\xa0\x80"]}',
        b'{"ips":["1.2.3.4"]}\x80',
        b'{"ips":["1.2.3.4"]\x80}', '{"ips":["1.2.3.4"]}'.encode("utf-16"),
        many(LIMIT + 1)[:-2] + ",]}", many(LIMIT + 1)[:-1], many(LIMIT + 1, "01"),
        '{"ips":' + "[" * 60000, '{"ips":["' + '","' * 20000, '{"ips":["1.2.3.4"' + "," * 60000,
        '{"ips":[],' * 6000, '{"x":"' + r"\"ips\":[" * 7000,
    ]  # fmt: skip
    for number, content in enumerate(bodies):
        yield Case(
            name=f"bad batch {number}: {shown(content)}",
            request=body(content),
            status=400,
            code="invalid_json",
        )


def refused() -> Iterator[Case]:
    over = many(LIMIT + 1)
    for content, code in (
        *((f'{{"ips":{value}}}', "invalid_ips")
          for value in ("null", "1", "1.2", "true", "false", "{}", '""', '"1.2.3.4"', '"[]"',
                        '{"ips":["1.2.3.4"]}', r'"\ud800"', '"at"', '{"at":0}')),
        ('{"ips":null,"format":"object"}', "invalid_ips"),
        ('{"ip":"1.2.3.4","ips":["1.2.3.4"]}', "ip_and_ips"),
        ('{"ips":["1.2.3.4"],"ip":"1.2.3.4"}', "ip_and_ips"),
        ('{"ips":[],"ip":null}', "ip_and_ips"),
        ('{"ips":["1.2.3.4"],"ip":["1.2.3.4"]}', "ip_and_ips"),
        *((f'{{"ips":["1.2.3.4"],"format":{value}}}', "invalid_format")
          for value in ("null", "1", "true", "[]", "{}", '""', '"xml"', '"Array"', '["object"]',
                        r'"object\u0000"', r'"\ud800"')),
        ('{"ips":["1.2.3.4"],"ips":["1.2.3.4"]}', "repeated_argument"),
        ('{"ips":[],"ips":[]}', "repeated_argument"),
        (r'{"ips":["1.2.3.4"],"ip\u0073":["1.2.3.4"]}', "repeated_argument"),
        (r'{"\u0069ps":["1.2.3.4"],"ips":["1.2.3.4"]}', "repeated_argument"),
        ('{"ips":null,"ips":["1.2.3.4"]}', "repeated_argument"),
        ('{"ips":["1.2.3.4"],"ips":null}', "repeated_argument"),
        ('{"ips":["1.2.3.4",null],"ips":["1.2.3.4"]}', "repeated_argument"),
        ('{"ips":["1.2.3.4"],"ip":"1.2.3.4","ip":"1.2.3.4"}', "repeated_argument"),
        ('{"ips":["1.2.3.4"],"format":"array","format":"array"}', "repeated_argument"),
        (over, "too_many_ips"),
        (many(LIMIT + 1, r'"\u0039.9.9.9"'), "too_many_ips"),
        (many(LIMIT + 1, "null"), "too_many_ips"),
        (many(LIMIT + 1, "1"), "too_many_ips"),
        (many(LIMIT + 1, '""'), "too_many_ips"),
        (many(20000, '""'), "too_many_ips"),
        (many(32000, "1"), "too_many_ips"),
        (over[:-1] + ',"x":1}', "too_many_ips"),
        # The order of the checks:
        ('{"ips":1,"ips":2,"format":3,"ip":4}', "repeated_argument"),
        ('{"format":"xml","ips":null,"ip":1}', "invalid_format"),
        ('{"format":"xml","ips":["1.2.3.4"],"ip":1}', "invalid_format"),
        (over[:-1] + ',"format":"xml"}', "invalid_format"),
        ('{"ips":null,"ip":1}', "ip_and_ips"),
        (over[:-1] + ',"ip":"1.2.3.4"}', "ip_and_ips"),
        (over[:-1] + ',"ips":null}', "repeated_argument"),
    ):  # fmt: skip
        yield Case(name=f"POST {shown(content)}", request=body(content), status=400, code=code)


def around() -> Iterator[Case]:
    """A batch, for any headers and any query."""
    content = '{"ips":["1.2.3.4","9.9.9.9"]}'
    for condition in (f"If-None-Match: {TAG}", "If-None-Match: *", 'If-Match: "x"',
                      "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", "Range: bytes=0-3",
                      "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT"):  # fmt: skip
        named = condition.replace(TAG, "ID")
        yield Case(
            name=f"batch ignores {named}", request=body(content, condition), body=results(A, U)
        )
        yield Case(
            name=f"lines ignore {named}",
            request=body("1.2.3.4\n", TEXT, condition),
            body=lines(A),
            media_type=NDJSON,
        )
    for target in ("?format=object", "?format=xml&format=xml", "?1&2&3&4&5&6&7&8&9", "?ips=1"):
        yield Case(
            name=f"batch ignores {target}",
            request=body(content, target=PATH + target),
            body=results(A, U),
        )
    yield Case(
        name="chunked batch", request=chunked(b'{"ips":["1.2', b'.3.4"', b"]}"), body=results(A)
    )
    for name, sent in (
        ("batch over the body's limit", body(many(LIMIT).ljust(BODY_LIMIT + 1))),
        ("lines over the body's limit", body("1.2.3.4\n".ljust(BODY_LIMIT + 1), TEXT)),
    ):
        yield Case(name=name, request=sent, status=413, code="body_too_large", provokes=TOO_LARGE)


# Lines


def text_lines() -> Iterator[Case]:
    for content, answers in (
        ("1.2.3.4", [A]),
        ("1.2.3.4\n", [A]),
        ("1.2.3.4\r\n", [A]),
        ("1.2.3.4\n9.9.9.9", [A, U]),
        ("1.2.3.4\r\n9.9.9.9\n1.2.3.4\r\n", [A, U, A]),
        ("1.2.3.4\nx\n5.5.5.5\n9.9.9.9\n", [A, BAD, NONE, U]),
        ("\n", [BAD]),
        ("\r\n", [BAD]),
        ("\n\n", [BAD, BAD]),
        ("\n1.2.3.4", [BAD, A]),
        ("1.2.3.4\n\n9.9.9.9\n\n", [A, BAD, U, BAD]),
        ("1.2.3.4\r\n\r\n9.9.9.9", [A, BAD, U]),
        # A carriage return that is not part of a line's end
        ("1.2.3.4\r", [BAD]),
        ("\r", [BAD]),
        ("1.2.3.4\r\r\n9.9.9.9", [BAD, U]),
        ("\r1.2.3.4\n", [BAD]),
        ("1.2.3.4\r9.9.9.9\n", [BAD]),
        ("1.2.3.4\n\r", [A, BAD]),
        (" 1.2.3.4\n1.2.3.4 \n1.2.3.4\t\n", [BAD, BAD, BAD]),
        ("1.2.3.4 9.9.9.9\n1.2.3.4,9.9.9.9\n1.2.3.4#x\n", [BAD, BAD, BAD]),
        ('"1.2.3.4"\n', [BAD]),
        ('{"ip":"1.2.3.4"}', [BAD]),
        ('{"ips":["1.2.3.4"]}\n', [BAD]),
        ("\ufeff1.2.3.4\n1.2.3.4\n", [BAD, A]),
        ("1.2.3.4\u20289.9.9.9\n", [BAD]),
        (b"1.2.3.4\x0b9.9.9.9\x0c\n1.2.3.4\x85\n1.2.3.4\x1c1\n", [BAD, BAD, BAD]),
        (b"\0\n1.2.3.4\0\n1.2.3.4\n\0", [BAD, BAD, A, BAD]),
        (b"\xff\n\x80\n1.2.3.\xb4\n1.2.3.4", [BAD, BAD, BAD, A]),
        ("1.2.3.4\n9.9.9.9\n".encode("utf-16-le"), [BAD, BAD, BAD]),
        ("%31.2.3.4\n1.2.3.4+\n", [BAD, BAD]),
        ("1.2.3.4\n" + "1" * 65000 + "\n9.9.9.9", [A, BAD, U]),
        ("9" * BODY_LIMIT, [BAD]),
        ("9.9.9.9\n" * LIMIT, [U] * LIMIT),
        ("9.9.9.9\r\n" * (LIMIT - 1) + "1.2.3.4", [U] * (LIMIT - 1) + [A]),
        ("\n" * LIMIT, [BAD] * LIMIT),
        ("9.9.9.9\n" * (LIMIT - 1) + " " * (BODY_LIMIT - 8 * (LIMIT - 1)), [U] * 999 + [BAD]),
    ):
        yield Case(
            name=f"lines {shown(content)}",
            request=body(content, TEXT),
            body=lines(*answers),
            media_type=NDJSON,
        )
    for address in BAD_ADDRESSES:
        if "\n" in address:
            continue
        yield Case(
            name=f"line {shown(address)}",
            request=body(f"1.2.3.4\n{address}\r\n9.9.9.9", TEXT),
            body=lines(A, BAD, U),
            media_type=NDJSON,
        )
    for name, sent in (
        ("no body, no length", request("POST", PATH, TEXT)),
        ("empty", request("POST", PATH, TEXT, "Content-Length: 0")),
        (
            "empty, chunked",
            request("POST", PATH, TEXT, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        ),
        ("empty, object", request("POST", f"{PATH}?format=object", TEXT)),
    ):
        yield Case(
            name=f"lines, {name}",
            request=sent,
            body=b"",
            media_type=NDJSON,
            headers={"content-length": "0"},
        )
    for number, content in enumerate(
        (
            "9.9.9.9\n" * LIMIT + "1.2.3.4",
            "9.9.9.9\n" * (LIMIT + 1),
            "\n" * (LIMIT + 1),
            "\r\n" * (LIMIT + 1),
            "\n" * BODY_LIMIT,
        )
    ):
        yield Case(
            name=f"too many lines {number}",
            request=body(content, TEXT),
            status=400,
            code="too_many_ips",
        )


def text_arguments() -> Iterator[Case]:
    content = "1.2.3.4\r\nx\n5.5.5.5\n9.9.9.9"
    arrays, objects = lines(A, BAD, NONE, U), lines(A_OBJECT, BAD, NONE, U_OBJECT)
    for arguments, expected in (
        ("", arrays),
        ("?", arrays),
        ("?format=array", arrays),
        ("?format=object", objects),
        ("?%66ormat=obj%65ct", objects),
        ("?ip=x&format=object", objects),
        ("?ips=x&ips=y&Format=xml", arrays),
        ("?2&3&4&5&6&7&8&format=object", objects),
    ):
        yield Case(
            name=f"lines {arguments}",
            request=body(content, TEXT, target=PATH + arguments),
            body=expected,
            media_type=NDJSON,
        )
    for arguments, code in (
        ("?format=xml", "invalid_format"),
        ("?format", "invalid_format"),
        ("?format=", "invalid_format"),
        ("?format=object+", "invalid_format"),
        ("?format=%ff", "invalid_format"),
        ("?format=array&format=array", "repeated_argument"),
        ("?format=xml&%66ormat", "repeated_argument"),
        ("?ip=1&ip=2", "repeated_argument"),
        ("?format=object&2&3&4&5&6&7&8&9", "too_many_arguments"),
        ("?format&format&3&4&5&6&7&8&9", "too_many_arguments"),
    ):
        for number, sent in enumerate((content, "", "\n" * (LIMIT + 1))):
            yield Case(
                name=f"lines {number} {arguments}",
                request=body(sent, TEXT, target=PATH + arguments),
                status=400,
                code=code,
            )


def media_types() -> Iterator[Case]:
    for media_type in ("text/plain", "TEXT/Plain", "text/plain;charset=utf-8", "text/plain;",
                       "text/plain; charset=UTF-16", "text/plain ;x", "  text/plain\t",
                       "\ttext/plain",
                       "text/plain x", 'text/plain; x="application/json"'):  # fmt: skip
        for header in ("Content-Type", "content-type"):
            yield Case(
                name=f"text: {header}: {media_type!r}",
                request=body("1.2.3.4", f"{header}: {media_type}"),
                body=lines(A),
                media_type=NDJSON,
            )
    for media_type in ("", "text/plainx", "text/html", "xtext/plain", "text /plain", "text/plai",
                       "application/json; x=text/plain", "text",
                       ";text/plain", "application/x-ndjson", '"text/plain"', "text/plain\xa0",
                       "text/plain\x85;x"):  # fmt: skip
        for content, status, code, expected in (
            ("1.2.3.4", 400, "invalid_json", None),
            ('{"ips":["1.2.3.4"]}', 200, "", results(A)),
        ):
            yield Case(
                name=f"not text: {media_type!r} {status}",
                request=body(content, f"Content-Type: {media_type}"),
                status=status,
                code=code,
                body=expected,
            )


BATCH_CASES = [
    *chain(
        answered(), elements(), not_batches(), invalid(), refused(), around(), text_lines(),
        text_arguments(), media_types(),
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def through(fiction: Stack) -> Iterator[Edge]:
    with without_blob(fiction) as edge:
        yield edge


@pytest.mark.parametrize(("server", "case"), [*parameters(BATCH_CASES)])
def test_case(fiction: Stack, through: Edge, server: str, case: Case) -> None:
    check_case(through.address if server == THROUGH else address_of(fiction, server), server, case)


def test_the_table_names_no_case_twice() -> None:
    names = [(case.only, case.name) for case in BATCH_CASES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.provokes(TOO_LARGE, "client sent invalid chunked body")
def test_every_error_is_the_same_bytes(fiction: Stack) -> None:
    """Ten rows of each code that a request can cause, for both servers, to the byte."""
    by_code: dict[str, list[Case]] = {}
    for case in [*CASES, *BATCH_CASES]:
        if case.code and not case.only:
            by_code.setdefault(case.code, []).append(case)
    faults = {fault.code for fault in vars(errors).values() if isinstance(fault, errors.Fault)}
    assert set(by_code) == faults - {"internal", "unavailable"}
    for case in chain.from_iterable(cases[:10] for cases in by_code.values()):
        edge, fallback = (
            exchange(address_of(fiction, server), case.request) for server in (EDGE, FALLBACK)
        )
        assert (edge.status, edge.body) == (fallback.status, fallback.body)


# One view for all answers


def test_a_batch_takes_the_blob_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = tmp_path / "test.blob"
    blob.write_bytes(blobs.fictional())
    app = create_app(Settings(blob))
    store = store_of(app)
    current = Mock(return_value=store.current())
    monkeypatch.setattr(store, "current", current)
    client = app.test_client()
    assert client.post(PATH, data=many(100)).status_code == 200
    assert current.call_count == 1
    assert client.post(PATH, data="9.9.9.9\n" * 100, content_type="text/plain").status_code == 200
    assert current.call_count == 2


# The limits are settings


@pytest.fixture(params=[EDGE, FALLBACK])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def stack_with(**given: object) -> Stack:
    """Return a stack over the fictional blob, in a folder that goes when it ends."""
    return _Temporary(given)


class _Temporary(Stack):
    def __init__(self, given: dict[str, object]) -> None:
        self._folder = ExitStack()
        folder = self._folder.enter_context(short_tempdir())
        blob = folder / "fiction.blob"
        blob.write_bytes(blobs.fictional(gap=True))
        super().__init__(folder, blob, **given)

    def __exit__(self, *reason: Any) -> None:  # noqa: PYI036 - handed on as they are
        with self._folder:
            super().__exit__(*reason)


@pytest.fixture(scope="module")
def small() -> Iterator[Stack]:
    with stack_with(IPGEO_BATCH_LIMIT=3) as stack:
        yield stack


@pytest.fixture(scope="module")
def large() -> Iterator[Stack]:
    with stack_with(IPGEO_BATCH_LIMIT=100_000) as stack:
        yield stack


@pytest.fixture(scope="module")
def bounded() -> Iterator[Stack]:
    with stack_with(IPGEO_BATCH_LIMIT=1000, IPGEO_BODY_LIMIT="1k") as stack:
        yield stack


def check(reply: Reply, status: int, content: bytes) -> None:
    # Not in the assertion: pytest takes long to explain a difference between megabytes.
    same = reply.body == content
    assert (reply.status, same) == (status, True), reply.body[:200]


def test_a_small_batch_limit(small: Stack, server: str) -> None:
    address = address_of(small, server)
    over = 400, error_body("too_many_ips", 3)
    check(post(address, PATH, many(3).encode()), 200, results(U, U, U))
    check(post(address, PATH, many(4).encode()), *over)
    check(post(address, PATH, many(4, "null").encode()), *over)
    for line in (b"9.9.9.9\n", b"9.9.9.9\r\n"):
        check(post(address, PATH, line * 3, TEXT), 200, lines(U, U, U))
        check(post(address, PATH, line * 4, TEXT), *over)
    check(post(address, PATH, b"9.9.9.9\n" * 3 + b"x", TEXT), *over)
    check(post(address, PATH, many(3).encode().ljust(BODY_LIMIT)), 200, results(U, U, U))


def test_the_body_limit_fits_the_largest_batch(large: Stack, server: str) -> None:
    address, count = address_of(large, server), 100_000
    longest = f"{'0000:' * 5}ffff:255.255.255.255"
    content = many(count, f'"{longest}"').encode()
    assert len(content) > 4_800_000
    crlf = f"{longest}\r\n".encode() * count
    over = 400, error_body("too_many_ips", count)
    # `post` closes its side when the answer begins: nginx would then cut a long answer short.
    with closing(Kept(address)) as kept:
        for sent, headers, expected in (
            (content, (), (200, results(*[U] * count))),
            (crlf, (TEXT,), (200, lines(*[U] * count))),
            (crlf + b"x", (TEXT,), over),
            (many(count + 1).encode(), (), over),
            (many(1).encode().ljust(4_801_024), (), (200, results(U))),
        ):
            check(kept.ask(request("POST", PATH, *headers, body=sent, close=False)), *expected)


@pytest.mark.provokes(TOO_LARGE)
def test_the_default_body_limit_ends(large: Stack, server: str) -> None:
    reply = post(address_of(large, server), PATH, many(1).encode().ljust(4_801_025))
    check(reply, 413, error_body("body_too_large", 4_801_024))


@pytest.mark.provokes(TOO_LARGE)
def test_a_body_limit_that_is_set_bounds(bounded: Stack, server: str) -> None:
    address = address_of(bounded, server)
    check(post(address, PATH, many(50).encode().ljust(1024)), 200, results(*[U] * 50))
    check(
        post(address, PATH, many(50).encode().ljust(1025)), 413, error_body("body_too_large", 1024)
    )


@pytest.mark.parametrize("limit", ["0", "-1", "100001", "1k", " 1", "1.5", "01", "x", "a[$(id)]"])
def test_a_batch_limit_that_is_not_valid(folder: Path, limit: str) -> None:
    done = render(folder, IPGEO_BATCH_LIMIT=limit)
    assert done.returncode == 1
    assert "IPGEO_BATCH_LIMIT must be a number from 1 to 100000" in done.stderr


@pytest.mark.parametrize(
    ("given", "batch", "size"),
    [
        ({}, "1000", "65536"),
        ({"IPGEO_BATCH_LIMIT": "", "IPGEO_BODY_LIMIT": ""}, "1000", "65536"),
        ({"IPGEO_BATCH_LIMIT": "1344"}, "1344", "65536"),
        ({"IPGEO_BATCH_LIMIT": "1345"}, "1345", "65584"),
        ({"IPGEO_BATCH_LIMIT": "100000"}, "100000", "4801024"),
        ({"IPGEO_BATCH_LIMIT": "100000", "IPGEO_BODY_LIMIT": "2k"}, "100000", "2048"),
    ],
)
def test_what_is_rendered(folder: Path, given: dict[str, str], batch: str, size: str) -> None:
    done = render(folder, **given)
    assert done.returncode == 0, done.stderr
    written = (folder / "nginx" / "nginx.conf").read_text()
    assert f'require("ipgeo.http.router").set_batch_limit({batch})\n' in written
    assert f"client_max_body_size {size};\n" in written
    assert f"client_body_buffer_size {size};\n" in written


def render(folder: Path, **given: str) -> "subprocess.CompletedProcess[str]":
    variables = environment({"IPGEO_VAR": folder, **given})
    program = ROOT / "nginx" / "render"
    return subprocess.run([program], env=variables, capture_output=True, text=True, check=False)


# Any body


class Pair:
    """A kept connection to each server; both get the same requests."""

    def __init__(self, stack: Stack) -> None:
        self._kept = [Kept(address_of(stack, server)) for server in (EDGE, FALLBACK)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for kept in self._kept:
            kept.close()

    def ask(self, sent: bytes) -> list[Reply]:
        """Return the edge's reply and the fallback's."""
        return [kept.ask(sent) for kept in self._kept]


class Kept:
    """A connection that is opened when it is needed and kept while the server keeps it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: socket.socket | None = None

    def ask(self, sent: bytes) -> Reply:
        """Send a request and read its reply by the length that it states."""
        if self._connection is None:
            self._connection = connect(self._address)
        self._connection.sendall(sent)
        with self._connection.makefile("rb") as reader:
            reply = read_reply(reader)
        if reply.headers.get("connection") == "close":
            self.close()
        return reply

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def read_reply(reader: BinaryIO) -> Reply:
    status = int(reader.readline().split(b" ", 2)[1])
    headers = {}
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return Reply(status, headers, reader.read(int(headers["content-length"])))


@pytest.fixture(scope="module")
def pair(dual: Stack) -> Iterator[Pair]:
    with Pair(dual) as pair:
        yield pair


def agree(pair: Pair, content: bytes, *headers: str, target: str = PATH) -> Reply:
    """Ask both, which must answer the same bytes; the edge must not have asked the fallback."""
    length = "Content-Length: 0" if not content else ""
    sent = request(
        "POST", target, *headers, *([length] if length else []), body=content, close=False
    )
    edge, fallback = pair.ask(sent)
    assert "x-ipgeo-served-by" not in edge.headers, "the Lua handler has failed"
    assert (edge.status, edge.body) == (fallback.status, fallback.body)
    for name in ("content-type", "cache-control", "etag"):
        assert edge.headers.get(name) == fallback.headers.get(name)
    return edge


space = st.sampled_from(["", "", "", "", " ", "\n", "\t ", "\r\n"])
address = st.one_of(
    st.sampled_from([ATLANTIS_IP, UTOPIA_IP, GAP_IP, "::ffff:1.2.3.4", "64:FF9B::909:909"]),
    st.sampled_from(["2001:db8::1", "2001:DB8:0:1:0::1", "::", "2001:db8::1%lo", "[::1]"]),
    st.integers(0, IPV4.last).map(format_ipv4),
    st.integers(0, IPV6.last).map(format_ipv6),
)
odd_text = st.one_of(
    address.map(lambda text: text.replace(".", r"\u002e", 1).replace(":", r"\u003A", 1)),
    st.sampled_from(["", "1", "]", "[", ",", "1.2.3", "01.2.3.4", r"\"ips\":[", r"\ud800", "é"]),
    st.text(alphabet='0123456789af.,[]{}: "', max_size=8).map(
        lambda text: text.replace('"', r"\"")
    ),
)
plain = address.map(lambda text: f'"{text}"')
string = plain | odd_text.map(lambda text: f'"{text}"')
scalar = st.sampled_from(["null", "true", "0", "1", "-1.5e3", "1.2", "[]", "{}", "[[]]"])


def array_of(element: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    between = st.sampled_from([",", ",", ", ", ",\n ", " ,"])
    return st.tuples(space, between, st.lists(element, max_size=4), space).map(
        lambda drawn: f"[{drawn[0]}{drawn[1].join(drawn[2])}{drawn[3]}]"
    )


array = array_of(plain) | array_of(string) | array_of(string | scalar | array_of(plain))
key = st.sampled_from(
    ["ips", "ips", "ips", "ip", "format", "x", r"ip\u0073", r"x\"ips", "ipS", "", r"\"ips\":["]
)
form = st.sampled_from(['"array"', '"object"', '"object"', '"object"', '"xml"', "null"])
IPS = ("ips", r"ip\u0073")


@st.composite
def object_of(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """An object, mostly with each key once, in which `ips` and `format` are mostly good."""
    once = draw(st.integers(0, 5)) > 0
    members = []
    for name in draw(st.lists(key, max_size=4, unique=once)):
        usual = form if name == "format" else array if name in IPS else inner | array | string
        content = draw(usual if draw(st.integers(0, 7)) else string | scalar | inner)
        spaces = [draw(space) for _ in range(4)]
        members.append(f'{spaces[0]}"{name}"{spaces[1]}:{spaces[2]}{content}{spaces[3]}')
    return "{" + ",".join(members) + "}"


json_body = object_of(object_of(object_of(array)))
TOKENS = [
    *'{}[],:"\\ \n\t\r\0.1', "null", '"ips":', '"ips":[', '"ip":"1.2.3.4"', '"1.2.3.4"', '","',
    '"],"', "],", '"ips":["9.9.9.9"],', '\\"', "\\u0000", ',"format":"object"', "\x7f", "é",
    "\ufeff",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, whole: st.SearchStrategy[str]) -> bytes:
    """A mostly valid body, with a few random mistakes."""
    text = draw(whole)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.sampled_from([0, 0, 1, 1, 2, 8]))
        new = draw(st.sampled_from(["", *TOKENS]) | st.just(text[at : at + 12] * 2))
        text = text[:at] + new + text[at + gone :]
    return text.encode()


any_order = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(any_order, max_examples=500)
@given(content=mutated(json_body))
@example(content=b'{"x":{"ips":["9.9.9.9"]},"ips":["1.2.3.4"]}')
@example(content=b'{"x":{"ips":[1 2]},"ip":"1.2.3.4"}')
@example(content=b'{"ips":["]"]}')
def test_any_json_body_is_answered_alike(pair: Pair, content: bytes) -> None:
    reply = agree(pair, content)
    assert reply.status in (200, 400, 501)
    json.loads(reply.body)


line = st.one_of(address, address, odd_text, st.text(alphabet="0123456789af.:\r\n \0é", max_size=9))
text_body = st.lists(
    st.tuples(line, st.sampled_from(["\n", "\n", "\n", "\r\n", "\r\n", "\r", ""])), max_size=6
).map(lambda drawn: "".join(content + end for content, end in drawn))


@settings(any_order, max_examples=200)
@given(content=mutated(text_body), target=st.sampled_from(["", "?format=object"]))
def test_any_text_is_answered_alike(pair: Pair, content: bytes, target: str) -> None:
    reply = agree(pair, content, TEXT, target=PATH + target)
    assert reply.status == 200
    answers = reply.body.split(b"\n")[:-1]
    assert len(answers) == content.count(b"\n") + (content[-1:] not in (b"", b"\n"))
    assert all(isinstance(json.loads(answer), (list, dict)) for answer in answers)
