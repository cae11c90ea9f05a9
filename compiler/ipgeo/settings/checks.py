"""One check for each type of setting: a text becomes a value, or SettingError is raised."""

import os
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network

from ipgeo.contract import SETTING_BY_NAME, Setting
from ipgeo.errors import SettingError
from ipgeo.settings.listens import listens
from ipgeo.settings.texts import entries_of, is_safe, shown
from ipgeo.settings.upstreams import binds, is_ipv4, is_ipv6, upstreams

Network = IPv4Network | IPv6Network
Value = int | float | str | tuple[str, ...] | tuple[Network, ...]

_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_SIZE = re.compile(r"([1-9][0-9]{0,8})([kKmMgG]?)", re.ASCII)
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30}
_SECONDS = re.compile(r"(0|[1-9][0-9]{0,4})(\.[0-9]{1,3})?", re.ASCII)
_BITS = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)


def check(name: str, text: str) -> Value:
    """Return the value that ``text`` gives the setting ``name``.

    Sizes are in bytes, paths absolute, lists tuples. SettingError names the setting and says what
    it must be, in the edge's words.
    """
    setting = SETTING_BY_NAME[name]
    return _CHECKS[setting.type](setting, text)


def _mistake(setting: Setting, meaning: str, text: str) -> SettingError:
    return SettingError(f"{setting.name} must be {meaning}, not '{shown(text)}'")


def _one_of(words: tuple[str, ...]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def integer(setting: Setting, text: str) -> int | str:
    """Return a number, or one of the words that the setting takes in its place."""
    if text in setting.values:
        return text
    if _NUMBER.fullmatch(text) and int(setting.min) <= int(text) <= int(setting.max):
        return int(text)
    meaning = f"a number from {setting.min} to {setting.max}"
    raise _mistake(setting, _one_of((*setting.values, meaning)), text)


def choice(setting: Setting, text: str) -> str:
    """Return one of the setting's words."""
    if text in setting.values:
        return text
    raise _mistake(setting, _one_of(setting.values), text)


def size_in_bytes(text: str, units: str) -> int | None:
    """Return a size such as ``65536``, ``64k`` or ``1m`` in bytes; None if it is not one."""
    match = _SIZE.fullmatch(text)
    if not match or match[2].lower() not in units:
        return None
    return int(match[1]) << _SHIFT[match[2].lower()]


def _size(units: str) -> Callable[[Setting, str], int]:
    def size(setting: Setting, text: str) -> int:
        low, high = (size_in_bytes(limit, "kmg") or 0 for limit in (setting.min, setting.max))
        bytes_ = size_in_bytes(text, units)
        if bytes_ is None or not low <= bytes_ <= high:
            raise _mistake(setting, f"a size from {setting.min} to {setting.max}", text)
        return bytes_

    return size


def seconds(setting: Setting, text: str) -> float:
    """Return a number of seconds with at most three decimals."""
    if _SECONDS.fullmatch(text) and float(setting.min) <= float(text) <= float(setting.max):
        return float(text)
    raise _mistake(setting, f"a number of seconds from {setting.min} to {setting.max}", text)


def path(setting: Setting, text: str) -> str:
    """Return an absolute path without following links."""
    absolute = re.sub("^//+", "/", os.path.abspath(text))  # noqa: PTH100 - pathlib keeps `..`
    if not is_safe(absolute):
        raise SettingError(
            f"{setting.name} holds a character that is not allowed in a path: '{shown(absolute)}'"
        )
    return absolute


def log(setting: Setting, text: str) -> str:
    """Return a path, "-" (the program's output) or "" (none)."""
    return text if text in ("", "-") else path(setting, text)


def program(setting: Setting, text: str) -> str:
    """Return a path, or a name to be found in PATH."""
    if "/" in text:
        return path(setting, text)
    if not is_safe(text):
        raise SettingError(
            f"{setting.name} holds a character that is not allowed in a path: '{shown(text)}'"
        )
    return text


def address(setting: Setting, text: str) -> str:
    """Return an IPv4 or IPv6 address, without the brackets that an IPv6 one may have."""
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if is_ipv6(bare) or (bare == text and is_ipv4(text)):
        return bare
    raise _mistake(setting, "an IPv4 or IPv6 address", text)


def networks(setting: Setting, text: str) -> tuple[Network, ...]:
    """Return the networks of a list; as in nginx, host bits are dropped."""
    return tuple(_network(setting, entry) for entry in entries_of(setting.name, text))


def _network(setting: Setting, entry: str) -> Network:
    bare, slash, bits = entry.partition("/")
    size = 32 if is_ipv4(bare) else 128 if is_ipv6(bare) else -1
    if size > 0 and (not slash or (_BITS.fullmatch(bits) and int(bits) <= size)):
        return ip_network(entry, strict=False)
    raise SettingError(
        f"{setting.name}: '{shown(entry)}' is neither an address nor a network such as 10.0.0.0/8"
    )


def _pattern(expression: re.Pattern[str], meaning: str) -> Callable[[Setting, str], str]:
    def matching(setting: Setting, text: str) -> str:
        if expression.fullmatch(text):
            return text
        raise _mistake(setting, meaning, text)

    return matching


def _prefix(setting: Setting, text: str) -> str:
    if is_ipv4(f"{text}.0"):
        return text
    raise _mistake(setting, "the first three numbers of an IPv4 network such as 172.31.57", text)


_CHECKS: dict[str, Callable[[Setting, str], Value]] = {
    "address": address,
    "binds": lambda setting, text: binds(setting.name, text),
    "choice": choice,
    "integer": integer,
    "listens": lambda setting, text: listens(setting.name, text),
    "log": log,
    "memory": _size("kmg"),
    "networks": networks,
    "path": path,
    "prefix": _prefix,
    "program": program,
    "seconds": seconds,
    "size": _size("km"),
    "tag": _pattern(_TAG, "the tag of an image"),
    "upstreams": lambda setting, text: upstreams(setting.name, text),
    "user": _pattern(_USER, "the name of a user"),
}
