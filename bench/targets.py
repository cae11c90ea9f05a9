"""What is compared: each target is a server, a load, and a check that it answers rightly."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from addresses import first_texts
from load import Load
from servers import PATH, AnyServer, Servers

from harness.client import Reply, get, post
from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import parse_ipv4

CHECKED = 200
"""How many of the load's addresses are asked for before anything is measured."""

BATCH = 1000
JSON, TEXT = "Content-Type: application/json", "Content-Type: text/plain"

Check = Callable[[AnyServer, Servers], str | None]
"""Raises RuntimeError for a wrong answer; returns why the target cannot be measured, if so."""


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the table."""

    name: str
    about: str
    server: str
    load: Load
    check: Check


def array_of(blob: Blob, text: str) -> list[Any]:
    """Return the expected array form of an address."""
    answer: list[Any] = json.loads(blob.answer(_location(blob, text)).array)
    return answer


def object_of(blob: Blob, text: str) -> dict[str, Any]:
    """Return the expected object form of an address."""
    answer: dict[str, Any] = json.loads(blob.answer(_location(blob, text)).object_form(text))
    return answer


def _location(blob: Blob, text: str) -> int:
    location = blob.find(parse_ipv4(text) or 0)
    if location is None:
        raise RuntimeError(f"the blob has no data for {text}")
    return location


def _require(*, right: bool, reply: Reply) -> None:
    if not right:
        raise RuntimeError(f"wrong answer: {reply.status} {reply.headers} {reply.body[:300]!r}")


def _answer(reply: Reply) -> Any:  # noqa: ANN401 - JSON
    _require(right=reply.status == 200, reply=reply)
    return json.loads(reply.body)


def _array(server: AnyServer, servers: Servers) -> None:
    for text in first_texts(CHECKED):
        reply = get(server.address, f"{PATH}?ip={text}")
        _require(right=_answer(reply) == array_of(servers.blob, text), reply=reply)


def _geography(server: AnyServer, servers: Servers) -> None:
    for text in first_texts(CHECKED):
        reply = get(server.address, f"{PATH}?ip={text}")
        _require(right=_answer(reply)[:6] == array_of(servers.blob, text)[:6], reply=reply)
    # Two values are missing: where they are not empty, the answer is shorter.
    _same_head(server, servers, without=("content-length",))


def _geo(server: AnyServer, servers: Servers) -> None:
    _array(server, servers)
    _same_head(server, servers)


def _object(server: AnyServer, servers: Servers) -> None:
    for text in first_texts(CHECKED):
        reply = get(server.address, f"{PATH}?ip={text}&format=object")
        _require(right=_answer(reply) == object_of(servers.blob, text), reply=reply)


def _post(server: AnyServer, servers: Servers) -> None:
    for text in first_texts(CHECKED):
        reply = post(server.address, PATH, json.dumps({"ip": text}).encode(), JSON)
        _require(right=_answer(reply) == array_of(servers.blob, text), reply=reply)


def _limit(server: AnyServer, servers: Servers) -> None:
    """The limit sends the very bytes that the edge sends for its answer of median length."""
    reply = _same_head(server, servers)
    _require(right=reply.body == servers.median.body, reply=reply)
    posted = post(server.address, PATH, b'{"ip":"1.1.1.1"}', JSON)
    _require(right=posted.status == 200 and posted.body == reply.body, reply=posted)


def _same_head(server: AnyServer, servers: Servers, without: Iterable[str] = ()) -> Reply:
    """Return the reply for the address with the median answer; its head must be the edge's."""
    reply = get(server.address, f"{PATH}?ip={servers.median_address}")
    ignored = dict.fromkeys(["date", *without], "")
    heads = [(r.status, r.headers | ignored) for r in (reply, servers.median)]
    _require(right=heads[0] == heads[1], reply=reply)
    return reply


def _batch(server: AnyServer, servers: Servers) -> str | None:
    texts = first_texts(BATCH)
    reply = post(server.address, PATH, json.dumps({"ips": texts}).encode(), JSON)
    if reply.status == 400:
        return f"this server knows no batch: {reply.body.decode()}"
    right = _answer(reply)["results"] == _arrays(servers.blob, texts)
    _require(right=right, reply=reply)
    return None


def _batch_text(server: AnyServer, servers: Servers) -> str | None:
    texts = first_texts(BATCH)
    reply = post(server.address, PATH, "\n".join(texts).encode() + b"\n", TEXT)
    if reply.status == 400:
        return f"this server knows no batch in lines: {reply.body.decode()}"
    _require(right=reply.status == 200, reply=reply)
    answers = [json.loads(line) for line in reply.body.splitlines()]
    _require(right=answers == _arrays(servers.blob, texts), reply=reply)
    return None


def _arrays(blob: Blob, texts: Iterable[str]) -> list[list[Any]]:
    return [array_of(blob, text) for text in texts]


def _batch_load(form: str) -> Load:
    return Load("batch.lua", (str(BATCH), form), connections=8, lookups=BATCH)


_GET, _OBJECT, _POST = Load("get.lua"), Load("get.lua", ("object",)), Load("post.lua")

TARGETS = {
    target.name: target
    for target in (
        Target("limit", "nginx `return 200`, the same bytes", "limit", _GET, _limit),
        Target("limit_post", "nginx `return 200`, asked by POST", "limit", _POST, _limit),
        Target("get", "ipgeo, GET, array", "ipgeo", _GET, _array),
        Target("object", "ipgeo, GET, object", "ipgeo", _OBJECT, _object),
        Target("post", "ipgeo, POST, array", "ipgeo", _POST, _post),
        Target("geoip2", "MaxMind's nginx module, 6 fields", "geoip2", _GET, _geography),
        Target("geo", "nginx's `geo` with ranges", "geo", _GET, _geo),
        Target("flask", "the fallback under gunicorn", "flask", _GET, _array),
        Target("batch", f"ipgeo, {BATCH:,} at once, JSON", "ipgeo", _batch_load("json"), _batch),
        Target(
            "batch_text",
            f"ipgeo, {BATCH:,} at once, lines",
            "ipgeo",
            _batch_load("text"),
            _batch_text,
        ),
    )
}
"""All targets, in the table's order."""
