"""Requests that gunicorn refuses before the application sees them get the usual errors."""

import contextlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from gunicorn.http import errors as http  # type: ignore[import-untyped]
from gunicorn.util import close_graceful  # type: ignore[import-untyped]

from ipgeo_fallback.errors import (
    BAD_REQUEST,
    HEADERS,
    HTTP_VERSION_NOT_SUPPORTED,
    INTERNAL,
    JSON,
    NOT_IMPLEMENTED,
    URI_TOO_LONG,
    Fault,
)
from ipgeo_fallback.redaction import described

if TYPE_CHECKING:
    from logging import Logger
    from socket import socket

# For the client to read its answer: closed over unread data, the connection would be reset.
_LINGER_SECONDS = 1.0

# nginx takes only one of each; gunicorn itself checks Host, Content-Type and Content-Length.
_SINGLE = (
    "AUTHORIZATION",
    "CONTENT-RANGE",
    "EXPECT",
    "IF-MATCH",
    "IF-MODIFIED-SINCE",
    "IF-NONE-MATCH",
    "IF-RANGE",
    "IF-UNMODIFIED-SINCE",
)
_HOST = re.compile(r"(?!.*\.\.)[^\x00-\x20/\x7f]+")
_METHOD = re.compile(r"[A-Z_-]+")


class Request(Protocol):
    """The parts of gunicorn's requests that are used here; gunicorn has no types."""

    headers: list[tuple[str, str]]
    method: str
    version: tuple[int, int]


def check(request: Request) -> None:
    """Raise gunicorn's error for a request that nginx refuses but gunicorn accepts."""
    names = [name for name, _ in request.headers]
    for name in _SINGLE:
        if names.count(name) > 1:
            raise http.InvalidHeader(name, request)
    fields = dict(request.headers)
    if request.version >= (1, 1) and not _HOST.fullmatch(fields.get("HOST", "")):
        raise http.InvalidHeader("HOST", request)
    if fields.get("TRANSFER-ENCODING", "chunked").lower() != "chunked":
        raise http.UnsupportedTransferCoding("")
    if not _METHOD.fullmatch(request.method):
        raise http.InvalidRequestMethod("")


def refuse_and_close(
    log: "Logger", request: object, client: "socket", peer: object, error: BaseException
) -> None:
    """Answer and close the connection; log it without quoting the request.

    ``request`` is None if gunicorn has not parsed one.
    """
    fault = fault_of(error)
    method = getattr(request or getattr(error, "req", None), "method", "")
    if fault is INTERNAL:
        log.error("a request failed: %s", described(error))
    else:
        name = peer[0] if isinstance(peer, tuple) else "a unix socket"
        log.warning("a request from %s is not valid: %s", name, type(error).__name__)
    with contextlib.suppress(OSError):
        client.sendall(response(fault, b"" if method == "HEAD" else fault.body))
    close_graceful(client, _LINGER_SECONDS)


def fault_of(error: BaseException) -> Fault:
    """Return nginx's answer to such a request; INTERNAL if the request is not at fault."""
    fault = INTERNAL
    match error:
        case http.InvalidResponseHeader() | http.InvalidResponseHeaderName():
            pass
        case http.LimitRequestLine():
            fault = URI_TOO_LONG
        case http.UnsupportedTransferCoding():
            fault = NOT_IMPLEMENTED
        case http.InvalidHeader(hdr="TRANSFER-ENCODING") if _is_one_coding(error.req):
            fault = NOT_IMPLEMENTED
        case http.InvalidHTTPVersion() if _is_later(error.version):
            fault = HTTP_VERSION_NOT_SUPPORTED
        case http.ParseException():
            fault = BAD_REQUEST
    return fault


def _is_one_coding(request: Request) -> bool:
    names = [name for name, _ in request.headers]
    return request.version >= (1, 1) and names.count("TRANSFER-ENCODING") == 1


def _is_later(version: str | tuple[int, int]) -> bool:
    """Whether it is that of a later HTTP; gunicorn gives text if it could not read it."""
    return isinstance(version, tuple) and version >= (2, 0)


def response(fault: Fault, body: bytes) -> bytes:
    """Return the whole response, after which the connection closes."""
    fields = {
        "Server": "gunicorn",
        "Connection": "close",
        "Content-Type": JSON,
        "Content-Length": len(fault.body),
        **HEADERS,
    }
    lines = [f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
