"""SIGINT and SIGTERM: they end a run, but only at points where it can end cleanly.

If a signal raised an exception while a process is being started, that exception would be lost, or
the process would never be stopped. So a signal is only noted there, and acted on later.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class _State:
    came = False
    may_raise = False


_state = _State()


def catch() -> None:
    """Take the two signals from now on.

    SIGINT too: Python leaves it ignored where a shell has started this in the background.
    """
    signal.signal(signal.SIGINT, _note)
    signal.signal(signal.SIGTERM, _note)


def came() -> bool:
    """Whether there was a signal."""
    return _state.came


@contextmanager
def taken() -> Iterator[None]:
    """Raise KeyboardInterrupt in this block, once, for a signal now or before the block."""
    _state.may_raise = True
    try:
        if _state.came:
            raise KeyboardInterrupt
        yield
    finally:
        _state.may_raise = False


def _note(*_: object) -> None:
    _state.came = True
    if _state.may_raise:
        _state.may_raise = False  # the way out is not interrupted again
        raise KeyboardInterrupt
