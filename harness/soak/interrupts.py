"""SIGINT and SIGTERM: they end a run, but only where it can be ended in good order.

An exception that a signal raises while a process is being started is lost, or leaves a process
that nothing stops. So a signal is only noted there, and taken where no process is being started.
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
    """Let a signal raise KeyboardInterrupt in this block, once, also one that has come before."""
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
