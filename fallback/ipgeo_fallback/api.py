"""HTTP: a request in, an answer or an error out."""

import json
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed

from ipgeo.address import format_ipv4
from ipgeo_fallback import question
from ipgeo_fallback.errors import (
    BODY_TOO_LARGE,
    BY_STATUS,
    INTERNAL,
    NO_DATA,
    UNAVAILABLE,
    Fault,
    RefusedError,
)
from ipgeo_fallback.holder import Holder, View
from ipgeo_fallback.question import ARRAY, Question

_HEADERS = {"Cache-Control": "no-cache", "X-IPGeo-Served-By": "fallback"}
_JSON = "application/json"


def install(app: Flask, holder: Holder, body_limit: int) -> None:
    """Add the routes, and answer every error as JSON."""

    def ip_query() -> Response:
        return _ip_query(holder, body_limit)

    def readyz() -> Response:
        return _readyz(holder.view())

    def refuse_length() -> Response | None:
        # As nginx: by the header alone, whatever the path and the method.
        too_long = (request.content_length or 0) > body_limit
        return _fault(BODY_TOO_LARGE) if too_long else None

    app.before_request(refuse_length)
    _route(app, "/api/ip_query", ip_query, "GET", "HEAD", "POST")
    _route(app, "/healthz", _healthz, "GET", "HEAD")
    _route(app, "/readyz", readyz, "GET", "HEAD")
    app.register_error_handler(RefusedError, lambda error: _fault(error.fault))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _route(app: Flask, path: str, view: Callable[[], Response], *methods: str) -> None:
    # Flask would answer OPTIONS by itself.
    app.add_url_rule(path, path, view, methods=methods, provide_automatic_options=False)


def _ip_query(holder: Holder, body_limit: int) -> Response:
    if request.method == "POST":
        asked = question.from_body(_body(body_limit))
    else:
        asked = question.from_query(request.query_string)
    view = holder.view()
    if view is None:
        raise RefusedError(UNAVAILABLE)
    location = view.blob.find(asked.address)
    if location is None:
        raise RefusedError(NO_DATA)
    if request.method == "POST":
        return _answer(_text(view, location, asked))
    return _tagged(view, location, asked)


def _body(limit: int) -> bytes:
    """Return the request's body; at most one byte more than ``limit`` is ever read."""
    try:
        body: bytes = request.stream.read(limit + 1)
    except HTTPException:
        raise
    except Exception as error:  # whatever the server raises for a body that breaks HTTP
        raise BadRequest from error
    if len(body) > limit:
        raise RefusedError(BODY_TOO_LARGE)
    return body


def _text(view: View, location: int, asked: Question) -> bytes:
    answer = view.blob.answer(location)
    if asked.form == ARRAY:
        return answer.array
    return b'{"ip":"' + format_ipv4(asked.address).encode() + b'",' + answer.members


def _tagged(view: View, location: int, asked: Question) -> Response:
    """Answer GET and HEAD, whose answers name their data and can be asked for conditionally."""
    tag = f'"{view.blob.build_id}"'
    if _none_match(request.headers.get("If-None-Match", ""), tag):
        response = Response(status=HTTPStatus.NOT_MODIFIED, headers=_HEADERS)
        del response.headers["Content-Type"]
    else:
        response = _answer(_text(view, location, asked))
    response.headers["ETag"] = tag
    return response


def _none_match(condition: str, tag: str) -> bool:
    """Compare weakly, RFC 9110 section 8.8.3.2. A build id holds no comma, so a split will do."""
    given = [entry.strip(" \t") for entry in condition.split(",")]
    return given == ["*"] or tag in (entry.removeprefix("W/") for entry in given)


def _healthz() -> Response:
    return _answer(b'{"status":"ok"}')


def _readyz(view: View | None) -> Response:
    if view is None:
        raise RefusedError(UNAVAILABLE)
    return _answer(
        _dump(
            {
                "status": "ready",
                "build_id": view.blob.build_id,
                "generation": view.generation,
                "runs": view.blob.runs,
                "data_age": view.data_age,
            }
        )
    )


def _http_error(error: HTTPException) -> Response:
    """Answer an error of the framework's own."""
    response = _fault(BY_STATUS.get(error.code or 0, INTERNAL))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unexpected(error: Exception) -> Response:
    # Without the query: addresses are personal data.
    current_app.logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return _fault(INTERNAL)


def _fault(fault: Fault) -> Response:
    body = _dump({"error": {"code": fault.code, "message": fault.message}})
    return _answer(body, fault.status)


def _answer(body: bytes, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status, _HEADERS, content_type=_JSON)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
