"""Latitudes and longitudes as the text of a decimal number."""

import re
from decimal import Decimal

MAX_LATITUDE = 90
MAX_LONGITUDE = 180

_DIGITS = 6
_DECIMAL = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{0,30})?")


def format_degrees(value: float | str, limit: int) -> str:
    """Return degrees rounded to six decimals, half to even, without zeros that say nothing.

    What is rounded is the exact value: of the double, or of the decimal number that a text is.
    There is at least one decimal and no exponent: ``-33.8``, ``0.0``. Raises ValueError for what is
    no number within ``-limit`` and ``limit`` (inclusive).
    """
    number = _decimal(value) if isinstance(value, str) else value
    if not -limit <= number <= limit:  # NaN is not, either
        raise ValueError(f"{value} is not within -{limit} and {limit} degrees")
    text = f"{number:.{_DIGITS}f}".rstrip("0")
    if text.endswith("."):
        text += "0"
    return "0.0" if text == "-0.0" else text


def shortest(value: float) -> str:
    """Return the shortest text without exponent that is this number: ``34.0``, ``0.000001``."""
    text = repr(value)
    return f"{Decimal(text):f}" if "e" in text else text


def _decimal(text: str) -> Decimal:
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r:.40} is not a decimal number of degrees")
    return Decimal(text)
