"""What the service refuses: one table of codes, statuses and messages.

The messages are the edge's to the letter: lua/ipgeo/http/errors.lua has those of its own refusals,
and nginx/json-errors.conf those of nginx (bad_request, not_found, body_too_large, uri_too_long,
internal, not_implemented, http_version_not_supported).
"""

import json
from typing import NamedTuple

HEADERS = {"Cache-Control": "no-cache", "X-IPGeo-Served-By": "fallback"}
"""What every answer carries."""
JSON = "application/json"


class Fault(NamedTuple):
    """An error as it is answered; ``message`` never repeats any input."""

    status: int
    code: str
    message: str

    @property
    def body(self) -> bytes:
        """The answer's body."""
        error = {"error": {"code": self.code, "message": self.message}}
        return json.dumps(error, separators=(",", ":")).encode()


MISSING_IP = Fault(400, "missing_ip", "the argument ip is missing")
INVALID_IP = Fault(400, "invalid_ip", "ip is not an IPv4 address in dotted decimal")
INVALID_IPS = Fault(400, "invalid_ips", "ips is not an array")
IP_AND_IPS = Fault(400, "ip_and_ips", "ip and ips exclude each other")
TOO_MANY_IPS = Fault(400, "too_many_ips", "more addresses than this server takes in one request")
REPEATED_ARGUMENT = Fault(400, "repeated_argument", "ip, ips or format occurs more than once")
TOO_MANY_ARGUMENTS = Fault(400, "too_many_arguments", "more than 8 arguments")
INVALID_FORMAT = Fault(400, "invalid_format", "format is neither array nor object")
INVALID_JSON = Fault(
    400, "invalid_json", "the body is not one JSON object in UTF-8, nested at most 8 deep"
)
BAD_REQUEST = Fault(400, "bad_request", "the request is not valid HTTP, or a header is too large")
NOT_FOUND = Fault(404, "not_found", "there is nothing at this path")
METHOD_NOT_ALLOWED = Fault(405, "method_not_allowed", "this path does not take this method")
BODY_TOO_LARGE = Fault(413, "body_too_large", "the request body is too large")
URI_TOO_LONG = Fault(414, "uri_too_long", "the request line is too long")
INTERNAL = Fault(500, "internal", "internal error")
NO_DATA = Fault(501, "no_data", "the database has nothing for this address")
NOT_IMPLEMENTED = Fault(501, "not_implemented", "this transfer encoding is not implemented")
UNAVAILABLE = Fault(503, "unavailable", "no database is loaded")
HTTP_VERSION_NOT_SUPPORTED = Fault(
    505, "http_version_not_supported", "this version of HTTP is not supported"
)

BY_STATUS = {
    fault.status: fault for fault in (BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, BODY_TOO_LARGE)
}
"""What the framework's own errors are answered with."""


class RefusedError(Exception):
    """A request that is answered with ``fault``."""

    def __init__(self, fault: Fault) -> None:
        """Refuse with ``fault``."""
        super().__init__(fault.code)
        self.fault = fault
