"""Where servers listen and are reached: IPGEO_FALLBACK_BIND and IPGEO_UPSTREAMS."""

import os
import re
from collections.abc import Callable
from ipaddress import IPv6Address

from ipgeo.contract import MAX_SOCKET_PATH
from ipgeo.errors import SettingError
from ipgeo.settings.texts import entries_of, is_safe, shown

_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}", re.ASCII)
_PORT = re.compile(r"(.*):([1-9][0-9]{0,4})", re.ASCII)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?", re.ASCII)
_NUMBERS = re.compile(r"[0-9.]*", re.ASCII)
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+", re.ASCII)

# A last word that looks like an argument is one: a socket's path may also hold spaces.
_LAST_ARGUMENT = re.compile(r"(.*[^ ]) +([A-Za-z_]+(?:=[^ ]*)?)", re.ASCII | re.DOTALL)
_ARGUMENTS = {
    "weight": re.compile(r"weight=[1-9][0-9]{0,4}", re.ASCII),
    "max_conns": re.compile(r"max_conns=[0-9]{1,5}", re.ASCII),
    "max_fails": re.compile(r"max_fails=[0-9]{1,5}", re.ASCII),
    "fail_timeout": re.compile(r"fail_timeout=[0-9]{1,5}[smh]?", re.ASCII),
    "backup": re.compile("backup"),
    "down": re.compile("down"),
}


def is_ipv4(text: str) -> bool:
    """Whether it is strict dotted decimal, without leading zeros."""
    return _IPV4.fullmatch(text) is not None


def is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address without a zone."""
    try:
        return _IPV6.fullmatch(text) is not None and IPv6Address(text) is not None
    except ValueError:
        return False


def split_port(text: str) -> tuple[str, str] | None:
    """Split HOST:PORT; return None if there is no port from 1 to 65535."""
    match = _PORT.fullmatch(text)
    return (match[1], match[2]) if match and int(match[2]) <= 0xFFFF else None


def binds(name: str, text: str) -> tuple[str, ...]:
    """Return the addresses of a list of ``unix:/PATH`` and ``HOST:PORT``."""
    return _each_once(name, text, _read_bind)


def upstreams(name: str, text: str) -> tuple[str, ...]:
    """Return the addresses of a list of nginx's ``server`` arguments, without the arguments."""
    return _each_once(name, text, _read_server)


def _each_once(name: str, text: str, read: Callable[[str], str]) -> tuple[str, ...]:
    addresses: list[str] = []
    for entry in entries_of(name, text):
        try:
            addresses.append(read(entry))
            _check_last_is_new(addresses)
        except SettingError as error:
            raise SettingError(f"{name}: '{shown(entry)}' {error}") from None
    return tuple(addresses)


def _check_last_is_new(addresses: list[str]) -> None:
    if addresses[-1] in addresses[:-1]:
        raise SettingError("repeats an address")


def _read_bind(entry: str) -> str:
    _check_address(entry)
    return entry


def _read_server(entry: str) -> str:
    address, arguments = entry, list[str]()
    while match := _LAST_ARGUMENT.fullmatch(address):
        address = match[1]
        arguments.insert(0, match[2])
    _check_address(address)
    _check_arguments(arguments)
    return address


def _check_arguments(arguments: list[str]) -> None:
    given = set[str]()
    for argument in arguments:
        name = argument.partition("=")[0]
        if name not in _ARGUMENTS:
            raise SettingError(f"has an unknown argument: {shown(argument)}")
        if not _ARGUMENTS[name].fullmatch(argument):
            raise SettingError(f"has a bad value: {shown(argument)}")
        if name in given:
            raise SettingError(f"has {name} twice")
        given.add(name)


def _check_address(address: str) -> None:
    if address.startswith("unix:"):
        _check_socket(address.removeprefix("unix:"))
        return
    found = split_port(address)
    if not found:
        raise SettingError("needs a port from 1 to 65535 after its address")
    if not _is_host(found[0]):
        raise SettingError(
            "has a bad address: it is unix:/PATH, IPV4:PORT, [IPV6]:PORT or NAME:PORT"
        )


def _check_socket(path: str) -> None:
    if not path.startswith("/"):
        raise SettingError("needs an absolute path after unix:")
    if not is_safe(path):
        raise SettingError("holds a character that is not allowed in a path")
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise SettingError(
            f"is too long: a socket's path has at most {MAX_SOCKET_PATH} bytes, this one has {size}"
        )


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        return is_ipv6(host[1:-1])
    if _NUMBERS.fullmatch(host):
        return is_ipv4(host)
    return _NAME.fullmatch(host) is not None
