"""The standard streams of a program with machine-readable output.

Standard output is UTF-8 in every locale. Once its reader has left (``| head -1``), further output
is dropped without changing the exit status. The same holds for messages that cannot be written to
standard error.
"""

import errno
import io
import os
import sys
from typing import Any

INTERRUPTED = 130
"""The exit status after Ctrl-C, as the shell has it: 128 and the signal's number."""

STDIN, STDOUT, STDERR = 0, 1, 2


class _Stream(io.FileIO):
    """A standard stream to write to, which ignores errors of some kinds."""

    def __init__(self, descriptor: int, ignored: frozenset[int] | None) -> None:
        """Ignore the error numbers ``ignored``, None for all."""
        super().__init__(descriptor, "w", closefd=False)
        self._ignored = ignored
        self.reader_has_left = False

    def write(self, data: Any, /) -> int:  # any buffer
        try:
            return super().write(data)
        except OSError as error:
            if self._ignored is not None and error.errno not in self._ignored:
                raise
            self.reader_has_left = True
            return memoryview(data).nbytes


def prepare() -> None:
    """Set the streams up, once, before anything is read or written.

    A closed standard input or output stays None in ``sys``, but no file gets its number. A closed
    standard error drops what it is given: click would write a message to standard output instead.
    """
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is not None:
        raw = _Stream(STDOUT, frozenset({errno.EPIPE}))
        sys.stdout = _text(raw, "utf-8")
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = _text(_Stream(STDERR, None), encoding)


def _text(raw: _Stream, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace")


def reader_has_left() -> bool:
    """Whether the reader of standard output has closed it."""
    buffer = getattr(sys.stdout, "buffer", None)
    return bool(getattr(getattr(buffer, "raw", None), "reader_has_left", False))
