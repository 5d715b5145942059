"""One to one matching of found and known events, and the scores of it: properties that any right answer has."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4c_hpc.validation.matching import Counts, counted, gain, intervals, matched, scores

Days = list[int]
days = st.lists(st.integers(0, 60), max_size=4)


def best_of_all(found: Days, known: Days, tolerance: int) -> tuple[int, int]:
    """Most pairs and least sum of errors over every assignment there is."""
    best = (0, 0)
    few, many = (found, known) if len(found) <= len(known) else (known, found)
    for partners in itertools.permutations([*many, *[None] * len(few)], len(few)):
        gaps = [abs(a - b) for a, b in zip(few, partners, strict=True) if b is not None and abs(a - b) <= tolerance]
        best = max(best, (len(gaps), -sum(gaps)))
    return best


@given(days, days, st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_as_many_pairs_as_possible_and_then_as_near_as_possible(found: Days, known: Days, tolerance: int) -> None:
    pairs = matched(found, known, tolerance)
    errors = [abs(found[i] - known[j]) for i, j in pairs]
    assert (len(pairs), -sum(errors)) == best_of_all(found, known, tolerance)
    assert all(error <= tolerance for error in errors)


@given(days, days, st.integers(0, 20))
def test_no_event_is_used_twice(found: Days, known: Days, tolerance: int) -> None:
    pairs = matched(found, known, tolerance)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


@given(days, days, st.integers(0, 20))
def test_matching_does_not_know_which_list_is_the_truth(found: Days, known: Days, tolerance: int) -> None:
    there = matched(found, known, tolerance)
    back = matched(known, found, tolerance)
    assert len(there) == len(back)
    assert sum(abs(found[i] - known[j]) for i, j in there) == sum(abs(known[i] - found[j]) for i, j in back)


def test_one_event_found_between_two_known_ones_counts_once() -> None:
    assert matched([110], [100, 118], 12) == [(0, 1)]
    assert matched([100, 110], [105], 12) in ([(0, 0)], [(1, 0)])
    # Greedy from the nearest pair would find one only.
    assert len(matched([100, 109], [108, 118], 10)) == 2


def test_scores_of_a_table_by_hand() -> None:
    counts = [
        counted("A", [100, 200], [105], 12),
        counted("B", [150], [180], 12),
        counted("C", [90], [], 12),
        counted("D", [130], [120], 12),
    ]
    one = scores(counts)
    assert one.precision == pytest.approx(2 / 5)
    assert one.recall == pytest.approx(2 / 3)
    assert one.f1 == pytest.approx(4 / 8)
    assert one.false_per_season == pytest.approx(3 / 4)
    assert one.false_per_season_without == 1
    assert one.median_error_days == 7.5
    assert one.median_shift_days == 2.5


def test_nothing_known_and_nothing_found_is_no_score() -> None:
    one = scores([counted("A", [], [], 12)])
    assert math.isnan(one.f1)
    assert math.isnan(one.median_error_days)
    assert one.false_per_season == 0


def test_intervals_hold_the_score_and_shrink_with_more_parcels() -> None:
    def some(n: int) -> list[Counts]:
        return [counted(f"P{i}", [100], [100 if i % 3 else 150], 12) for i in range(n)]

    few, many = intervals(some(15))["f1"], intervals(some(600))["f1"]
    for low, high in (few, many):
        assert low <= 2 / 3 <= high
    assert many[1] - many[0] < (few[1] - few[0]) / 3


def test_seasons_of_one_parcel_are_drawn_together() -> None:
    apart = [counted(f"P{i}", [100], [100 if i % 2 else 150], 12) for i in range(60)]
    together = [counted(f"P{i % 2}", [100], [100 if i % 2 else 150], 12) for i in range(60)]
    wide, narrow = intervals(together)["f1"], intervals(apart)["f1"]
    assert list(wide) == [0, 1]
    assert narrow[1] - narrow[0] < 0.4


def test_a_gain_is_paired() -> None:
    good = [counted(f"P{i}", [100], [100], 12) for i in range(20)]
    bad = [counted(f"P{i}", [100], [100 if i % 2 else 150], 12) for i in range(20)]
    value, low, high = gain(good, bad)
    assert value == pytest.approx(0.5)
    assert 0 < low < value < high
    assert gain(bad, bad)[0] == 0
    with pytest.raises(ValueError, match="same parcels"):
        gain(good, bad[:3])
