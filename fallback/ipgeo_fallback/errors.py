"""The service's errors: the codes, statuses and messages of contract/errors.json."""

import json
from dataclasses import dataclass, replace
from typing import Self

from ipgeo.contract import CODE_BY_STATUS, ERRORS
from ipgeo.errors import IpgeoError

HEADERS = {"Cache-Control": "no-cache", "X-IPGeo-Served-By": "fallback"}
"""What every answer carries."""
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Fault:
    """An error to answer with; ``message`` never repeats any input."""

    status: int
    code: str
    message: str

    def with_limits(self, **limits: int) -> Self:
        """Fill in the limits that the message names in braces."""
        return replace(self, message=self.message.format(**limits))

    @property
    def body(self) -> bytes:
        """The answer's body."""
        error = {"error": {"code": self.code, "message": self.message}}
        return json.dumps(error, separators=(",", ":")).encode()


def _fault(code: str) -> Fault:
    status, message = ERRORS[code]
    return Fault(status, code, message)


MISSING_IP = _fault("missing_ip")
INVALID_IP = _fault("invalid_ip")
INVALID_IPS = _fault("invalid_ips")
IP_AND_IPS = _fault("ip_and_ips")
TOO_MANY_IPS = _fault("too_many_ips")
REPEATED_ARGUMENT = _fault("repeated_argument")
TOO_MANY_ARGUMENTS = _fault("too_many_arguments")
INVALID_FORMAT = _fault("invalid_format")
INVALID_JSON = _fault("invalid_json")
BAD_REQUEST = _fault("bad_request")
NOT_FOUND = _fault("not_found")
METHOD_NOT_ALLOWED = _fault("method_not_allowed")
BODY_TOO_LARGE = _fault("body_too_large")
URI_TOO_LONG = _fault("uri_too_long")
INTERNAL = _fault("internal")
NO_DATA = _fault("no_data")
NOT_IMPLEMENTED = _fault("not_implemented")
UNAVAILABLE = _fault("unavailable")
HTTP_VERSION_NOT_SUPPORTED = _fault("http_version_not_supported")

BY_STATUS = {status: _fault(code) for status, code in CODE_BY_STATUS.items()}
"""What the framework's own errors are answered with."""


class RefusedError(IpgeoError):
    """A request that is answered with ``fault``."""

    def __init__(self, fault: Fault) -> None:
        """Refuse with ``fault``."""
        super().__init__(fault.code)
        self.fault = fault
