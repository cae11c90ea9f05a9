"""The client's address, and which peers may name it in X-Forwarded-For.

The edge decides the same way, by nginx's realip module with `real_ip_recursive on`.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from ipgeo.settings.checks import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Address = IPv4Address | IPv6Address

_HEADER = "HTTP_X_FORWARDED_FOR"
_PEER = "REMOTE_ADDR"


class Forwarded:
    """WSGI middleware that puts the client into REMOTE_ADDR.

    X-Forwarded-For counts only if the peer is a unix socket (its REMOTE_ADDR is empty) or within
    one of the networks ``trusted``.
    """

    def __init__(self, app: "WSGIApplication", trusted: Sequence[Network]) -> None:
        """Serve ``app``."""
        self._app = app
        self._trusted = trusted

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer by the application. The server logs what ``environ`` holds afterwards."""
        environ[_PEER] = self._client(environ.get(_PEER, ""), environ.get(_HEADER, ""))
        return self._app(environ, start_response)

    def _client(self, peer: str, header: str) -> str:
        """Return the rightmost address that is not trusted; if all are, the leftmost one.

        The walk ends at anything that is not an address: no proxy wrote that, or what precedes it.
        """
        client = _address(peer.partition("%")[0])
        if peer and not self._is_trusted(client):
            return str(client or peer)
        for entry in reversed(header.split(",")):
            address = _address(entry.strip(" \t"))
            if address is None:
                break
            client = address
            if not self._is_trusted(address):
                break
        return str(client or "")

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    """Return an address, as IPv4 if it is mapped into IPv6; None if it is not an address.

    After a `%` Python takes any text for an IPv6 zone: none of it may reach a log.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id else address.ipv4_mapped or address
