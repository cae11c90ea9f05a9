"""Where the edge listens: IPGEO_BIND. nginx/lib/listens.lua has the same grammar."""

from ipaddress import ip_address

from ipgeo.errors import SettingError
from ipgeo.settings.texts import entries_of, shown
from ipgeo.settings.upstreams import is_ipv4, is_ipv6, split_port


def listens(name: str, text: str) -> tuple[str, ...]:
    """Return the entries of a list with commas or blanks, as nginx takes them.

    Each is an IPv4 address, or an IPv6 address in brackets, with or without a port.
    """
    found: dict[object, str] = {}
    for entry in filter(None, " ".join(entries_of(name, text)).split(" ")):
        host, port = _split(name, entry)
        key = (ip_address(host), port)
        if key in found:
            raise SettingError(f"{name}: '{shown(entry)}' repeats an address")
        bare = f"[{host}]" if is_ipv6(host) else host
        found[key] = f"{bare}:{port}" if port else bare
    if not found:
        raise SettingError(f"{name} must be a list of addresses, not '{shown(text)}'")
    return tuple(found.values())


def _split(name: str, entry: str) -> tuple[str, str]:
    """Return the address of an entry without brackets, and its port or an empty text."""
    host, port = entry, ""
    if not is_ipv6(entry):  # which needs brackets before a port
        host, port = split_port(entry) or (entry, "")
    inner = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else ""
    if is_ipv4(host) or (is_ipv6(host) and not port):
        return host, port
    if is_ipv6(inner):
        return inner, port
    problem = "is not IPV4, IPV6, IPV4:PORT or [IPV6]:PORT"
    raise SettingError(f"{name}: '{shown(entry)}' {problem}")
