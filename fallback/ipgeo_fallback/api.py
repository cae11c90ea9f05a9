"""HTTP: a request in, an answer or an error out."""

import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed

from ipgeo.ranges.address import format_ipv4
from ipgeo_fallback import question
from ipgeo_fallback.errors import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BY_STATUS,
    HEADERS,
    INTERNAL,
    INVALID_IP,
    JSON,
    NO_DATA,
    UNAVAILABLE,
    Fault,
    RefusedError,
)
from ipgeo_fallback.holder import Holder, Trouble, View
from ipgeo_fallback.private import raised, shown
from ipgeo_fallback.question import ARRAY, Batch, Question
from ipgeo_fallback.settings import Settings

_QUERY = "/api/ip_query"
_NDJSON = "application/x-ndjson"
_MOST_LENGTH = (1 << 63) - 1
"""The longest body, in bytes, that nginx can think of."""

_MEDIA_TYPE = re.compile(r"\s*([^;\s]*)", re.ASCII)
_QUOTED = re.compile(r'"[^"]*"')


def install(app: Flask, holder: Holder, settings: Settings) -> None:
    """Add the routes, and answer every error as JSON."""

    def ip_query() -> Response:
        return _post(holder, settings) if request.method == "POST" else _get(holder)

    def readyz() -> Response:
        return _readyz(_loaded(holder), holder.trouble)

    def look_at_body() -> Response | None:
        # As nginx: by the header alone, whatever the path and the method.
        length = request.content_length or 0
        if length > settings.body_limit:
            return _fault(BODY_TOO_LARGE if length <= _MOST_LENGTH else BAD_REQUEST)
        if request.method != "POST" or request.path != _QUERY:
            _read(settings.body_limit)  # for its framing; nobody needs it
        return None

    app.before_request(look_at_body)
    _route(app, _QUERY, ip_query, "GET", "HEAD", "POST")
    _route(app, "/healthz", _healthz, "GET", "HEAD")
    _route(app, "/readyz", readyz, "GET", "HEAD")
    app.register_error_handler(RefusedError, lambda error: _fault(error.fault))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _route(app: Flask, path: str, view: Callable[[], Response], *methods: str) -> None:
    # Flask would answer OPTIONS by itself.
    app.add_url_rule(path, path, view, methods=methods, provide_automatic_options=False)


def _loaded(holder: Holder) -> View:
    view = holder.view()
    if view is None:
        raise RefusedError(UNAVAILABLE)
    return view


def _get(holder: Holder) -> Response:
    """Answer GET and HEAD, whose answers name their data and can be asked for conditionally."""
    asked = question.from_query(request.query_string)
    view = _loaded(holder)
    text = _found(view, asked)
    tag = f'"{view.blob.build_id}"'
    if _none_match(request.headers.get("If-None-Match", ""), tag):
        response = Response(status=HTTPStatus.NOT_MODIFIED, headers=HEADERS)
        del response.headers["Content-Type"]
    else:
        response = _answer(text)
    response.headers["ETag"] = tag
    return response


def _post(holder: Holder, settings: Settings) -> Response:
    media_type = request.headers.get("Content-Type", "")
    if "," in _QUOTED.sub("", media_type):
        raise BadRequest  # two, joined by a proxy
    body = _body(settings.body_limit)
    if _is_text(media_type):
        lines = question.from_lines(request.query_string, body, settings.batch_limit)
        texts = _texts(_loaded(holder), lines)
        return _answer(b"".join(text + b"\n" for text in texts), media_type=_NDJSON)
    asked = question.from_body(body, settings.batch_limit)
    view = _loaded(holder)
    if isinstance(asked, Batch):
        return _answer(b'{"results":[' + b",".join(_texts(view, asked)) + b"]}")
    return _answer(_found(view, asked))


def _is_text(media_type: str) -> bool:
    match = _MEDIA_TYPE.match(media_type)
    return match is not None and match[1].lower() == "text/plain"


def _body(limit: int) -> bytes:
    """Return the request's body, which has at most ``limit`` bytes."""
    body = _read(limit)
    if len(body) > limit:
        raise RefusedError(BODY_TOO_LARGE)
    return body


def _read(limit: int) -> bytes:
    """Read the request's body, at most one byte more than ``limit``."""
    try:
        body: bytes = request.stream.read(limit + 1)
    except HTTPException:
        raise
    except Exception as error:  # whatever the server raises for a body that breaks HTTP
        raise BadRequest from error
    return body


def _found(view: View, asked: Question) -> bytes:
    text = _text(view, asked.address, asked.form)
    if text is None:
        raise RefusedError(NO_DATA)
    return text


def _texts(view: View, asked: Batch) -> Iterator[bytes]:
    """Yield the answer of each address, or an error in its place, all from ``view``."""
    invalid_ip, no_data = INVALID_IP.body, NO_DATA.body
    for address in asked.addresses:
        if address is None:
            yield invalid_ip
        else:
            yield _text(view, address, asked.form) or no_data


def _text(view: View, address: int, form: str) -> bytes | None:
    location = view.blob.find(address)
    if location is None:
        return None
    answer = view.blob.answer(location)
    if form == ARRAY:
        return answer.array
    return b'{"ip":"' + format_ipv4(address).encode() + b'",' + answer.members


def _none_match(condition: str, tag: str) -> bool:
    """Compare weakly, RFC 9110 section 8.8.3.2. A build id holds no comma, so a split will do."""
    given = [entry.strip(" \t") for entry in condition.split(",")]
    return given == ["*"] or tag in (entry.removeprefix("W/") for entry in given)


def _healthz() -> Response:
    return _answer(b'{"status":"ok"}')


def _readyz(view: View, trouble: Trouble | None) -> Response:
    state = {
        "status": "ready",
        "build_id": view.blob.build_id,
        "generation": view.generation,
        "runs": view.blob.runs,
        "data_age": view.data_age,
        "refresh": "failing" if trouble else "ok",
    }
    if trouble:
        state |= {"refresh_error": trouble.kind, "refresh_message": trouble.reason}
    return _answer(json.dumps(state, separators=(",", ":")).encode())


def _http_error(error: HTTPException) -> Response:
    """Answer an error of the framework's own."""
    response = _fault(BY_STATUS.get(error.code or 0, INTERNAL))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unexpected(error: Exception) -> Response:
    what = shown(request.method), shown(request.path), raised(error)
    current_app.logger.error("%s %s failed: %s", *what)
    return _fault(INTERNAL)


def _fault(fault: Fault) -> Response:
    return _answer(fault.body, fault.status)


def _answer(body: bytes, status: int = HTTPStatus.OK, media_type: str = JSON) -> Response:
    return Response(body, status, HEADERS, content_type=media_type)
