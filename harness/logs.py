"""The rule about logs: a test declares the error lines that it provokes; any other one fails it.

Every server of the harness registers its logs here. A line belongs to the test during which it was
written, even if the server outlives that test.
"""

import re
from collections.abc import Iterable
from pathlib import Path

NGINX = re.compile(r"\[(?:error|crit|alert|emerg)\]")
GUNICORN = re.compile(r"\[(?:ERROR|CRITICAL)\]|^Traceback ")

_watched: "list[Log]" = []


class Log:
    """A growing log file; its ``bad`` lines must be declared."""

    def __init__(self, path: Path, bad: re.Pattern[str]) -> None:
        """Watch ``path`` from its present end on; it need not exist yet."""
        self.path = path
        self._bad = bad
        self._offset = path.stat().st_size if path.exists() else 0
        self._pending: list[str] = []
        self._last_text = ""
        _watched.append(self)

    def text(self) -> str:
        """Return all that was logged so far."""
        if self.path.exists():
            self._last_text = self.path.read_text(errors="replace")
        return self._last_text

    def take(self) -> list[str]:
        """Return the bad lines that no earlier call has returned."""
        self._read()
        taken, self._pending = self._pending, []
        return taken

    def close(self) -> None:
        """Read the file before its folder is removed; lines and text remain available."""
        self._read()
        self.text()

    def _read(self) -> None:
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
            self._offset += len(new)
            self._pending += filter(self._bad.search, _entries(new.decode(errors="replace")))


_TRACEBACK = r"Traceback .*(?:\n .*)*(?:\n.+)?"
_ENTRY = re.compile(rf"^{_TRACEBACK}(?:\n\n.+:\n\n{_TRACEBACK})*|^.+", re.MULTILINE)


def _entries(text: str) -> list[str]:
    """Split logged text into lines; a traceback, which has several, stays one entry."""
    return _ENTRY.findall(text)


def undeclared(declared: Iterable[str]) -> list[str]:
    """Take the new bad lines of all logs; return those that match none of the expressions."""
    allowed = [re.compile(expression) for expression in declared]
    new = [line for log in _watched for line in log.take()]
    return [line for line in new if not any(pattern.search(line) for pattern in allowed)]
