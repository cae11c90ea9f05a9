"""Packed files for tests: every form in which a source may be given."""

import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Mapping


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of ``members``, by their names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _in_parts(pack: Callable[[bytes], bytes], data: bytes) -> bytes:
    middle = len(data) // 2
    return pack(data[:middle]) + pack(data[middle:])


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "gzip of two members": lambda data: _in_parts(_gzip, data),
    "xz": lzma.compress,
    "xz of two streams, padded": lambda data: _in_parts(lzma.compress, data) + bytes(8),
    "zip": lambda data: zipped({"source.dat": data}),
    "zip, stored": lambda data: zipped({"source.dat": data}, zipfile.ZIP_STORED),
    "zip, by bzip2": lambda data: zipped({"source.dat": data}, zipfile.ZIP_BZIP2),
    "zip, by lzma": lambda data: zipped({"source.dat": data}, zipfile.ZIP_LZMA),
    "zip with a folder": lambda data: zipped({"folder/": b"", "folder/source.dat": data}),
    "gzip in a zip": lambda data: zipped({"source.dat.gz": _gzip(data)}),
    "xz in gzip": lambda data: _gzip(lzma.compress(data)),
    "zip in xz": lambda data: lzma.compress(zipped({"source.dat": data})),
}
