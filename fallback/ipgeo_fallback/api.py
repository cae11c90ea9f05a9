"""HTTP: a request in, an answer or an error out."""

import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed

from ipgeo.ranges.address import Address
from ipgeo_fallback import parse
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
from ipgeo_fallback.parse import ARRAY, Batch, Query
from ipgeo_fallback.redaction import described, redacted
from ipgeo_fallback.settings import Settings
from ipgeo_fallback.store import BlobStore, LoadedBlob, RefreshFailure

_QUERY = "/api/ip_query"
_NDJSON = "application/x-ndjson"
_MAX_CONTENT_LENGTH = (1 << 63) - 1
"""The largest body size, in bytes, that nginx can represent."""

_MEDIA_TYPE = re.compile(r"\s*([^;\s]*)", re.ASCII)
_QUOTED = re.compile(r'"[^"]*"')


def install(app: Flask, store: BlobStore, settings: Settings) -> None:
    """Add the routes, and answer every error as JSON."""

    def ip_query() -> Response:
        return _post(store, settings) if request.method == "POST" else _get(store)

    def readyz() -> Response:
        return _readyz(_current(store), store.refresh_error)

    def check_body() -> Response | None:
        # As in nginx: by the header alone, for every path and method.
        length = request.content_length or 0
        if length > settings.body_limit:
            too_large = BODY_TOO_LARGE.with_limits(body_limit=settings.body_limit)
            return _fault(too_large if length <= _MAX_CONTENT_LENGTH else BAD_REQUEST)
        if request.method != "POST" or request.path != _QUERY:
            _read(settings.body_limit)  # for its framing alone
        return None

    app.before_request(check_body)
    _route(app, _QUERY, ip_query, "GET", "HEAD", "POST")
    _route(app, "/healthz", _healthz, "GET", "HEAD")
    _route(app, "/readyz", readyz, "GET", "HEAD")
    app.register_error_handler(RefusedError, lambda error: _fault(error.fault))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _route(app: Flask, path: str, view: Callable[[], Response], *methods: str) -> None:
    # Flask would answer OPTIONS by itself.
    app.add_url_rule(path, path, view, methods=methods, provide_automatic_options=False)


def _current(store: BlobStore) -> LoadedBlob:
    loaded = store.current()
    if loaded is None:
        raise RefusedError(UNAVAILABLE)
    return loaded


def _get(store: BlobStore) -> Response:
    """Answer GET and HEAD, with an ETag for the data; conditional requests are supported."""
    query = parse.from_query(request.query_string)
    loaded = _current(store)
    text = _single_answer(loaded, query)
    tag = f'"{loaded.blob.build_id}"'
    if _none_match(request.headers.get("If-None-Match", ""), tag):
        response = Response(status=HTTPStatus.NOT_MODIFIED, headers=HEADERS)
        del response.headers["Content-Type"]
    else:
        response = _answer(text)
    response.headers["ETag"] = tag
    return response


def _post(store: BlobStore, settings: Settings) -> Response:
    media_type = request.headers.get("Content-Type", "")
    if "," in _QUOTED.sub("", media_type):
        raise BadRequest  # two, joined by a proxy
    body = _body(settings.body_limit)
    if _is_text(media_type):
        lines = parse.from_lines(request.query_string, body, settings.batch_limit)
        texts = _batch_answers(_current(store), lines)
        return _answer(b"".join(text + b"\n" for text in texts), media_type=_NDJSON)
    query = parse.from_body(body, settings.batch_limit)
    loaded = _current(store)
    if isinstance(query, Batch):
        return _answer(b'{"results":[' + b",".join(_batch_answers(loaded, query)) + b"]}")
    return _answer(_single_answer(loaded, query))


def _is_text(media_type: str) -> bool:
    match = _MEDIA_TYPE.match(media_type)
    return match is not None and match[1].lower() == "text/plain"


def _body(limit: int) -> bytes:
    """Return the request's body, which has at most ``limit`` bytes."""
    body = _read(limit)
    if len(body) > limit:
        raise RefusedError(BODY_TOO_LARGE.with_limits(body_limit=limit))
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


def _single_answer(loaded: LoadedBlob, query: Query) -> bytes:
    text = _answer_of(loaded, query.address, query.form)
    if text is None:
        raise RefusedError(NO_DATA)
    return text


def _batch_answers(loaded: LoadedBlob, query: Batch) -> Iterator[bytes]:
    """Yield the answer of each address, or an error in its place, all from ``loaded``."""
    invalid_ip, no_data = INVALID_IP.body, NO_DATA.body
    for address in query.addresses:
        if address is None:
            yield invalid_ip
        else:
            yield _answer_of(loaded, address, query.form) or no_data


def _answer_of(loaded: LoadedBlob, address: Address, form: str) -> bytes | None:
    answer = loaded.blob.answer_to(address)
    if answer is None:
        return None
    return answer.array if form == ARRAY else answer.object_form(str(address))


def _none_match(condition: str, tag: str) -> bool:
    """Compare weakly, RFC 9110 section 8.8.3.2. A build id holds no comma, so a split will do."""
    given = [entry.strip(" \t") for entry in condition.split(",")]
    return given == ["*"] or tag in (entry.removeprefix("W/") for entry in given)


def _healthz() -> Response:
    return _answer(b'{"status":"ok"}')


def _readyz(loaded: LoadedBlob, failure: RefreshFailure | None) -> Response:
    state = {
        "status": "ready",
        "build_id": loaded.blob.build_id,
        "generation": loaded.generation,
        "runs": loaded.blob.runs,
        "data_age": loaded.data_age,
        "refresh": "failing" if failure else "ok",
    }
    if failure:
        state |= {"refresh_error": failure.kind, "refresh_message": failure.reason}
    return _answer(json.dumps(state, separators=(",", ":")).encode())


def _http_error(error: HTTPException) -> Response:
    """Answer an error of the framework's own."""
    response = _fault(BY_STATUS.get(error.code or 0, INTERNAL))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unexpected(error: Exception) -> Response:
    what = redacted(request.method), redacted(request.path), described(error)
    current_app.logger.error("%s %s failed: %s", *what)
    return _fault(INTERNAL)


def _fault(fault: Fault) -> Response:
    return _answer(fault.body, fault.status)


def _answer(body: bytes, status: int = HTTPStatus.OK, media_type: str = JSON) -> Response:
    return Response(body, status, HEADERS, content_type=media_type)
