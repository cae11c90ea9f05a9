"""The formats that a source may have. A new one is a module and an entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ipgeo.errors import InputError
from ipgeo.places.location import NAME_FIELDS, Source
from ipgeo.ranges.address import IPV4, IPV6
from ipgeo.sources import dat
from ipgeo.sources.content import content_name, read_content
from ipgeo.sources.mmdb.metadata import recognises as recognises_mmdb
from ipgeo.sources.mmdb.reader import FORMAT as MMDB
from ipgeo.sources.mmdb.source import EXTRA, read_mmdb
from ipgeo.sources.options import DEFAULTS, ReadOptions
from ipgeo.sources.unreadable import problem_of


@dataclass(frozen=True, slots=True)
class Carries:
    """What the files of a format can carry.

    ``families`` and ``fields`` are standard names; ``languages`` are those of the names, empty if
    each file has its own.
    """

    families: tuple[str, ...]
    fields: tuple[str, ...]
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Format:
    """A format that can be read.

    ``name`` is in ``--format`` and in a blob's metadata, ``title`` is for people. ``recognises``
    tells from the whole unpacked content, which may be damaged, whether it has this format.
    ``read`` reads such content of the file ``path``; it raises InputError, naming the position.
    """

    name: str
    title: str
    carries: Carries
    recognises: Callable[[bytes], bool]
    read: Callable[[Path | str, bytes, ReadOptions], Source]


FORMATS = (
    Format(
        name=dat.FORMAT,
        title="17mon/IPIP .dat",
        carries=Carries((IPV4.name,), dat.ALL_FIELDS, ("zh-CN",)),
        recognises=dat.recognises,
        read=dat.read,
    ),
    Format(
        name=MMDB,
        title="MaxMind DB .mmdb: MaxMind, DB-IP, IPinfo, lists",
        carries=Carries((IPV4.name, IPV6.name), (*NAME_FIELDS, *EXTRA)),
        recognises=recognises_mmdb,
        read=read_mmdb,
    ),
)
"""In the order in which content is compared with them."""


def read_source(path: Path, name: str | None = None, options: ReadOptions = DEFAULTS) -> Source:
    """Read and check a whole source of the format ``name``; without one, its content decides.

    ``path`` may be STDIN. Raises InputError, naming the file and the place in it, for content
    that has no format, or breaks it, and OSError for a file that cannot be read.
    """
    # In a list, from which it is taken: then the reader alone holds it, and can free its memory.
    content = [read_content(path)]
    chosen = _named(name) if name else _recognised(path, content[0])
    return chosen.read(content_name(path), content.pop(), options)


def _named(name: str) -> Format:
    return next(known for known in FORMATS if known.name == name)


def _recognised(path: Path, content: bytes) -> Format:
    for known in FORMATS:
        if known.recognises(content):
            return known
    names = ", ".join(known.name for known in FORMATS)
    unknown = f"damaged, or no format that is read ({names}); --format reads it as one of them"
    raise InputError(content_name(path), "", problem_of(content) or unknown)
