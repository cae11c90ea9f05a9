"""Which of Lua's modules may require which: one direction only. import-linter holds Python's."""

import ast
import re
from pathlib import Path

import pytest

from harness import ROOT

LUA = ROOT / "lua" / "ipgeo"
FLOORS = [
    {"http"},
    {"init"},
    {"watch"},
    {"store"},
    {"memory"},
    {"answer"},
    {"blob"},
    {"file"},
    {"resolved_path"},
    {"system", "address"},
    {"address6"},
    {"contract"},
]
"""From above: a module requires those of the floors below its own, or of its own folder."""

REQUIRE = re.compile(r"""require\s*\(?\s*["']ipgeo(?:\.([\w.]+))?["']""")


def floor_of(module: str) -> int:
    room = module.split(".", maxsplit=1)[0]
    (floor,) = (number for number, rooms in enumerate(FLOORS) if room in rooms)
    return floor


def upward(module: str, text: str) -> list[str]:
    """The modules that ``module`` requires and may not."""
    room = module.split(".", maxsplit=1)[0]
    required = [name or "init" for name in REQUIRE.findall(text)]
    return [
        name
        for name in required
        if name.split(".")[0] != room and floor_of(name) <= floor_of(module)
    ]


@pytest.mark.parametrize("path", sorted(LUA.rglob("*.lua")), ids=lambda path: path.stem)
def test_a_module_of_lua_requires_downwards_only(path: Path) -> None:
    module = ".".join(path.relative_to(LUA).with_suffix("").parts)
    assert upward(module, path.read_text()) == []


def test_a_wrong_require_is_found() -> None:
    assert upward("blob.view", 'local store = require "ipgeo.store"') == ["store"]
    assert upward("system", 'require("ipgeo.address")') == ["address"]
    assert upward("store", 'require "ipgeo"') == ["init"]


RENDERER = ROOT / "nginx" / "lib"
FLOORS_OF_RENDERER = [
    {"main"},
    {"follower"},
    {"configuration", "names"},
    {"settings"},
    {"upstreams", "listens", "build"},
    {"template", "addresses", "text", "process"},
    {"posix"},
]


def test_the_renderer_requires_downwards_only() -> None:
    floors = {name: floor for floor, names in enumerate(FLOORS_OF_RENDERER) for name in names}
    assert {path.stem for path in RENDERER.glob("*.lua")} == floors.keys()
    for path in RENDERER.glob("*.lua"):
        required = re.findall(r'require "([\w.]+)"', path.read_text())
        own = [name for name in required if name not in ("ffi", "ipgeo.contract")]
        assert all(floors[name] > floors[path.stem] for name in own), path.stem


def test_the_crosscheck_imports_nothing_of_ours() -> None:
    for path in (ROOT / "crosscheck").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "."]
            assert not [name for name in names if name.split(".")[0].startswith("ipgeo")]
