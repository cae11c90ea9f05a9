"""How large a blob the edge's shared memory holds: the rule of lua/ipgeo/memory/arena.lua."""

import math

from ipgeo.contract import ARENA_FRONT, ARENA_FRONT_SHARE, ARENA_PAGE, MIN_ARENA

_SPARE_PAGES = 4
"""The pages of the control block and of rounding."""


def slot_size(size: int) -> int | None:
    """Return the largest blob in bytes that shared memory of ``size`` bytes holds.

    None if it has no slots: every worker then keeps a copy of its own, whatever the size.
    """
    if size < MIN_ARENA:
        return None
    control_at = _whole_pages(size) - ARENA_PAGE
    front = ARENA_FRONT + _whole_pages(size // ARENA_FRONT_SHARE)
    return _whole_pages((control_at - front) // 2)


def size_for(length: int) -> int:
    """Return how many bytes of shared memory hold blobs of ``length`` bytes."""
    least = 2 * length + ARENA_FRONT + _SPARE_PAGES * ARENA_PAGE
    return math.ceil(least / (1 - 1 / ARENA_FRONT_SHARE) / ARENA_PAGE) * ARENA_PAGE


def _whole_pages(size: int) -> int:
    return size // ARENA_PAGE * ARENA_PAGE
