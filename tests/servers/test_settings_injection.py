"""Hostile values of the edge's settings: each is refused, or leaves the structure as it is.

What nginx makes of a rendered configuration is read here by nginx's rules, with no code of ours.
"""

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import ROOT, luajit

BENIGN = {
    "IPGEO_BLOB": "/srv/ipgeo.blob",
    "IPGEO_VAR": "/srv/var",
    "IPGEO_BIND": "127.0.0.1",
    "IPGEO_PORT": "8080",
    "IPGEO_MODE": "edge",
    "IPGEO_WORKERS": "2",
    "IPGEO_DICT_SIZE": "64m",
    "IPGEO_REFRESH_INTERVAL": "0.5",
    "IPGEO_BATCH_LIMIT": "1000",
    "IPGEO_BODY_LIMIT": "64k",
    "IPGEO_LOG_QUERY": "off",
    "IPGEO_ACCESS_LOG": "on",
    "IPGEO_TRUSTED_PROXIES": "10.0.0.0/8,2001:db8::/32",
    "IPGEO_USER": "www-data",
    "IPGEO_NGINX": "/usr/sbin/nginx",
    "IPGEO_LUA": "/srv/lua",
    "IPGEO_UPSTREAMS": "app.example:80 weight=2, unix:/srv/a.sock backup, [::1]:80",
    "IPGEO_UPSTREAM_TIMEOUT": "3",
    "IPGEO_RESOLVE_INTERVAL": "10",
}

PAYLOADS = (
    *"\"'`\\;{}()[]<>|&$#%*?!~^=+-_@,.:/ 0",
    "\n", "\r\n", "\t", "\x01", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u200b", "\ufeff",
    "中", "é", "３", "٣", "\udcff", "\udcc3", "\udce4\udcb8", "\udced\udca0\udc80",
    "{{ settings.IPGEO_PORT }}", "}}", "{{", "% error()", "\n% error()\n", "\\n", "\\x22", "\\",
    "$host", "${host}", "$(id)", "`id`", "#", " # ", "--", "]]", "]==]", "..", "//", "/../..",
    ";", "; include /etc/passwd;", '"; include "/etc/passwd', "'; include '/etc/passwd",
    " include /etc/passwd", "}", "} server { listen 1; }", "\n} } http { server { ", "; }",
    '" } os.execute("id") --', "]==] os.exit() --", "\nload_module x.so;\n", "%s", "%c", "%(here)s",
    "on", "off", "auto", "1e3", "0x10", "1_0", "-1", "+1", "nan", "inf", "1,", ",1", "A" * 5000,
    " weight=5", " weight=5;", " down; server 1.1.1.1:1", ":80", ", 1.1.1.1:80 resolve",
)  # fmt: skip
"""The surrogates are bytes that are not UTF-8."""

NUMBERS = {
    "IPGEO_REFRESH_INTERVAL",
    "IPGEO_BATCH_LIMIT",
    "IPGEO_BODY_LIMIT",
    "IPGEO_UPSTREAM_TIMEOUT",
}
"""Whatever their text is, the template gets numbers."""

REPEATABLE = {"server", "set_real_ip_from"}
SERVER_ARGUMENT = re.compile(r"(weight|max_conns|max_fails)=\d+|fail_timeout=\d+[smh]?|backup|down")


@pytest.fixture(scope="module")
def values() -> list[tuple[str, str]]:
    chance = random.Random(1)
    return [*dict.fromkeys(pair for name in BENIGN for pair in hostile(name, chance))]


def hostile(name: str, chance: random.Random) -> Iterator[tuple[str, str]]:
    benign = BENIGN[name]
    for payload in PAYLOADS:
        middle = chance.randrange(len(benign))
        yield name, payload
        yield name, benign + payload
        yield name, payload + benign
        yield name, benign[:middle] + payload + benign[middle:]
    for _ in range(50):
        yield name, "".join(chance.choices(PAYLOADS, k=3))


def rendered(
    folder: Path,
    values: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    *options: str,
) -> list[tuple[str, str]]:
    """Return the verdict on each value, and the message or the configuration."""
    for name, value in BENIGN.items():
        monkeypatch.setenv(name, value)
    text = "".join(f"{name}\0{value}\0" for name, value in values)
    (folder / "values").write_bytes(text.encode(errors="surrogateescape"))
    template = ROOT / "nginx" / "nginx.conf.template"
    luajit.run("render.lua", template, folder / "values", folder / "results", *options)
    parts = (folder / "results").read_bytes().decode(errors="surrogateescape").split("\0")
    return list(zip(parts[::2], parts[1::2], strict=False))


# --- nginx's grammar ------------------------------------------------------------------------------

WORD = re.compile(
    r"""\s+ | \#[^\n]* | (?P<mark>[;{}])
    | (?P<quoted>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*')(?=[\s;{)])
    | (?P<plain>(?:\\.|\$\{|[^\s;{\\])+)""",
    re.VERBOSE | re.DOTALL,
)
LUA_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\b\d[\d.]*\b')


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive: how deep in blocks, its name, how many arguments (those of a block count)."""

    depth: int
    name: str
    arguments: int | str


def structure(conf: str) -> list[Directive]:
    """Return the directives, a repeatable one once where several stand in a row."""
    found: list[Directive] = []
    for directive in directives(conf):
        if not (directive.name in REPEATABLE and found and found[-1] == directive):
            found.append(directive)
    return found


def directives(conf: str) -> Iterator[Directive]:
    at, depth = 0, 0
    words: list[str] = []
    while at < len(conf):
        match = WORD.match(conf, at)
        assert match, f"nginx would not read on at {conf[at : at + 80]!r}"
        at = match.end()
        mark = match["mark"]
        if mark == "{" and words[0].endswith("_by_lua_block"):
            end = end_of_lua(conf, at)
            yield Directive(depth, words[0], LUA_STRING.sub("?", conf[at:end]))
            at, words = end + 1, []
        elif mark in (";", "{"):
            yield directive(depth, words)
            depth, words = depth + (mark == "{"), []
        elif mark == "}":
            assert words == []
            depth -= 1
        elif match["quoted"] or match["plain"]:
            words.append(match[0])
    assert (depth, words) == (0, [])


def directive(depth: int, words: list[str]) -> Directive:
    name, *arguments = words
    if name == "server" and arguments:
        assert all(map(SERVER_ARGUMENT.fullmatch, arguments[1:])), arguments
        return Directive(depth, name, "ADDRESS")
    return Directive(depth, name, len(arguments))


def end_of_lua(conf: str, at: int) -> int:
    """Return where the brace stands that closes a block of Lua."""
    depth = 1
    for match in re.compile(r'"(?:\\.|[^"\\\n])*"|--[^\n]*|[{}]').finditer(conf, at):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    raise AssertionError("a block of Lua without an end")


# --- the tests ------------------------------------------------------------------------------------


def test_the_benign_settings_are_all_of_the_edge() -> None:
    settings = json.loads((ROOT / "contract" / "settings.json").read_text())
    assert set(BENIGN) == {entry["name"] for entry in settings if "edge" in entry.get("by", ())}


def test_a_hostile_value_injects_nothing(
    folder: Path, values: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(values) >= 3_000
    expected = structures(folder, monkeypatch)
    results = rendered(folder, values, monkeypatch)
    assert len(results) == len(values)
    for (name, value), (verdict, text) in zip(values, results, strict=True):
        if verdict == "refused":
            assert text.startswith((f"{name} ", f"{name}: ")), (name, value, text)
            assert not re.search(r"[\x00-\x1f\x7f\udc80-\udcff]", text), (name, value, text)
        else:
            assert structure(text) in expected, (name, value)
    verdicts = [verdict for verdict, _ in results]
    assert verdicts.count("refused") > 2_000
    assert verdicts.count("rendered") > 200


def test_the_template_alone_would_let_nothing_in(
    folder: Path, values: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the check of a setting overlooks a value."""
    values = [(name, value) for name, value in values if name not in NUMBERS]
    expected = structures(folder, monkeypatch)
    for (name, value), (verdict, text) in zip(
        values, rendered(folder, values, monkeypatch, "unchecked"), strict=True
    ):
        if verdict == "rendered":
            assert structure(text) in expected, (name, value)


def structures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Directive]]:
    """Return the structures that the template has for the valid choices."""
    choices = [("IPGEO_PORT", "1"), ("IPGEO_LOG_QUERY", "on"), ("IPGEO_ACCESS_LOG", "off")]
    return [structure(text) for _, text in rendered(folder, choices, monkeypatch)]


@pytest.mark.parametrize(
    "change",
    [
        {"listen 127.0.0.1:8080": "listen 127.0.0.1:8080; include x"},
        {'blob = "/srv/ipgeo.blob"': 'blob = "" .. os.exit()'},
        {"default_type": "} http { default_type"},
        {'"/srv/lua/?.lua;': '"/srv/lua" "/?.lua;'},
    ],
)
def test_an_injection_would_be_noticed(
    folder: Path, change: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, conf),) = rendered(folder, [("IPGEO_PORT", "8080")], monkeypatch)
    for old, new in change.items():
        assert conf.count(old) == 1
        changed = conf.replace(old, new)
    try:
        found = structure(changed)
    except AssertionError:
        return
    assert found != structure(conf)
