"""Periods follow from the season alone, and gaps are filled as a plain loop over one row would."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.features.fill import fill, longest_gap
from s4c_hpc.features.periods import Period, months, periods, place_of, weeks

DAYS = st.dates(dt.date(2000, 1, 1), dt.date(2040, 12, 31))
LENGTHS = st.integers(0, 800)


def assert_partition(found: tuple[Period, ...], start: dt.date, end: dt.date) -> None:
    days = [p.first + dt.timedelta(days=i) for p in found for i in range(p.n_days)]
    assert days == [start + dt.timedelta(days=i) for i in range((end - start).days + 1)]


@given(start=DAYS, length=LENGTHS, every=st.integers(1, 92))
def test_periods_hold_every_day_of_the_season_once(start: dt.date, length: int, every: int) -> None:
    end = start + dt.timedelta(days=length)
    found = periods(start, end, every)
    assert_partition(found, start, end)
    assert {p.n_days for p in found[:-1]} <= {every}
    assert found[-1].n_days <= every


@given(start=DAYS, length=LENGTHS)
def test_weeks_are_those_of_the_iso_calendar(start: dt.date, length: int) -> None:
    end = start + dt.timedelta(days=length)
    found = weeks(start, end)
    assert_partition(found, start, end)
    assert len({p.week for p in found}) == len(found)
    assert all(p.first.weekday() == 0 for p in found[1:])
    assert all(p.last.weekday() == 6 for p in found[:-1])


@given(start=DAYS, length=LENGTHS, n=st.integers(1, 12))
def test_months_begin_with_that_of_the_season(start: dt.date, length: int, n: int) -> None:
    end = start + dt.timedelta(days=length)
    found = months(start, end, n)
    assert_partition(found, start, end)
    for period in found:
        counts = {d.year * 12 + d.month for d in (period.first, period.last)}
        assert max(counts) - min(counts) < n
        assert (min(counts) - start.year * 12 - start.month) % n == 0


def test_names_of_a_season() -> None:
    start, end = dt.date(2018, 3, 2), dt.date(2018, 4, 10)
    assert periods(start, end, 20) == (
        Period(dt.date(2018, 3, 2), dt.date(2018, 3, 21)),
        Period(dt.date(2018, 3, 22), end),
    )
    assert [p.week for p in weeks(start, end)] == ["201809", "201810", "201811", "201812", "201813", "201814", "201815"]
    assert [p.month for p in months(start, end, 1)] == ["201803", "201804"]
    # A week that two years share is one week.
    assert [p.week for p in weeks(dt.date(2018, 12, 30), dt.date(2019, 1, 7))] == ["201852", "201901", "201902"]


@given(start=DAYS, days=st.lists(DAYS, max_size=20))
def test_a_day_is_in_the_period_that_holds_it(start: dt.date, days: list[dt.date]) -> None:
    found = periods(start, start + dt.timedelta(days=400), 10)
    by_hand = [next((i for i, p in enumerate(found) if p.first <= day <= p.last), -1) for day in days]
    assert place_of(days, found).tolist() == by_hand


def filled_by_hand(row: list[float], max_gap: int | None) -> list[float]:
    """One row, gap by gap."""
    seen = [i for i, value in enumerate(row) if np.isfinite(value)]
    result = [value if np.isfinite(value) else float("nan") for value in row]
    for a, b in zip([-1, *seen], [*seen, len(row)], strict=True):
        if max_gap is not None and b - a - 1 > max_gap:
            continue
        for i in range(a + 1, b):
            if a < 0 and b == len(row):
                continue
            if a < 0:
                result[i] = row[b]
            elif b == len(row):
                result[i] = row[a]
            else:
                result[i] = row[a] + (row[b] - row[a]) * (i - a) / (b - a)
    return result


@given(
    rows=st.integers(1, 12).flatmap(
        lambda k: st.lists(
            st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), min_size=k, max_size=k),
            min_size=1,
            max_size=6,
        )
    ),
    max_gap=st.one_of(st.none(), st.integers(0, 12)),
)
def test_fill_is_what_a_loop_over_the_gaps_gives(rows: list[list[float]], max_gap: int | None) -> None:
    values = np.array(rows)
    before = values.copy()
    np.testing.assert_allclose(
        fill(values, max_gap), [filled_by_hand(row, max_gap) for row in rows], rtol=1e-12, atol=1e-9
    )
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(("days", "every", "expected"), [(60, 10, 6), (60, 7, 8), (5, 10, 0), (None, 10, None)])
def test_longest_gap_in_periods(days: int | None, every: int, expected: int | None) -> None:
    assert longest_gap(days, every) == expected


def test_fill_keeps_type_and_empty_shapes() -> None:
    assert fill(np.full((3, 4), np.nan, np.float32), None).dtype == np.float32
    assert np.isnan(fill(np.full((3, 4), np.nan, np.float32), None)).all()
    assert fill(np.empty((0, 4)), 2).shape == (0, 4)
    assert fill(np.empty((2, 0)), 2).shape == (2, 0)
