"""The difference of two blobs as text and as JSON."""

import json
from typing import Any

from ipgeo.ranges.address import IPV4, IPV6, Family, format_address
from ipgeo.release.diff import ChangedRange, Diff, FamilyDiff
from ipgeo.text import printable

MAX_COUNTRIES_SHOWN = 20


def as_dict(found: Diff) -> dict[str, Any]:
    """Return what ``--json`` prints of a difference; ``share`` is in percent.

    IPv6 is under ``ipv6``, null if neither blob has it; there ``networks48`` counts /48 networks.
    """
    return _family_dict(found.v4) | {"ipv6": _family_dict(found.v6) if found.v6 else None}


def _family_dict(found: FamilyDiff) -> dict[str, Any]:
    units = _unit_name(found.family)
    return {
        units: found.changed,
        "share": found.percent,
        "countries": [
            {"old": old, "new": new, units: count}
            for (old, new), count in found.countries.most_common(MAX_COUNTRIES_SHOWN)
        ],
        "ranges": found.ranges,
        "largest": [_change_dict(found.family, change) for change in found.largest],
    }


def _unit_name(family: Family) -> str:
    return "networks48" if family == IPV6 else "addresses"


def as_lines(found: Diff) -> list[str]:
    """Return the same as text."""
    changed = [family for family in found.families if family.ranges]
    if not changed:
        return ["no address changed"]
    return [line for family in changed for line in _family_lines(family)]


def _family_lines(found: FamilyDiff) -> list[str]:
    top = found.countries.most_common(MAX_COUNTRIES_SHOWN)
    changed = f"{found.changed:,} {found.family.units} changed"
    return [
        f"{changed}, {_share_of(found)}, in {found.ranges} ranges",
        _heading("by country", len(top), len(found.countries)),
        *(f"  {count:>13,}  {_country(old)} → {_country(new)}" for (old, new), count in top),
        *_largest_lines(found),
    ]


def _share_of(found: FamilyDiff) -> str:
    """Return which share of what has changed."""
    of_what = "of all" if found.family == IPV4 else "of those with data"
    return f"{show_percent(found.percent)} {of_what}"


def largest_lines(found: Diff) -> list[str]:
    """Return the largest changed ranges as text."""
    changed = [family for family in found.families if family.ranges]
    return [line for family in changed or [found.v4] for line in _largest_lines(family)]


def _largest_lines(found: FamilyDiff) -> list[str]:
    return [
        _heading("the largest changed ranges", len(found.largest), found.ranges),
        *(_change_line(found.family, change) for change in found.largest),
    ]


def show_percent(value: float) -> str:
    """Return ``value`` with as many of six decimals as it has: one address is 0.00000002 %."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + " %"


def _heading(what: str, shown: int, all_of_them: int) -> str:
    return f"{what}:" if shown == all_of_them else f"{what}, {shown} of {all_of_them}:"


def _country(name: str | None) -> str:
    return "no data" if name is None else printable(name) or '""'


def _change_line(family: Family, change: ChangedRange) -> str:
    first, last = (format_address(family, address) for address in (change.first, change.last))
    old, new = (printable(answer.decode()) for answer in _forms(change))
    weight = family.weigh(change.first, change.last)
    return f"  {weight:>13,}  {first} - {last}  {old} → {new}"


def _change_dict(family: Family, change: ChangedRange) -> dict[str, Any]:
    old, new = (json.loads(answer) for answer in _forms(change))
    return {
        "first": format_address(family, change.first),
        "last": format_address(family, change.last),
        _unit_name(family): family.weigh(change.first, change.last),
        "old": old,
        "new": new,
    }


def _forms(change: ChangedRange) -> tuple[bytes, bytes]:
    """Return both answers as JSON: the arrays, or the objects where only these differ."""
    old, new = change.old, change.new
    if old and new and old.array == new.array:
        return old.object_without_ip, new.object_without_ip
    return old.array if old else b"null", new.array if new else b"null"
