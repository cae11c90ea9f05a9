"""What a client has counted."""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

WRONG, MIXED, STALE, FAILED = "wrong", "mixed", "stale", "failed"
FAULTS = (WRONG, MIXED, STALE, FAILED)

_MAX_EXAMPLES = 20


def _latencies() -> "dict[tuple[bool, bool], array[float]]":
    return {(swaps, single): array("f") for swaps in (False, True) for single in (False, True)}


@dataclass
class Tally:
    """Counts of answers; faults and retries count by response.

    ``right`` counts the addresses that were answered rightly, by kind of request, ``right_ipv6``
    those of IPv6, whatever the kind. ``latencies`` has the seconds of responses by (during the
    swaps, one address). ``responses`` are all that came, whatever was in them, ``by_fallback``
    those of them that the fallback gave.
    """

    right: Counter[str] = field(default_factory=Counter)
    right_ipv6: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    retried: int = 0
    responses: int = 0
    by_fallback: int = 0
    latencies: "dict[tuple[bool, bool], array[float]]" = field(default_factory=_latencies)

    @property
    def answers(self) -> int:
        """The number of right answers."""
        return self.right.total()

    @property
    def faultless(self) -> bool:
        """Whether nothing was wrong, mixed, stale or failed."""
        return not self.faults.total()

    def fault(self, kind: str, example: str) -> None:
        """Count a fault; the first ones are kept as examples."""
        self.faults[kind] += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(f"{kind}: {example}")

    def add(self, other: "Tally") -> None:
        """Add what another client has counted."""
        self.right += other.right
        self.right_ipv6 += other.right_ipv6
        self.faults += other.faults
        self.examples += other.examples
        self.retried += other.retried
        self.responses += other.responses
        self.by_fallback += other.by_fallback
        for key, seconds in other.latencies.items():
            self.latencies[key] += seconds


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all do not exceed; NaN of none."""
    if not ascending:
        return math.nan
    return ascending[math.ceil(share * len(ascending)) - 1]
