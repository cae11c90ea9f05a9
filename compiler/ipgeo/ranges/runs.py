"""Runs in columns."""

import itertools
import operator
from array import array


def coalesce(first: "array[int]", number: "array[int]") -> tuple["array[int]", "array[int]"]:
    """Return the two columns without the runs that repeat the number of the run before them."""
    keep = [True, *map(operator.ne, number[1:], number[:-1])]
    return array("I", itertools.compress(first, keep)), array("I", itertools.compress(number, keep))
