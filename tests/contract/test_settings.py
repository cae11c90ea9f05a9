"""Every setting of the contract, checked by both sides: the same verdicts, values and words."""

import os
import subprocess
from ipaddress import IPv4Network, IPv6Network

import pytest

from harness import ROOT
from ipgeo.contract import SETTINGS, Setting
from ipgeo.errors import SettingError
from ipgeo.settings.checks import check

DRIVER = ROOT / "tests" / "lua" / "settings.lua"
LUA_PATH = f"{ROOT}/nginx/lib/?.lua;{ROOT}/lua/?.lua"

SYNTAX = (
    "\n",
    "\x01a",
    "a\x7f",
    "'",
    '"',
    "a;b",
    "$x",
    "{}",
    "`id`",
    "[",
    "a*",
    "<a>",
    "50%",
    "a\\b",
)
"""Characters that nginx, Lua, a shell or supervisor could take for syntax."""
FOREIGN = ("٣", "服务", "\udcff", "\udce6\udc9c")
"""Not ASCII, and not even UTF-8."""

GOOD = {
    "address": ("127.0.0.1", "::", "[::1]", "2001:db8::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8"),
    "binds": ("", "unix:/a", "unix:/a b", "0.0.0.0:1,unix:/x", "[::1]:65535 , a_b-c.example.:80"),
    "listens": (
        *("127.0.0.1", "::1", "[::1]", "[::]", "0.0.0.0,[::]", "::, 0.0.0.0", "1.2.3.4:5"),
        *("127.0.0.1:8080 [::1]:8080", "  127.0.0.1 ,  ::1  ::2:80 ", "::ffff:1.2.3.4"),
        *("1.2.3.4:1 1.2.3.4:2 1.2.3.4", "1.2.3.4 ::ffff:1.2.3.4", "[1:2:3:4:5:6:7::]:65535"),
    ),
    "log": ("-", "", "/var/log/a.log", "a.log", "../a", "/a b", *FOREIGN),
    "memory": ("6m", "512m", "1g", "1024G", "6144k", "536870912"),
    "networks": ("", "10.0.0.0/8", "10.1.0.0/16", "::1", "2001:db8::/32", " 1.2.3.4 , ::/0 "),
    "path": ("/a", "a", "./a/../b", "//a//b/", "/a b", "..", "/../..", *FOREIGN),
    "prefix": ("172.31.57", "0.0.0", "255.255.255", "10.0.1"),
    "program": ("nginx", "/usr/sbin/nginx", "./nginx", "a b", *FOREIGN),
    "seconds": ("0.5", "0.10", "10.125", "1.0"),
    "tag": ("latest", "1.0", "_a", "A-b_c.d", "x" * 128),
    "upstreams": (
        "",
        "unix:/a 1 weight=5",
        "127.0.0.1:8000 max_fails=0 fail_timeout=10s, [::1]:80 backup",
        "a.example:80 down  max_conns=99999 weight=99999 fail_timeout=99999s",
        f"unix:/{'x' * 106}",
    ),
    "user": ("www-data", "root", "_a", "0", "a.b"),
}
BAD = {
    "address": (
        *("localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.0.0.1", ":::", "[127.0.0.1]"),
        *("1:2:3:4:5:6:7:8::", "::1%eth0", "12345::", "[::1", "1.2.3.4 ", "1:2:3:4:5:6:7", ""),
        *("1::2::3", "::1.2.3", "::256.0.0.1", ":1", "1:", "1.2.3.4:5"),
    ),
    "binds": (
        *(
            "unix:a",
            "unix:",
            "a",
            "a:0",
            "a:65536",
            "a:01",
            ":80",
            "::1:80",
            "http://a:80",
            "a:80,",
        ),
        *(",", "a:80,a:80", f"unix:/{'x' * 107}", "1.2.3:80", "-a:80", "a..b:80", "a:80 weight=1"),
        *("[::1:80", "[]:80", f"{'x' * 64}:80", "unix:/a;b"),
    ),
    "choice": ("ON", "on ", "1x", "edge,proxy", "true", "yes", "no", "2", "-", "both", ""),
    "integer": (
        *("-1", "0", "+1", "01", " 1", "1 ", "1.0", "1e3", "0x10", "999999999", "9999999999", ""),
        *("Auto", "one", "1k", "1,000"),
    ),
    "listens": (
        *("", " ", ",", "127.0.0.1,", "127.0.0.1,,::1", "localhost", "localhost:80", "1.2.3"),
        *("01.2.3.4", "1.2.3.4:0", "1.2.3.4:01", "1.2.3.4:65536", "1.2.3.4:", ":80", "*:80"),
        *("[127.0.0.1]", "[127.0.0.1]:80", "[::1", "::1]", "[::1]:", "[::1]80", "::1:99999"),
        *("fe80::1%eth0", "[fe80::1%eth0]:80", "unix:/a", "1.2.3.4;1.2.3.5", "1.2.3.4:80:80"),
        *("127.0.0.1 127.0.0.1", "::1 [::1]", "::1,[0:0::0:1]", "::ABCD,::abcd", "[]", "[]:80"),
        *("1.2.3.4:80,::1,1.2.3.4:80", "[::1]:80 [0::1]:80", "1.2.3.4\u00a0::1", "[[::1]]"),
    ),
    "log": (),
    "memory": ("5m", "1025g", "1t", "512MB", "0", "1.5g", "-1g", " 1g", "g", ""),
    "networks": (
        *("10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/", "::/129", "x", "1.2.3.4,,::1", ",", " "),
        *("10.0.0.0/8/8", "10.0.0.0/255.0.0.0", "::1%1", "1.2.3.4/-1", "010.0.0.1", "/8"),
    ),
    "path": (),
    "prefix": ("172.31", "172.31.57.0", "172.31.256", "172.31.057", "a.b.c", "172.31.57.", ""),
    "program": (),
    "seconds": (
        *("0", "0.0", "0.000", "0.0001", "100000", "99999.5", "1s", "-1", "+1", "1.", ".5", "01"),
        *("1e3", "nan", "inf", " 1", ""),
    ),
    "size": ("0", "01k", "1t", "1g", "1kb", "1 k", "-1k", "1.5m", "999999999m", "k", "1K1", ""),
    "tag": ("-a", ".a", "a b", "a/b", "a:b", "x" * 129, ""),
    "upstreams": (
        *(
            "a:80 weight=0",
            "a:80 weight=1 weight=2",
            "a:80 slow_start=1",
            "a:80 backup=1",
            "unix:a",
        ),
        *("a", "a:80,a:80 backup", ",", "a:80 resolve", "a:80 fail_timeout=1h2", "a:99999", ":1"),
        *(
            "unix:/a\tb",
            "a:80 weight=1;",
            "a:80 max_fails=100000",
            "a:80 weight=",
            "a:80 fail_timeout=100000",
            "a:80;",
            "a:80 }",
            "1.2.3.4",
        ),
    ),
    "user": ("-a", ".a", "a b", "a:b", "a/b", ""),
}
TAKES_FOREIGN = {"log", "path", "program"}


def good_values(setting: Setting) -> tuple[str, ...]:
    limits = tuple(limit for limit in (setting.min, setting.max) if limit)
    return (*GOOD.get(setting.type, ()), *setting.values, *limits)


def bad_values(setting: Setting) -> tuple[str, ...]:
    foreign = () if setting.type in TAKES_FOREIGN else FOREIGN
    return (*BAD[setting.type], *SYNTAX, *foreign)


CASES = [
    (setting.name, text, verdict)
    for setting in SETTINGS
    for verdict, texts in ((True, good_values(setting)), (False, bad_values(setting)))
    for text in texts
]


def in_hex(text: str) -> str:
    return os.fsencode(text).hex()


def by_python(name: str, text: str) -> tuple[str, str]:
    """The verdict, and the value or the message; both sides format values alike."""
    try:
        value = check(name, text)
    except SettingError as error:
        return "bad", str(error)
    return "good", as_text(value)


def as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(as_text, value))
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value).removesuffix(f"/{value.max_prefixlen}")
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3f}"
    return str(int(value)) if isinstance(value, float) else str(value)


@pytest.fixture(scope="module")
def by_lua() -> dict[tuple[str, str], tuple[str, str]]:
    """The edge's verdicts on all cases, from one run of LuaJIT."""
    lines = "".join(f"{name} {in_hex(text)}\n" for name, text, _ in CASES)
    done = subprocess.run(
        ["luajit", DRIVER],
        env=os.environ | {"LUA_PATH": LUA_PATH},
        input=lines,
        capture_output=True,
        check=True,
        text=True,
    )
    answers = []
    for line in done.stdout.splitlines():
        verdict, _, digits = line.partition(" ")
        answers.append((verdict, bytes.fromhex(digits).decode("utf-8", "surrogateescape")))
    keys = [(name, text) for name, text, _ in CASES]
    return dict(zip(keys, answers, strict=True))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_both_sides_check_alike(
    setting: Setting, by_lua: dict[tuple[str, str], tuple[str, str]]
) -> None:
    cases = [(text, verdict) for name, text, verdict in CASES if name == setting.name]
    assert len(cases) >= 20
    for text, verdict in cases:
        python = by_python(setting.name, text)
        assert python[0] == ("good" if verdict else "bad"), text
        assert by_lua[setting.name, text] == python, text
