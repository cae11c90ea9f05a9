"""The texts of addresses: one table for every way to ask, with one expected answer each.

A text is asked of edge and fallback, of an edge that has no blob, and of one in proxy mode, there
by GET, by POST and in both kinds of batches; and of the Lua module and of `ipgeo-compile lookup`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import blobs
from harness.client import Address, get, pipeline, post
from harness.compiler import compiler
from harness.edge import Edge, application
from harness.parts import InParts, in_parts
from harness.stack import Stack
from harness.tempdirs import short_tempdir
from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import EMBEDDING, IPV4, IPV6, Family, format_address, format_ipv6
from test_http import EDGE, FALLBACK, PATH, PROXY, THROUGH, address_of, error_body, in_front

ATLANTIS, UTOPIA = "Atlantis", "Utopia"
NO_DATA, INVALID = "no_data", "invalid_ip"
FORMS = "array", "object"

STATUSES = {NO_DATA: 501, INVALID: 400}
"""Of one address; a batch and an answer have 200."""

TEXT = "Content-Type: text/plain"
TAG = f'"{Blob(blobs.dual()).build_id}"'
DOCUMENTATION = 0x2001_0DB8 << 96
"""2001:db8::, for which the blob has data."""


class Row(NamedTuple):
    """A text, what answers it, and its canonical form, if it is an address."""

    text: str
    answer: str
    canonical: str = ""


def addresses() -> Iterator[Row]:
    """Yield texts of addresses: RFC 4291 and dotted decimal in, RFC 5952 out."""
    for text, answer, canonical in (
        ("1.2.3.4", ATLANTIS, "1.2.3.4"),
        ("5.5.5.5", NO_DATA, "5.5.5.5"),
        # Forms of one address
        ("2001:db8::1", ATLANTIS, "2001:db8::1"),
        ("2001:DB8::1", ATLANTIS, "2001:db8::1"),
        ("2001:0db8::0001", ATLANTIS, "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", ATLANTIS, "2001:db8::1"),
        ("2001:0DB8:0000:0000:0000:0000:0000:0001", ATLANTIS, "2001:db8::1"),
        ("2001:db8:0:0::1", ATLANTIS, "2001:db8::1"),
        ("2001:db8::0.0.0.1", ATLANTIS, "2001:db8::1"),
        # Which groups of zero are left out
        ("2001:db8:0:0:1:0:0:1", ATLANTIS, "2001:db8::1:0:0:1"),
        ("2001:db8::1:0:0:0", ATLANTIS, "2001:db8:0:0:1::"),
        ("2001:db8:0:1:1:1:1:1", UTOPIA, "2001:db8:0:1:1:1:1:1"),
        ("2001:db8::1:1:1:1:1", UTOPIA, "2001:db8:0:1:1:1:1:1"),
        ("2001:db8:1::", UTOPIA, "2001:db8:1::"),
        # The longest texts
        ("2001:0db8:0000:0000:0000:0000:255.255.255.255", ATLANTIS, "2001:db8::ffff:ffff"),
        (
            "2001:0db8:ffff:ffff:ffff:ffff:255.255.255.254",
            UTOPIA,
            "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe",
        ),
        # Ends of runs
        ("2001:db8::", ATLANTIS, "2001:db8::"),
        ("2001:db8::ffff:ffff:ffff:ffff", ATLANTIS, "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:db8:0:1::", UTOPIA, "2001:db8:0:1::"),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", NO_DATA, ""),
        ("2001:db9::", NO_DATA, ""),
        ("::", NO_DATA, ""),
        ("::1", NO_DATA, ""),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NO_DATA, ""),
        ("fe80::1", NO_DATA, ""),
        # Mapped: the IPv4 address inside answers.
        ("::ffff:1.2.3.4", ATLANTIS, "::ffff:1.2.3.4"),
        ("::FFFF:1.2.3.4", ATLANTIS, "::ffff:1.2.3.4"),
        ("::ffff:102:304", ATLANTIS, "::ffff:1.2.3.4"),
        ("0:0:0:0:0:ffff:0102:0304", ATLANTIS, "::ffff:1.2.3.4"),
        ("0000:0000:0000:0000:0000:ffff:255.255.255.255", UTOPIA, "::ffff:255.255.255.255"),
        ("::ffff:0:0", UTOPIA, "::ffff:0.0.0.0"),
        ("::ffff:5.5.5.5", NO_DATA, ""),
        # NAT64: the same, but written as any other.
        ("64:ff9b::1.2.3.4", ATLANTIS, "64:ff9b::102:304"),
        ("64:FF9B::102:304", ATLANTIS, "64:ff9b::102:304"),
        ("64:ff9b::", UTOPIA, "64:ff9b::"),
        ("64:ff9b::5.5.5.5", NO_DATA, ""),
        # Others that contain an IPv4 address, which is none of theirs: its own runs answer.
        ("2002:102:304::1", UTOPIA, "2002:102:304::1"),
        ("2002:102:305::1", NO_DATA, ""),
        ("2001::102:304", NO_DATA, ""),
        ("::1.2.3.4", NO_DATA, ""),
        ("::102:304", NO_DATA, ""),
        ("::ffff:0:1.2.3.4", NO_DATA, ""),
        ("64:ff9b:1::1.2.3.4", NO_DATA, ""),
        ("64:ff9b::1:1.2.3.4", NO_DATA, ""),
    ):
        yield Row(text, answer, canonical)


NOT_ADDRESSES = (
    # A zone
    "fe80::1%eth0", "fe80::1%1", "fe80::1%25eth0", "2001:db8::1%", "::ffff:1.2.3.4%lo",
    # Brackets, ports, prefixes
    "[2001:db8::1]", "[2001:db8::1", "2001:db8::1]", "[2001:db8::1]:80", "[1.2.3.4]",
    "1.2.3.4:80", "2001:db8:0:0:0:0:0:1:80", "2001:db8::1.80", "2001:db8::/32", "::1/128",
    "64:ff9b::/96",
    # Groups
    "", ":", ":::", "1", "1:", ":1", "::1:", ":1::", "1::2::3", "::1::", "2001:db8",
    "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
    "1:2:3:4::5:6:7:8:9", "2001:db8:::1", "2001:db8::00001", "2001:0db80::1", "12345::",
    "::10000",
    # Digits
    "2001:db8::g", "2001:db8::0x1", "::-1", "2001:db8::1h", "O::1",
    "20010db8000000000000000000000001",
    # A dotted end
    "::1.2.3", "::1.2.3.4.5", "::1.2.3.256", "::ffff:010.0.0.1", "::ffff:1.2.3.04", "1.2.3.4::",
    "::1.2.3.4:1", "1:2:3:4:5:6:7:1.2.3.4", "::.1.2.3", "::1.2.3.4.", "::ffff:1.2.3.0x4",
    # Too long
    "0" * 46, "2001:0db8:0000:0000:0000:0000:0255.255.255.255", "::" + "0" * 44,
    "0000:" * 9 + "1", "2001:db8::" + "1" * 1000, "1:" * 500,
    # Space and control characters
    " ::1", "::1 ", "2001:db8::1\t", "2001:db8 ::1", "2001:db8::1\r", "\r2001:db8::1",
    "2001:db8::1\v", "2001:db8::1\x7f",
    # NUL
    "2001:db8::1\0", "\x002001:db8::1", "2001:db8\0::1", "2001:db8::1\0x", "1.2.3.4\0", "::\0",
    # Other alphabets
    "2001：db8：：1", "２００１:db8::1", "2001:db8::１", "2001:db8::é", "::1\u200b",
    # Other notations
    "2001-db8--1.ipv6-literal.net", "ipv6:2001:db8::1", "0x20010db8",
    "42540766411282592856903984951653826561",
    "2001:db8::1,2001:db8::2", '"2001:db8::1"', "2001:db8::1\\", "2001:db8::1&", "2001:db8::1#",
)  # fmt: skip

ROWS = [*addresses(), *(Row(text, INVALID) for text in NOT_ADDRESSES)]

IN_A_QUERY = [
    # The colons as libraries that make URLs write them
    Row("2001%3Adb8%3A%3A1", ATLANTIS, "2001:db8::1"),
    Row("2001%3adb8%3a%3a1", ATLANTIS, "2001:db8::1"),
    Row("2001:db8%3A:1", ATLANTIS, "2001:db8::1"),
    Row("%3A%3Affff%3A1.2.3.4", ATLANTIS, "::ffff:1.2.3.4"),
    Row("1%3A2%3A3%3A4%3A5%3A6%3A7%3A%3A", NO_DATA),
    # Any character may be written so
    Row("%32%30%30%31:db8::%31", ATLANTIS, "2001:db8::1"),
    Row("::ffff:1%2E2%2e3.4", ATLANTIS, "::ffff:1.2.3.4"),
    # But only once, and only as two digits
    Row("2001%253Adb8%253A%253A1", INVALID),
    Row("2001%3db8%3A%3A1", INVALID),
    Row("2001%3", INVALID),
    Row("2001%3Adb8%3A%3A1%", INVALID),
    Row("2001%3Adb8%3A%3A1%0", INVALID),
    Row("2001%3Gdb8::1", INVALID),
    Row("2001%3Bdb8::1", INVALID),
    Row("2001%xAdb8::1", INVALID),
    Row("2001:db8::1%00", INVALID),
    Row("fe80%3A%3A1%25eth0", INVALID),
    Row("%5B%3A%3A1%5D", INVALID),
    Row("2001:db8::1+", INVALID),
    Row("2001;db8", INVALID),
]
"""The text is the argument as it is sent: a query string alone has percent-encoding."""

_ARRAYS = {ATLANTIS: blobs.ATLANTIS_ARRAY, UTOPIA: blobs.UTOPIA_ARRAY}
_OBJECTS = {ATLANTIS: blobs.ATLANTIS_OBJECT, UTOPIA: blobs.UTOPIA_OBJECT}


def expected(row: Row, form: str) -> bytes:
    """The answer to a row, or its error."""
    if row.answer in STATUSES:
        return error_body(row.answer)
    if form == "array":
        return _ARRAYS[row.answer]
    _, _, members = _OBJECTS[row.answer].partition(b",")
    return f'{{"ip":"{row.canonical}",'.encode() + members


# How a text is asked

Ask = Callable[[Address, Sequence[str], str], list[tuple[int, bytes]]]
"""Asks a server for texts in a form; returns the status and the body, or the element, of each."""


def by_get(write: Callable[[str], str]) -> Ask:
    def ask(address: Address, texts: Sequence[str], form: str) -> list[tuple[int, bytes]]:
        suffix = "&format=object" if form == "object" else ""
        return [*pipeline(address, [f"{PATH}?ip={write(text)}{suffix}" for text in texts])]

    return ask


def encoded(text: str) -> str:
    """Every byte as an escape."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def json_escaped(text: str) -> str:
    """A JSON string with every character as an escape."""
    return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'


def by_post(write: Callable[[str], str]) -> Ask:
    def ask(address: Address, texts: Sequence[str], form: str) -> list[tuple[int, bytes]]:
        member = ',"format":"object"' if form == "object" else ""
        bodies = (f'{{"ip": {write(text)}{member}}}'.encode() for text in texts)
        return [(reply.status, reply.body) for reply in (post(address, PATH, b) for b in bodies)]

    return ask


def by_batch(write: Callable[[str], str]) -> Ask:
    def ask(address: Address, texts: Sequence[str], form: str) -> list[tuple[int, bytes]]:
        content = f'{{"ips":[{",".join(map(write, texts))}],"format":"{form}"}}'
        reply = post(address, PATH, content.encode())
        head, tail = b'{"results":[', b"]}"
        assert reply.body.startswith(head), reply.body[:200]
        assert reply.body.endswith(tail), reply.body[-200:]
        return [(reply.status, e) for e in elements(reply.body[len(head) : -len(tail)].decode())]

    return ask


def elements(text: str) -> Iterator[bytes]:
    """Yield the bytes of the values of a JSON array, without its brackets."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        _, end = decoder.raw_decode(text, at)
        yield text[at:end].encode()
        at = end + len(",")


def by_lines(end: str) -> Ask:
    def ask(address: Address, texts: Sequence[str], form: str) -> list[tuple[int, bytes]]:
        content = end.join(texts).encode()
        reply = post(address, f"{PATH}?format={form}", content, TEXT)
        return [(reply.status, line) for line in reply.body.splitlines()]

    return ask


def plain_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


SINGLE: Mapping[str, Ask] = {
    "GET, plain": by_get(str),
    "GET, as libraries encode it": by_get(lambda text: quote(text, safe="")),
    "GET, lower case escapes": by_get(lambda text: quote(text, safe="").replace("%3A", "%3a")),
    "GET, all encoded": by_get(encoded),
    "POST": by_post(plain_json),
    "POST, escaped": by_post(json_escaped),
}
BATCHES: Mapping[str, Ask] = {
    "batch": by_batch(plain_json),
    "batch, escaped": by_batch(json_escaped),
    "lines": by_lines("\n"),
    "lines, CRLF": by_lines("\r\n"),
}
WAYS = {**SINGLE, **BATCHES}


def applies(way: str, text: str) -> bool:
    """Whether the text can be sent that way as it is."""
    if way == "GET, plain":
        return text.isascii() and text.isprintable() and not set(text) & set('%&#+ "\\')
    return not (way == "lines" and text.endswith("\r"))  # which would be a part of the line's end


# The servers


@pytest.fixture(scope="module")
def servers(dual: Stack) -> Iterator[Mapping[str, Address]]:
    """The address of each kind of server."""
    own = {name: address_of(dual, name) for name in (EDGE, FALLBACK)}
    with (
        in_front(dual, dual.edge.folder / "none.blob") as through,
        in_front(dual, dual.edge.folder / "dual.blob", IPGEO_MODE="proxy") as proxy,
    ):
        yield own | {THROUGH: through.address, PROXY: proxy.address}


def differences(
    rows: Sequence[Row], form: str, found: Iterable[tuple[int, bytes]], *, single: bool
) -> list[tuple[str, object]]:
    """The texts that are not answered as their rows say, with what came instead."""
    wrong: list[tuple[str, object]] = []
    for row, reply in zip(rows, found, strict=True):
        status = STATUSES.get(row.answer, 200) if single else 200
        if reply != (status, expected(row, form)):
            wrong.append((row.text[:60], reply))
    return wrong


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server", [EDGE, FALLBACK, THROUGH, PROXY])
def test_texts(servers: Mapping[str, Address], server: str, way: str, form: str) -> None:
    rows = [row for row in ROWS if applies(way, row.text)]
    found = WAYS[way](servers[server], [row.text for row in rows], form)
    assert differences(rows, form, found, single=way in SINGLE) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("server", [EDGE, FALLBACK, THROUGH, PROXY])
def test_escapes_in_a_query(servers: Mapping[str, Address], server: str, form: str) -> None:
    found = by_get(str)(servers[server], [row.text for row in IN_A_QUERY], form)
    assert differences(IN_A_QUERY, form, found, single=True) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", "\0", " "])
@pytest.mark.parametrize("server", [EDGE, FALLBACK])
def test_the_end_of_the_last_line(dual: Stack, server: str, end: str, form: str) -> None:
    address = address_of(dual, server)
    for text in ("1.2.3.4", "2001:db8::1", "::ffff:1.2.3.4"):
        row = Row(text, ATLANTIS if end in ("", "\n", "\r\n") else INVALID, text)
        reply = post(address, f"{PATH}?format={form}", (text + end).encode(), TEXT)
        assert reply.body == expected(row, form) + b"\n"


# Caching


@pytest.mark.parametrize("form", ["", "&format=object", "&x"])
@pytest.mark.parametrize("text", ["2001:db8::1", "2001%3Adb8%3A%3A1", "::ffff:1.2.3.4"])
@pytest.mark.parametrize("server", [EDGE, FALLBACK, THROUGH, PROXY])
def test_an_etag(servers: Mapping[str, Address], server: str, text: str, form: str) -> None:
    address, target = servers[server], f"{PATH}?ip={text}{form}"
    reply = get(address, target)
    assert (reply.status, reply.headers["etag"]) == (200, TAG)
    assert reply.headers["cache-control"] == "no-cache"
    reply = get(address, target, f"If-None-Match: {TAG}")
    assert (reply.status, reply.headers["etag"], reply.body) == (304, TAG, b"")
    content = json.dumps({"ip": unquote(text)}).encode()
    assert "etag" not in post(address, PATH, content, f"If-None-Match: {TAG}").headers


# Any address, in any spelling


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """An address in a query: not shortened, in upper case, dotted, with escapes, with a mistake."""
    number = draw(st.integers(0, IPV6.last) | st.sampled_from([*EMBEDDING, DOCUMENTATION]))
    text = draw(st.sampled_from([format_ipv6(number), IPv6Address(number).exploded]))
    text = draw(st.sampled_from([text, text, text.upper()]))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(":0gG.%[ ")) + text[at + draw(st.integers(0, 2)) :]
    escaped = draw(st.sampled_from(["", ":", ":", ":.0123456789abcdefABCDEF"]))
    return "".join(f"%{ord(c):02X}" if c in escaped or c in " [" else c for c in text)


@settings(max_examples=200)
@given(text=spelled(), suffix=st.sampled_from(["", "&format=object"]))
def test_any_spelling_is_answered_alike(dual: Stack, text: str, suffix: str) -> None:
    edge, fallback = (
        get(address_of(dual, server), f"{PATH}?ip={text}{suffix}") for server in (EDGE, FALLBACK)
    )
    assert "x-ipgeo-served-by" not in edge.headers, "the Lua handler has failed"
    assert (edge.status, edge.body) == (fallback.status, fallback.body)
    assert edge.headers.get("etag") == fallback.headers.get("etag")


# Many runs, whose answers are in parts


@pytest.fixture(scope="module")
def large() -> Iterator[tuple[Stack, InParts]]:
    made = in_parts(rows=300, runs4=200, runs6=200)
    with short_tempdir() as folder:
        blob = folder / "large.blob"
        blob.write_bytes(made.data)
        with Stack(folder, blob) as stack:
            yield stack, made


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["GET, as libraries encode it", "lines"])
@pytest.mark.parametrize("server", [EDGE, FALLBACK])
def test_both_ends_of_each_run(
    large: tuple[Stack, InParts], server: str, way: str, form: str
) -> None:
    stack, made = large
    texts, answers = [], []
    for family, runs in ((IPV4, made.v4), (IPV6, made.v6)):
        for first, last, _ in runs:
            for number in (first, last):
                text = format_address(family, number)
                texts.append(text)
                answers.append(answer_in_parts(made, family, number, text, form))
    found = WAYS[way](address_of(stack, server), texts, form)
    bodies = [body for _, body in found]
    assert [
        (text, body)
        for text, body, answer in zip(texts, bodies, answers, strict=True)
        if body != answer
    ] == []


def answer_in_parts(made: InParts, family: Family, number: int, text: str, form: str) -> bytes:
    row = made.row(family, number)
    if row is None:
        return error_body(NO_DATA)
    answer = made.answer(row)
    return answer.array if form == "array" else answer.object_form(text)


# The Lua module

MODULE_HTTP = """
    lua_shared_dict ipgeo_blob_2 16m;
    init_by_lua_block { require("ipgeo").setup{ blob = "{{ settings.IPGEO_BLOB }}" } }
    init_worker_by_lua_block { require("ipgeo").init_worker() }
"""
MODULE_SERVER = """
        location = /healthz { return 200; }
        location = /api/ip_query {
            content_by_lua_block {
                local arguments = ngx.req.get_uri_args()
                local answer, code = require("ipgeo").lookup(arguments.ip, arguments.format)
                local text = answer or code
                ngx.header.content_length = #text
                ngx.print(text)
            }
        }
"""


@pytest.fixture(scope="module")
def module() -> Iterator[Edge]:
    """Another application, which uses the module."""
    with short_tempdir() as folder:
        blob = folder / "dual.blob"
        blob.write_bytes(blobs.dual())
        with Edge(folder, blob, application(MODULE_HTTP, MODULE_SERVER)) as edge:
            yield edge


@pytest.mark.parametrize("form", FORMS)
def test_the_module(module: Edge, form: str) -> None:
    found = by_get(encoded)(module.address, [row.text for row in ROWS], form)
    wrong = [
        (row.text[:60], reply)
        for row, reply in zip(ROWS, found, strict=True)
        if reply != (200, row.answer.encode() if row.answer in STATUSES else expected(row, form))
    ]
    assert wrong == []


# The command


@pytest.mark.parametrize("form", FORMS)
def test_the_command(tmp_path: Path, form: str) -> None:
    """No argument of a program has a NUL."""
    blob = tmp_path / "dual.blob"
    blob.write_bytes(blobs.dual())
    rows = [row for row in ROWS if "\0" not in row.text]
    done = compiler("lookup", "--format", form, blob, *(row.text for row in rows))
    assert done.status == 1
    printed = dict(line.split("\t") for line in done.out.splitlines())
    answered = [row for row in rows if row.answer in (ATLANTIS, UTOPIA)]
    assert {row.canonical: printed.get(row.canonical) for row in answered} == {
        row.canonical: expected(row, form).decode() for row in answered
    }
    without_data = [line for line in done.out.splitlines() if line.endswith("\tnull")]
    assert len(without_data) == sum(row.answer == NO_DATA for row in rows)
    assert done.err.splitlines() == [
        f"input {number}: {row.text!r} is not an IP address"
        for number, row in enumerate(rows, start=1)
        if row.answer == INVALID
    ]


def test_the_table_names_no_text_twice() -> None:
    for rows in (ROWS, IN_A_QUERY):
        texts = [row.text for row in rows]
        assert sorted(set(texts)) == sorted(texts)
