"""The codes of a location: from an operator's code files, its source, or the built-in tables.

A name's code is looked up within its country and province, never by the bare name: 鹤岗 under 日本
has no code, though 鹤岗 under 中国 黑龙江 has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ipgeo.places.built_in import CHINA, Place, built_in
from ipgeo.places.kinds import kind_of
from ipgeo.places.location import Location, NamePath

_IsoCodes = tuple[str | None, str | None]


@dataclass(frozen=True)  # no slots: it caches properties
class Codes:
    """The built-in codes, those that a source has, and an operator's ``by_names``.

    ``by_names`` take precedence, then the source's.

    The keys of ``by_names`` are (country,), (country, province) or (country, province, city). A
    code for one of a place's names applies to all names that the built-in tables have for the
    place, unless ``by_names`` has another code for that name: 河南 and 河南省 are one place.
    ``facts`` describes the operator's files for a blob's metadata.
    """

    by_names: Mapping[NamePath, str] = field(default_factory=dict)
    facts: tuple[dict[str, str | int], ...] = ()

    def of(self, location: Location) -> tuple[str | None, str | None, str | None]:
        """Return the country, province and city code of ``location``; None for a missing one."""
        names = _names(location)
        place = self._place(names, location.iso_codes)
        country, province, city = (self._code(names[:end], place[:end]) for end in (1, 2, 3))
        return country, province, city

    def uncoded(self, location: Location) -> Iterator[NamePath]:
        """Yield the paths of names in ``location`` that should have a code but have none.

        Every country should; a province or city only in a country (province) for which the tables
        list any provinces (cities). A name that is known not to be a place should not.
        """
        names = _names(location)
        place = self._place(names, location.iso_codes)
        for end in (1, 2, 3):
            path, parent = names[:end], place[: end - 1]
            if not path[-1] or self._code(path, place[:end]):
                continue
            listed = parent in built_in().parents or path[:-1] in self._listed
            if listed and not (end == 1 and kind_of(path[0])):
                yield path

    def kind(self, location: Location) -> str | None:
        """Return the kind of a location that is not a place; None if it is or may be a place."""
        country, _, _ = self.of(location)
        return None if country else kind_of(location.country)

    def _code(self, names: NamePath, place: Place) -> str | None:
        return self.by_names.get(names) or self._by_place.get(place) or place[-1]

    def _place(self, names: NamePath, iso_codes: _IsoCodes = (None, None)) -> Place:
        """Return the codes that identify the place of each name.

        A built-in code identifies its place even if the operator gives the place another code.
        """
        place: Place = ()
        for end, (name, own) in enumerate(zip(names, (*iso_codes, None), strict=False), start=1):
            code = _in_tables(place, name, own) or self.by_names.get(names[:end])
            place = (*place, code)
        return place

    @cached_property
    def _by_place(self) -> Mapping[Place, str]:
        codes: dict[Place, str] = {}
        for path, code in self.by_names.items():
            codes.setdefault(self._place(path), code)
        return codes

    @cached_property
    def _listed(self) -> frozenset[NamePath]:
        return frozenset(path[:-1] for path in self.by_names)


def _in_tables(parent: Place, name: str, own: str | None) -> str | None:
    """Return the code of a name by its source's ``own`` ISO code, or by the tables.

    China's provinces have a code of GB/T 2260 in place of their ISO code.
    """
    if own and parent != (CHINA,):
        return own
    return (own and built_in().find(parent, own)) or built_in().find(parent, name)


def _names(location: Location) -> NamePath:
    return location.known_as or (location.country, location.province, location.city)
