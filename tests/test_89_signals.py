"""Weeks around known events, against the numbers that JRC's SALMS package has computed from the same series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.salms import DESCRIPTORS, N_WEEKS, events, series, signals

from s4c_hpc.validation.signals import WeekSignal, behaviour, weeks_around

ROWS = {
    **dict.fromkeys(("B04", "B08", "BSI", "GARI", "NDVI"), 159),
    **dict.fromkeys(("RVI", "s1_coh6", "s1_coh6_VV", "s1_coh6_VH"), 255),
    **dict.fromkeys(("s1_bs_rAD", "s1_bs_VH_rAD"), 254),
}
"""Rows of the package's file of each band."""


def around(band: str, descriptors: tuple[str, ...]) -> list[NDArray[np.float64]]:
    """Weekly means around the 17 mowings, in their order."""
    rows = series()
    rows = rows[rows["band"] == band]
    found = []
    for field, event in zip(events()["ID"].tolist(), events()["day"].tolist(), strict=True):
        own = rows[rows["ID"] == field]
        day, values = own["day"].to_numpy(np.int64), own[list(descriptors)].to_numpy(np.float64)
        found.append(weeks_around(day, values, event, N_WEEKS))
    return found


@pytest.mark.parametrize("band", ROWS)
def test_every_row_of_the_package_is_ours(band: str) -> None:
    expected = signals()
    expected = expected[expected["band"] == band]
    assert len(expected) == ROWS[band]
    n_ours = 0
    for event, weeks in zip(events().itertuples(), around(band, DESCRIPTORS), strict=True):
        theirs = expected[(expected["ID"] == event.ID) & (expected["EVENT_DATE"] == event.date)]
        there = np.flatnonzero(np.isfinite(weeks[:, DESCRIPTORS.index("MEAN")]))
        n_ours += there.size
        assert (there + 1).tolist() == sorted(theirs["WEEK"])
        wanted = theirs.sort_values("WEEK")[list(DESCRIPTORS)].to_numpy(np.float64)
        np.testing.assert_allclose(weeks[there], wanted, rtol=0, atol=1e-9)
    assert n_ours == ROWS[band]


def test_the_first_row_by_eye() -> None:
    first = around("NDVI", ("P50", "MEAN"))[0][0]
    assert first.tolist() == pytest.approx([0.840185830429733, 0.840964584473187], abs=1e-15)


def changes(band: str) -> dict[int, WeekSignal]:
    return {one.week: one for one in behaviour([weeks[:, 0] for weeks in around(band, ("P50",))])}


@pytest.mark.parametrize(
    ("week", "n", "mean", "low", "high", "p"),
    [
        (-7, 4, -0.0955, -0.212, 0.021, 0.080),
        (-6, 3, -0.0458, -0.325, 0.234, 0.554),
        (1, 4, -0.2101, -0.491, 0.071, 0.098),
        (2, 3, -0.1172, -0.177, -0.057, 0.0138),
        (3, 4, -0.1579, -0.282, -0.034, 0.0273),
    ],
)
def test_ndvi_falls_in_the_weeks_after_a_mowing(
    week: int, n: int, mean: float, low: float, high: float, p: float
) -> None:
    """Paired t-tests against the week before the event, recomputed apart from this project."""
    found = changes("NDVI")[week]
    assert found.n == n
    assert found.mean == pytest.approx(mean, abs=6e-5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-4)
    assert found.p == pytest.approx(p, rel=5e-3)


def test_too_few_pairs_have_no_interval() -> None:
    found = changes("NDVI")[-4]
    assert found.n < 3
    assert math.isnan(found.p)
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("week", "mean", "stdev"),
    [(-7, 0.0514, 0.0896), (0, -0.0013, 0.0590), (2, 0.0523, 0.0645), (3, 0.0802, 0.0619), (7, 0.0881, 0.0867)],
)
def test_coherence_rises_by_about_one_standard_deviation(week: int, mean: float, stdev: float) -> None:
    found = changes("s1_coh6")[week]
    assert found.n == 17
    assert (found.mean, found.stdev) == pytest.approx((mean, stdev), abs=6e-5)


@given(st.integers(-3000, 30000), st.integers(0, 5), st.integers(0, 400))
def test_weeks_begin_on_mondays_whatever_the_year(event: int, n_weeks: int, shift: int) -> None:
    day = np.arange(event - 60, event + 60, dtype=np.int64)
    values = day[:, None].astype(np.float64)
    found = weeks_around(day, values, event, n_weeks)
    assert found.shape == (2 * n_weeks + 1, 1)
    assert np.diff(found[:, 0]).tolist() == [7.0] * (2 * n_weeks)
    assert -3 <= found[n_weeks, 0] - event <= 3
    moved = weeks_around(day + 7 * shift, values, event + 7 * shift, n_weeks)
    np.testing.assert_array_equal(moved, found)


def test_a_week_is_the_mean_of_what_was_seen_in_it() -> None:
    day = np.array([4, 5, 6, 20], np.int64)  # 5 January 1970 was a Monday
    values = np.array([[9.0, np.nan], [2.0, 1.0], [4.0, np.nan], [7.0, np.nan]])
    found = weeks_around(day, values, 4, 2)
    np.testing.assert_array_equal(found[:, 0], [np.nan, np.nan, 5.0, np.nan, 7.0])
    np.testing.assert_array_equal(found[:, 1], [np.nan, np.nan, 1.0, np.nan, np.nan])


def test_what_never_changes_is_not_tested() -> None:
    same = behaviour([np.full(5, 0.5)] * 4)
    assert all(math.isnan(one.p) for one in same)
    assert [one.mean for one in same] == [0.0] * 5
