"""Where test servers live: free ports, and folders with short names."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free and that this process has not given out yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


@contextmanager
def short_folder() -> Iterator[Path]:
    """Give an empty folder whose name leaves room for a socket: its path has at most 107 bytes.

    Everybody may enter it, because servers started as root work as another user.
    """
    folder = Path(tempfile.mkdtemp(prefix="ipgeo-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
