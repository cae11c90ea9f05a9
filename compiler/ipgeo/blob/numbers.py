"""Numbers in cells, and the JSON that they stand for."""

NULL = -(1 << 31)
"""The cell that stands for null."""

MAX_NUMBER_BYTES = 16
"""What a number takes at most in an answer."""


def number_text(cell: int, decimals: int) -> bytes:
    """Return a number of 10^-``decimals`` as JSON, written shortest.

    With decimals there is at least one (34.0), and no more than it needs.
    """
    if cell == NULL:
        return b"null"
    if not decimals:
        return b"%d" % cell
    digits = b"%0*d" % (decimals + 1, abs(cell))
    fraction = digits[-decimals:].rstrip(b"0") or b"0"
    return (b"-" if cell < 0 else b"") + digits[:-decimals] + b"." + fraction
