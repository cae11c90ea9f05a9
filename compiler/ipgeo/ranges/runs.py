"""Runs in columns."""

import itertools
import operator
from array import array


def changes(values: "array[int]") -> list[bool]:
    """Return for each run whether its value differs from that of the run before it."""
    return [True, *map(operator.ne, values[1:], values[:-1])]


def coalesce(starts: "array[int]", values: "array[int]") -> tuple["array[int]", "array[int]"]:
    """Return the two columns without the runs that repeat the value of the run before them."""
    keep = changes(values)
    kept = (itertools.compress(column, keep) for column in (starts, values))
    return array("I", next(kept)), array("I", next(kept))
