"""Waits for other processes by polling with a deadline, never by a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

SECONDS = 60
"""More than a busy machine needs: a deadline only ends a test that has failed."""

_PAUSE = 0.01


def until(check: Callable[[], _T | None], what: str, seconds: float = SECONDS) -> _T:
    """Return the first true value of ``check()``; raise TimeoutError with ``what`` without one."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(_PAUSE)
