"""Generated from contract/ by script/generate: change it there."""

from dataclasses import dataclass

VERSION = "0.1.0"

MAX_ARGUMENTS = 8
MAX_JSON_DEPTH = 8
MAX_ADDRESS_BYTES = 45
BODY_BYTES_PER_ADDRESS = 48
BODY_BYTES_OVERHEAD = 1024
MIN_BODY_LIMIT = 65536
MAX_RELAY_HOPS = 3
MEMORY_LAYOUT = 2
ARENA_PAGE = 4096
ARENA_FRONT = 65536
ARENA_FRONT_SHARE = 128
MIN_ARENA = 524288
CLIENT_TIMEOUT = 10
MAX_SOCKET_PATH = 107

ERRORS: dict[str, tuple[int, str]] = {
    "missing_ip": (400, "ip is missing"),
    "invalid_ip": (400, "ip is not an IPv4 or IPv6 address"),
    "invalid_ips": (400, "ips must be an array"),
    "ip_and_ips": (400, "send either ip or ips, not both"),
    "too_many_ips": (400, "too many addresses: the limit is {batch_limit}"),
    "invalid_format": (400, "format must be array or object"),
    "repeated_argument": (400, "ip, ips or format is given more than once"),
    "too_many_arguments": (400, "too many arguments: the limit is 8"),
    "invalid_json": (400, "the body must be one JSON object in UTF-8, nested at most 8 deep"),
    "bad_request": (400, "the request is not valid HTTP, or a header is too large"),
    "not_found": (404, "not found"),
    "method_not_allowed": (405, "method not allowed"),
    "request_timeout": (408, "request timeout"),
    "length_required": (411, "Content-Length is required"),
    "body_too_large": (413, "the request body is too large: the limit is {body_limit} bytes"),
    "uri_too_long": (414, "the request line is too long: the limit is 8 KiB"),
    "unsupported_media_type": (415, "media type not supported"),
    "internal": (500, "internal error"),
    "no_data": (501, "the database has no entry for this address"),
    "not_implemented": (501, "transfer encoding not implemented"),
    "unavailable": (503, "no database is loaded"),
    "http_version_not_supported": (505, "HTTP version not supported"),
}
"""Status and message by code."""

CODE_BY_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    411: "length_required",
    413: "body_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    500: "internal",
    501: "not_implemented",
    503: "unavailable",
    505: "http_version_not_supported",
}
"""What a server's own errors are answered with."""

FIELDS = {
    "country": "string",
    "country_code": "string or null",
    "province": "string",
    "province_code": "string or null",
    "city": "string",
    "city_code": "string or null",
    "organization": "string",
    "isp": "string",
    "latitude": "number or null",
    "longitude": "number or null",
    "time_zone": "string",
    "utc_offset": "string",
    "china_admin_code": "string",
    "phone_prefix": "string",
    "source_country_code": "string",
    "continent_code": "string",
    "idc": "string",
    "base_station": "string",
    "country_code3": "string",
    "european_union": "string",
    "currency_code": "string",
    "currency_name": "string",
    "anycast": "string",
    "is_eu": "boolean or null",
    "continent": "string",
    "district": "string",
    "postal_code": "string",
    "accuracy_radius": "integer or null",
    "geoname_id": "integer or null",
    "asn": "integer or null",
    "as_organization": "string",
    "kind": "string or null",
}
"""The members of the object form, in their order, and the types of their values."""

ARRAY_FIELDS = (
    "country",
    "country_code",
    "province",
    "province_code",
    "city",
    "city_code",
    "organization",
    "isp",
)
"""The array form's elements, in their order."""

NUMERIC_FIELDS = (
    "latitude",
    "longitude",
)
"""Degrees: the fields whose values are decimal numbers."""

FILLED_FIELDS = (
    "phone_prefix",
    "continent_code",
    "currency_code",
    "is_eu",
)
"""What follows from a country's code, where a source lacks it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting; of sizes and seconds ``min`` and ``max`` are as an operator writes them.

    ``default`` may refer to {ROOT}, the checkout, and to other settings; ``by`` names its readers.
    """

    name: str
    type: str
    default: str
    by: tuple[str, ...]
    min: str = ""
    max: str = ""
    values: tuple[str, ...] = ()


SETTINGS = (
    Setting("IPGEO_BLOB", "path", "{IPGEO_VAR}/ipgeo.blob", ("edge", "fallback")),
    Setting("IPGEO_VAR", "path", "{ROOT}/var", ("edge", "fallback")),
    Setting("IPGEO_BIND", "listens", "127.0.0.1", ("edge",)),
    Setting("IPGEO_PORT", "integer", "8080", ("edge", "compose"), min="1", max="65535"),
    Setting("IPGEO_PUBLISH", "address", "127.0.0.1", ("compose",)),
    Setting("IPGEO_MODE", "choice", "edge", ("edge", "compose"), values=("edge", "proxy")),
    Setting(
        "IPGEO_WORKERS",
        "integer",
        "auto",
        ("edge", "compose"),
        min="1",
        max="1024",
        values=("auto",),
    ),
    Setting("IPGEO_FALLBACK_WORKERS", "integer", "2", ("fallback", "compose"), min="1", max="999"),
    Setting("IPGEO_DICT_SIZE", "size", "256m", ("edge", "compose"), min="64k", max="16384m"),
    Setting(
        "IPGEO_REFRESH_INTERVAL",
        "seconds",
        "1",
        ("edge", "fallback", "compose"),
        min="0.001",
        max="99999",
    ),
    Setting(
        "IPGEO_BATCH_LIMIT",
        "integer",
        "1000",
        ("edge", "fallback", "compose"),
        min="1",
        max="100000",
    ),
    Setting(
        "IPGEO_BODY_LIMIT",
        "size",
        "{BODY_LIMIT}",
        ("edge", "fallback", "compose"),
        min="1k",
        max="1024m",
    ),
    Setting("IPGEO_LOG_QUERY", "choice", "off", ("edge", "compose"), values=("off", "on")),
    Setting(
        "IPGEO_ACCESS_LOG",
        "choice",
        "on",
        ("edge", "compose"),
        values=("on", "errors", "off"),
    ),
    Setting("IPGEO_FALLBACK_ACCESS_LOG", "log", "", ("fallback", "compose")),
    Setting("IPGEO_FALLBACK_ERROR_LOG", "log", "-", ("fallback",)),
    Setting("IPGEO_LOG_SIZE", "size", "10m", ("server", "compose"), min="100k", max="1024m"),
    Setting("IPGEO_LOG_FILES", "integer", "4", ("server", "compose"), min="1", max="999"),
    Setting("IPGEO_TRUSTED_PROXIES", "networks", "", ("edge", "fallback", "compose")),
    Setting("IPGEO_USER", "user", "www-data", ("edge", "fallback")),
    Setting("IPGEO_NGINX", "program", "{NGINX}", ("edge",)),
    Setting("IPGEO_LUA", "path", "{ROOT}/lua", ("edge",)),
    Setting("IPGEO_FALLBACK_BIND", "binds", "unix:{IPGEO_VAR}/fallback.sock", ("fallback",)),
    Setting("IPGEO_UPSTREAMS", "upstreams", "unix:{IPGEO_VAR}/fallback.sock", ("edge", "compose")),
    Setting("IPGEO_UPSTREAM_TIMEOUT", "integer", "3", ("edge", "compose"), min="1", max="60"),
    Setting(
        "IPGEO_RESOLVE_INTERVAL",
        "seconds",
        "10",
        ("edge", "compose"),
        min="0.001",
        max="99999",
    ),
    Setting("IPGEO_EDGE_MEMORY", "memory", "512m", ("compose",), min="6m", max="1024g"),
    Setting("IPGEO_FALLBACK_MEMORY", "memory", "512m", ("compose",), min="6m", max="1024g"),
    Setting("IPGEO_COMPILER_MEMORY", "memory", "1g", ("compose",), min="6m", max="1024g"),
    Setting("IPGEO_INNER_NET", "prefix", "172.31.57", ("compose",)),
    Setting("IPGEO_OUTER_NET", "prefix", "172.31.58", ("compose",)),
    Setting("IPGEO_TAG", "tag", "latest", ("compose",)),
    Setting("IPGEO_REAL_DATA", "path", "{ROOT}/../shared/data", ("tests",)),
    Setting("IPGEO_REQUIRE_REAL_DATA", "choice", "0", ("tests",), values=("0", "1")),
    Setting("IPGEO_REQUIRE_DOCKER", "choice", "0", ("tests",), values=("0", "1")),
)

SETTING_BY_NAME = {setting.name: setting for setting in SETTINGS}

INTERNAL_SETTINGS = (
    "IPGEO_UPSTREAMS_DEFAULT",
    "IPGEO_SUPERVISOR_UID",
    "IPGEO_LOG_BYTES",
)
"""What programs of the project hand to one another; no operator sets it."""
