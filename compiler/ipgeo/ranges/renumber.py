"""Runs of either family with other ids."""

from array import array
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from ipgeo.ranges.columns import Runs4, Runs6

AnyRuns = TypeVar("AnyRuns", bound=Runs4 | Runs6)


def renumbered(runs: AnyRuns, number_of: Mapping[int, int]) -> AnyRuns:
    """Return the same runs with ``number_of`` their ids for ids; neighbours may be equal."""
    return replace(runs, ids=array("I", map(number_of.__getitem__, runs.ids)))


def uniform6(an_id: int) -> Runs6:
    """Return all IPv6 addresses as one run."""
    return Runs6(array("Q", [0]), array("Q", [0]), array("I", [an_id]))
