"""Test programs in Lua, run by plain luajit with the project's own modules."""

import os
import subprocess
from pathlib import Path
from typing import Any

from harness import ROOT

PROGRAMS = ROOT / "tests" / "lua"


def start(program: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Start a program of tests/lua; what it prints goes to a pipe."""
    modules = ("lua/?.lua", "lua/?/init.lua", "nginx/lib/?.lua", "tests/lua/?.lua")
    folders = [ROOT / module for module in modules]
    path = ";".join(map(str, folders)) + ";;"
    return subprocess.Popen(
        ["luajit", str(PROGRAMS / program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LUA_PATH": path},
        **options,
    )


def run(program: str, *arguments: object) -> list[str]:
    """Run a program to its end; return what it printed, cut at tabs. It must succeed."""
    return fed(program, "", *arguments).rstrip("\n").split("\t")


def fed(program: str, text: str, *arguments: object) -> str:
    """Run a program to its end with ``text`` for its input; return what it printed."""
    process = start(program, *arguments, stdin=subprocess.PIPE)
    out, err = process.communicate(text, timeout=1200)
    assert process.returncode == 0, f"{program}: status {process.returncode}: {err}"
    return str(out)


def sparse(path: Path, length: int) -> Path:
    """Make a file of zeros for processes to share."""
    with path.open("wb") as file:
        file.truncate(length)
    return path
