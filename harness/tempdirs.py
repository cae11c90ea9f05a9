"""Temporary folders for test servers."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_tempdir() -> Iterator[Path]:
    """Give an empty folder whose name leaves room for a socket: its path has at most 107 bytes.

    Every user may enter it, because servers started as root work as another user.
    """
    folder = Path(tempfile.mkdtemp(prefix="ipgeo-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
