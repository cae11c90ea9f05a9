"""Redacts requests for logs: the requested addresses are personal data."""

import re
import traceback

# Digits have other forms beyond ASCII, in more than one encoding.
_MAY_BE_AN_ADDRESS = re.compile(r"[0-9:]|[^\x00-\x7f]")


def redacted(text: str | None) -> str:
    """Return ``text`` for a log, in one line of ASCII; "-" if there may be an address in it.

    An address in the path is logged no more than one in the query.
    """
    return "-" if not text or _MAY_BE_AN_ADDRESS.search(text) else ascii(text)[1:-1]


def described(error: BaseException) -> str:
    """Return an exception's type and place, but not its text: that may quote the request."""
    return type(error).__name__ + "\n" + "".join(traceback.format_tb(error.__traceback__))
