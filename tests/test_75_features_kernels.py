"""The loops over time and over parcels give what plain NumPy, or exact arithmetic, gives pixel by pixel."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from s4c_hpc.features.fill import fill
from s4c_hpc.features.moments import Members, moments, shares
from s4c_hpc.features.shares import BLOCK_PIXELS, ranges_of
from s4c_hpc.features.temporal import bridge, composite, count_observations, interpolate_whole

SEEDS = st.integers(0, 2**32 - 1)
UNLIMITED = 1 << 20
STORED = (("uint16", 1e-4, -0.1), ("int16", 1e-4, 0.0), ("float32", 1.0, 0.0))
"""Type, scale and offset of bands as products have them."""


def some_pixels(rng: np.random.Generator, dtype: str, n_dates: int, n: int) -> NDArray[Any]:
    """Reflectances about 0, as they are stored."""
    if dtype == "float32":
        return rng.normal(0.2, 0.2, (n_dates, n)).astype(np.float32)
    return rng.integers(0 if dtype == "uint16" else -3000, 9000, (n_dates, n)).astype(dtype)


def of_kernels(
    stored: NDArray[Any],
    valid: NDArray[np.uint8],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    period: NDArray[np.int64],
    n_periods: int,
    max_gap: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    counts = np.full((n_periods, stored.shape[1]), 99, np.uint8)
    share, filled = np.full(counts.shape, 9.0, np.float32), np.full(counts.shape, 9.0, np.float32)
    count_observations(valid, period, counts)
    bridge(counts, max_gap, share)
    composite(stored, valid, scale, offset, period, counts, share, filled)
    return filled, counts


def of_numpy(
    physical: NDArray[np.float64], valid: NDArray[np.uint8], period: NDArray[np.int64], n_periods: int, max_gap: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    means = np.full((physical.shape[1], n_periods), np.nan)
    counts = np.zeros((n_periods, physical.shape[1]), np.int64)
    for k in range(n_periods):
        for i in range(physical.shape[1]):
            seen = physical[(period == k) & (valid[:, i] == 1), i]
            counts[k, i] = seen.size
            means[i, k] = seen.mean() if seen.size else np.nan
    return fill(means, max_gap).T, counts


@pytest.mark.parametrize(("dtype", "scale", "offset"), STORED)
@given(
    seed=SEEDS,
    n_dates=st.integers(0, 9),
    n=st.integers(0, 20),
    n_periods=st.integers(1, 9),
    max_gap=st.one_of(st.just(UNLIMITED), st.integers(0, 9)),
    clear=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_composites_are_means_of_periods_with_gaps_filled(
    dtype: str,
    scale: float,
    offset: float,
    seed: int,
    n_dates: int,
    n: int,
    n_periods: int,
    max_gap: int,
    clear: float,
) -> None:
    rng = np.random.default_rng(seed)
    stored = some_pixels(rng, dtype, n_dates, n)
    valid = (rng.random(stored.shape) < clear).astype(np.uint8)
    # Each date has an offset of its own: what is stored changes its meaning within a season.
    scales = np.full(n_dates, scale, np.float32)
    offsets = rng.choice([offset, 0.0], n_dates).astype(np.float32)
    period = np.sort(rng.integers(0, n_periods, n_dates))
    found, counts = of_kernels(stored, valid, scales, offsets, period, n_periods, max_gap)
    physical = stored.astype(np.float64) * scales[:, None].astype(np.float64) + offsets[:, None]
    expected, expected_counts = of_numpy(physical, valid, period, n_periods, max_gap)
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def test_pixels_of_several_tiles_of_the_loop_are_all_done() -> None:
    rng = np.random.default_rng(5)
    n_dates, n, n_periods = 23, 1300, 12
    stored = some_pixels(rng, "uint16", n_dates, n)
    valid = (rng.random(stored.shape) < 0.25).astype(np.uint8)
    valid[:, 600] = 0
    scale, offset = np.full(n_dates, 1e-4, np.float32), np.zeros(n_dates, np.float32)
    period = np.sort(rng.integers(0, n_periods, n_dates))
    found, _ = of_kernels(stored, valid, scale, offset, period, n_periods, 3)
    expected, _ = of_numpy(stored * 1e-4, valid, period, n_periods, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
    assert np.isnan(found[:, 600]).all(), "a pixel that was never seen"
    assert 0 < np.isnan(found).sum() < found.size / 2, "some gaps are too long, most are not"
    whole, day, at = np.full((30, n), 9.0, np.float32), np.arange(n_dates) * 7, np.arange(30) * 5
    interpolate_whole(stored, valid, scale, offset, day, at, whole)
    for i in (0, 511, 512, 513, 600, 1023, 1024, 1299):
        series = {int(d): int(v) for d, v, ok in zip(day, stored[:, i], valid[:, i], strict=True) if ok}
        np.testing.assert_array_equal(whole[:, i], [by_hand(series, int(d)) for d in at])


def test_a_period_may_have_as_many_observations_as_a_byte_counts() -> None:
    """Two products a day of the longest period are 184."""
    n_dates = 255
    stored = np.arange(n_dates, dtype=np.uint16)[:, None]
    ones = np.ones(n_dates, np.float32)
    found, counts = of_kernels(stored, np.ones((n_dates, 1), np.uint8), ones, 0 * ones, np.zeros(n_dates, int), 1, 0)
    assert counts[0, 0] == 255
    assert found[0, 0] == pytest.approx(127.0)


def by_hand(series: dict[int, int], at: int) -> float:
    """Value at a day, in exact arithmetic."""
    before = [day for day in series if day <= at]
    after = [day for day in series if day >= at]
    if not series:
        return math.nan
    if not before or not after:
        return series[min(after) if after else max(before)]
    a, b = max(before), min(after)
    if a == b:
        return series[a]
    return math.trunc(series[a] + Fraction(series[b] - series[a]) * Fraction(at - a, b - a))


@pytest.mark.parametrize(("dtype", "scale", "offset"), STORED)
@given(
    seed=SEEDS,
    n_dates=st.integers(0, 9),
    n=st.integers(0, 8),
    clear=st.sampled_from([0.0, 0.4, 0.8, 1.0]),
    data=st.data(),
)
def test_interpolation_is_exact_in_whole_numbers(
    dtype: str, scale: float, offset: float, seed: int, n_dates: int, n: int, clear: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    stored = some_pixels(rng, dtype, n_dates, n)
    valid = (rng.random(stored.shape) < clear).astype(np.uint8)
    days = st.integers(736_000, 736_030)  # few enough that two products have the same day
    day = np.array(sorted(data.draw(st.lists(days, min_size=n_dates, max_size=n_dates))), np.int64)
    at = np.array(sorted(data.draw(st.lists(days, max_size=6))), np.int64)
    filled = np.full((at.size, n), 9.0, np.float32)
    scales, offsets = np.full(n_dates, scale, np.float32), np.full(n_dates, offset, np.float32)
    interpolate_whole(stored, valid, scales, offsets, day, at, filled)
    for i in range(n):
        # Of two observations of a day the later one stays.
        series = {
            int(d): round(float(v) * scale * 10_000) + round(offset * 10_000)
            if dtype != "float32"
            else int(np.rint(np.float64(v) * 10_000))
            for d, v, ok in zip(day, stored[:, i], valid[:, i], strict=True)
            if ok
        }
        np.testing.assert_array_equal(filled[:, i], [by_hand(series, int(d)) for d in at])


def test_the_last_valid_observation_of_a_day_counts_and_what_is_negative_is_cut_towards_zero() -> None:
    stored = np.array([[100, 7], [300, 8], [-7, 9], [-100, 9]], np.int16)
    valid = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], np.uint8)
    scale, offset = np.full(4, 1e-4, np.float32), np.zeros(4, np.float32)
    filled = np.empty((5, 2), np.float32)
    interpolate_whole(stored, valid, scale, offset, np.array([10, 10, 10, 13]), np.array([5, 10, 12, 13, 90]), filled)
    # 300 of the second product of day 10, as its third one is cloudy; 300 - 400 * 2 / 3 = 33.3
    assert filled[:, 0].tolist() == [300, 300, 33, -100, -100]
    assert np.isnan(filled[:, 1]).all()
    interpolate_whole(stored, valid, scale, offset, np.array([10, 10, 10, 13]), np.array([5, 10, 11, 13, 90]), filled)
    assert filled[2, 0] == 166
    stored[1] = -300
    interpolate_whole(stored, valid, scale, offset, np.array([10, 10, 10, 13]), np.array([5, 10, 11, 13, 90]), filled)
    assert filled[2, 0] == -233, "-233.3 is cut towards zero, not down to -234"


def random_members(rng: np.random.Generator, n_parcels: int, has_edges: bool) -> Members:
    whole = np.append(0, np.cumsum(rng.choice([0, 1, 2, 7, 40], n_parcels)))
    edge = np.append(0, np.cumsum(rng.integers(0, 6, n_parcels) * has_edges))
    return whole, edge, rng.uniform(0.01, 0.99, edge[-1]).astype(np.float32).astype(np.float64)


def by_numpy(line: NDArray[np.float64], members: Members, parcel: int, is_centre: bool) -> tuple[float, float]:
    whole, edge, fraction = members
    rows = np.r_[whole[parcel] : whole[parcel + 1], whole[-1] + edge[parcel] : whole[-1] + edge[parcel + 1]]
    weight = np.r_[np.ones(whole[parcel + 1] - whole[parcel]), fraction[edge[parcel] : edge[parcel + 1]]]
    there = np.isfinite(line[rows])
    values, weight = line[rows][there], weight[there]
    if not values.size:
        return math.nan, math.nan
    mean = np.average(values, weights=weight)
    if is_centre:
        return mean, (values.std(ddof=1) if values.size > 1 else math.nan)
    return mean, np.sqrt(np.average((values - mean) ** 2, weights=weight))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    seed=SEEDS,
    n_parcels=st.integers(0, 8),
    is_centre=st.booleans(),
    centre=st.sampled_from([0.0, 0.3, -1e4, 1e4]),
    cloudy=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_moments_are_those_of_numpy(
    dtype: str, seed: int, n_parcels: int, is_centre: bool, centre: float, cloudy: float
) -> None:
    rng = np.random.default_rng(seed)
    members = random_members(rng, n_parcels, not is_centre)
    values = rng.normal(centre, 0.05, (3, members[0][-1] + members[1][-1])).astype(dtype)
    values[rng.random(values.shape) < cloudy] = np.nan
    out = np.full((3, 2, n_parcels), 9.0, np.float32)
    moments(values, members, is_centre, out)
    for row in range(3):
        for parcel in range(n_parcels):
            mean, stdev = by_numpy(values[row].astype(np.float64), members, parcel, is_centre)
            np.testing.assert_allclose(out[row, 0, parcel], mean, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(out[row, 1, parcel], stdev, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("is_centre", [True, False])
def test_one_pixel_has_no_sample_to_estimate_from(is_centre: bool) -> None:
    members = np.array([0, 1]), np.array([0, 0]), np.empty(0)
    out = np.empty((1, 2, 1), np.float32)
    moments(np.array([[0.25]]), members, is_centre, out)
    assert out[0, 0, 0] == 0.25
    assert np.isnan(out[0, 1, 0]) if is_centre else out[0, 1, 0] == 0.0


@pytest.mark.parametrize("is_centre", [True, False])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 9])
def test_equal_pixels_have_no_deviation(n: int, is_centre: bool) -> None:
    out = np.empty((1, 2, 1), np.float32)
    moments(np.full((1, n), 0.1), (np.array([0, n]), np.array([0, 0]), np.empty(0)), is_centre, out)
    assert out.ravel().tolist() == [np.float32(0.1), 0.0]


@given(seed=SEEDS, n_parcels=st.integers(0, 8), has_edges=st.booleans())
def test_shares_are_of_the_area_of_a_parcel(seed: int, n_parcels: int, has_edges: bool) -> None:
    rng = np.random.default_rng(seed)
    members = random_members(rng, n_parcels, has_edges)
    whole, edge, fraction = members
    counts = rng.integers(0, 3, (4, whole[-1] + edge[-1])).astype(np.uint8)
    out = np.full((4, n_parcels), 9.0, np.float32)
    shares(counts, members, out)
    seen = (counts > 0).astype(np.float64)
    seen[:, whole[-1] :] *= fraction
    for parcel in range(n_parcels):
        inside = np.r_[whole[parcel] : whole[parcel + 1], whole[-1] + edge[parcel] : whole[-1] + edge[parcel + 1]]
        total = whole[parcel + 1] - whole[parcel] + fraction[edge[parcel] : edge[parcel + 1]].sum()
        expected = seen[:, inside].sum(axis=1) / total if total else np.full(4, np.nan)
        np.testing.assert_allclose(out[:, parcel], expected, rtol=1e-6)


@given(pixels=st.lists(st.integers(0, 3_000_000), max_size=60), n_ranks=st.integers(1, 70))
def test_ranks_take_all_blocks_once_and_no_more_than_their_share_and_a_block(pixels: list[int], n_ranks: int) -> None:
    found = ranges_of(np.array(pixels, np.int64), n_ranks)
    assert len(found) == n_ranks
    assert [block for mine in found for block in mine] == list(range(len(pixels)))
    cost = np.array(pixels, np.float64) + BLOCK_PIXELS
    for mine in found:
        if len(mine):
            assert cost[mine.start : mine.stop].sum() <= cost.sum() / n_ranks + cost.max() + 1e-3


def test_equal_blocks_are_shared_equally() -> None:
    assert ranges_of(np.full(12, 5000), 4) == [range(3), range(3, 6), range(6, 9), range(9, 12)]
