"""Runs in columns, of both families."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from ipgeo.ranges.columns import Runs4, Runs6

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=20)


def runs4(starts: list[int], ids: list[int]) -> Runs4:
    return Runs4(array("I", starts), array("I", ids))


def runs6(starts: list[int], ids: list[int]) -> Runs6:
    highs = array("Q", (start >> 64 for start in starts))
    lows = array("Q", (start & (1 << 64) - 1 for start in starts))
    return Runs6(highs, lows, array("I", ids))


def answers(runs: Runs4 | Runs6) -> list[tuple[int, int]]:
    """The id of each address at which a run begins or ends."""
    return [(address, number) for first, last, number in runs for address in (first, last)]


def test_a_run_ends_before_the_next_one() -> None:
    runs = runs4([0, 5, 1 << 31], [7, 8, 7])
    assert len(runs) == 3
    assert list(runs) == [(0, 4, 7), (5, (1 << 31) - 1, 8), (1 << 31, (1 << 32) - 1, 7)]


def test_a_start_has_128_bits() -> None:
    runs = runs6([0, 1, (1 << 64) - 1, 1 << 64, 5 << 64 | 9], [1, 2, 3, 4, 5])
    assert len(runs) == 5
    assert list(runs) == [
        (0, 0, 1),
        (1, (1 << 64) - 2, 2),
        ((1 << 64) - 1, (1 << 64) - 1, 3),
        (1 << 64, (5 << 64 | 9) - 1, 4),
        (5 << 64 | 9, (1 << 128) - 1, 5),
    ]


@given(IDS)
def test_coalesced_runs_have_the_same_ids_everywhere(ids: list[int]) -> None:
    for runs in (
        runs4([n << 20 for n in range(len(ids))], ids),
        runs6([n << 60 for n in range(len(ids))], ids),
    ):
        fewer = runs.coalesced()
        assert all(this != before for this, before in zip(fewer.ids[1:], fewer.ids, strict=False))
        found = {number for _, number in answers(fewer)}
        assert found == set(ids)
        for address, number in answers(runs):
            assert [n for first, last, n in fewer if first <= address <= last] == [number]
