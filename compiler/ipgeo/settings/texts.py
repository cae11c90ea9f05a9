"""Shared by the checks of all types: bad values in messages, and lists."""

import os
import re

from ipgeo.errors import SettingError

_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f\udc80-\udcff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSAFE = re.compile(r"""[]['"`\\$;{}*?<>%\x00-\x1f\x7f]""")
"""What nginx, Lua or (%) supervisor would take for syntax or for a pattern, even inside quotes."""


def shown(text: str) -> str:
    r"""Return ``text`` for a message: control characters and what is not UTF-8 become ``\xNN``."""
    utf8 = os.fsencode(text).decode("utf-8", "surrogateescape")
    return _NOT_SHOWN.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", utf8)


def is_safe(path: str) -> bool:
    """Whether a path may stand in a configuration."""
    return not _UNSAFE.search(path)


def entries_of(name: str, text: str) -> list[str]:
    """Return the entries of a list with commas, without the blanks around them; "" has none."""
    if _CONTROL.search(text):
        raise SettingError(f"{name} holds a control character")
    entries = [entry.strip(" ") for entry in text.split(",")] if text else []
    if "" in entries:
        raise SettingError(f"{name} has an empty entry: '{shown(text)}'")
    return entries
