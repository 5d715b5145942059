"""Filling gaps: linear in time, up to a longest gap, without touching what was observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.season import SeasonSpace, same

from s4c_hpc.core.errors import InputError
from s4c_hpc.series import filled_parcel, gap_filled, open_series

DAY = np.timedelta64(1, "D")
START = np.datetime64("2018-03-01T10:26:48", "us")

VALUE = st.one_of(st.just(float("nan")), st.floats(-1, 1, width=32))
STEPS = st.lists(st.tuples(st.integers(1, 40), VALUE), min_size=1, max_size=25)


def season(steps: list[tuple[int, float]]) -> tuple[NDArray[np.datetime64], NDArray[np.float32]]:
    times = START + np.cumsum([days for days, _ in steps]) * DAY
    return times, np.array([value for _, value in steps], np.float32)


def by_interp(
    times: NDArray[np.datetime64], values: NDArray[np.float32], at: NDArray[np.datetime64], most: float
) -> NDArray[np.float64]:
    """``np.interp`` over the observations, and NaN where those around are too far apart."""
    seen = np.isfinite(values)
    if not seen.any():
        return np.full(len(at), np.nan)
    x, y = times[seen].astype(np.int64).astype(float), values[seen].astype(float)
    now = at.astype("datetime64[us]").astype(np.int64).astype(float)
    result: NDArray[np.float64] = np.interp(now, x, y, left=np.nan, right=np.nan)
    for i, t in enumerate(now):
        inside = np.flatnonzero(x >= t), np.flatnonzero(x <= t)
        if t not in x and inside[0].size and inside[1].size and x[inside[0][0]] - x[inside[1][-1]] > most * 86.4e9:
            result[i] = np.nan
    return result


@given(steps=STEPS, most=st.integers(0, 120))
def test_as_interp_within_the_longest_gap(steps: list[tuple[int, float]], most: int) -> None:
    times, values = season(steps)
    before = values.copy()
    found = gap_filled(times, values, max_gap_days=most)
    np.testing.assert_allclose(found, by_interp(times, values, times, most), rtol=1e-6, atol=1e-7)
    assert same(values, before), "the raw series is never changed"
    seen = np.isfinite(values)
    assert same(found[seen], values[seen]), "an observation stays as it is, bit for bit"


@given(steps=STEPS, most=st.integers(0, 120), every=st.integers(1, 9))
def test_at_other_times(steps: list[tuple[int, float]], most: int, every: int) -> None:
    times, values = season(steps)
    at = np.arange(times[0] - 3 * DAY, times[-1] + 4 * DAY, every * DAY)
    found = gap_filled(times, values, max_gap_days=most, at=at)
    np.testing.assert_allclose(found, by_interp(times, values, at, most), rtol=1e-6, atol=1e-7)


@given(steps=st.lists(STEPS, min_size=2, max_size=2).map(lambda two: two[0]), seed=st.integers(0, 99))
def test_a_parcel_does_not_depend_on_the_others(steps: list[tuple[int, float]], seed: int) -> None:
    times, values = season(steps)
    rng = np.random.default_rng(seed)
    many = np.stack([rng.permutation(values) for _ in range(5)], axis=1)
    together = gap_filled(times, many, max_gap_days=30)
    for i in range(5):
        assert same(together[:, i], gap_filled(times, np.ascontiguousarray(many[:, i]), max_gap_days=30))


def test_the_longest_gap_is_still_bridged_and_a_longer_one_is_not() -> None:
    times = START + np.array([0, 10, 30, 45, 61]) * DAY
    values = np.array([0.0, np.nan, 0.6, np.nan, 0.9], np.float32)
    found = gap_filled(times, values, max_gap_days=30)
    assert found[1] == pytest.approx(0.2)
    assert np.isnan(found[3]), "31 days from the 30th to the 61st"
    assert not np.isnan(gap_filled(times, values, max_gap_days=31)).any()


def test_nothing_is_guessed_at_the_ends() -> None:
    times = START + np.arange(4) * DAY
    found = gap_filled(times, np.array([np.nan, 1, 2, np.nan], np.float32), max_gap_days=30)
    assert np.isnan(found[[0, 3]]).all()
    assert np.isnan(gap_filled(times, np.full(4, np.nan, np.float32), max_gap_days=30)).all()
    assert gap_filled(times[:0], np.empty((0, 3), np.float32), max_gap_days=1, at=times).shape == (4, 3)


def test_two_observations_of_one_instant() -> None:
    times = START + np.array([0, 5, 5, 10]) * DAY
    values = np.array([0.0, np.nan, 0.5, np.nan], np.float32)
    assert gap_filled(times, values, max_gap_days=30)[1] == 0.5


def test_a_gap_that_is_no_number_of_days_is_refused() -> None:
    times = START + np.arange(2) * DAY
    for bad in (-1, float("nan")):
        with pytest.raises(InputError, match="give a number of days"):
            gap_filled(times, np.zeros(2, np.float32), max_gap_days=bad)


@pytest.fixture
def space(tmp_path: Path) -> SeasonSpace:
    made = SeasonSpace(tmp_path)
    made.workspace.config.write_text("")
    for when in ("20180507T102648", "20180512T102148", "20180517T102350", "20180603T101329"):
        made.acquire(when)
    made.season()
    return made


def test_a_filled_table_says_how_it_was_filled(space: SeasonSpace) -> None:
    (series,) = open_series(space.root).parcel(6)
    table = filled_parcel(series, ["ndvi_mean"], max_gap_days=30)
    assert table.column_names[-2:] == ["ndvi_mean", "ndvi_mean__linear_30d"]
    assert table.schema.metadata[b"gap_fill"] == b"linear"
    assert table.schema.metadata[b"max_gap_days"] == b"30"
    described = table.schema.field("ndvi_mean__linear_30d").metadata
    assert (described[b"gap_fill"], described[b"max_gap_days"], described[b"unit"]) == (b"linear", b"30", b"1")
    assert b"gap_fill" not in table.schema.field("ndvi_mean").metadata
    assert same(table["ndvi_mean"].to_numpy(), series.values("ndvi_mean"))


def test_at_regular_days(space: SeasonSpace) -> None:
    (series,) = open_series(space.root).parcel(6)
    table = filled_parcel(series, ["ndvi_mean"], max_gap_days=30, every_days=5)
    assert table.column_names == ["datetime", "sensor", "grid", "ndvi_mean__linear_30d"]
    assert set(zip(table["sensor"].to_pylist(), table["grid"].to_pylist(), strict=True)) == {("s2", "10m")}
    assert [str(t)[:16] for t in table["datetime"].to_pylist()[:2]] == ["2018-05-07 12:00", "2018-05-12 12:00"]
    assert table.num_rows == 6


def test_counts_are_not_filled(space: SeasonSpace) -> None:
    (series,) = open_series(space.root).parcel(6)
    for name in ("n_valid", "ndvi_count"):
        with pytest.raises(InputError, match="counts pixels and has no gaps"):
            filled_parcel(series, [name], max_gap_days=30)


def test_a_column_that_is_not_there_is_named(space: SeasonSpace) -> None:
    (series,) = open_series(space.root).parcel(6)
    with pytest.raises(InputError, match="has no column 'nope'"):
        filled_parcel(series, ["nope"], max_gap_days=30)


def test_an_infinite_value_is_no_observation() -> None:
    times = np.array(["2018-05-01", "2018-05-02", "2018-05-03"], "datetime64[us]")
    found = gap_filled(times, np.array([1, np.inf, 3], np.float32), max_gap_days=30)
    assert found.tolist() == [1, 2, 3]
