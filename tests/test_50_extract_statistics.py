"""Statistics against numpy (centre) and exactextract (coverage)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource
from exactextract.raster import NumPyRasterSource
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.polygons import TILE, centres, random_parcels

from s4c_hpc.config import Weighting
from s4c_hpc.core.errors import InternalError
from s4c_hpc.extract import BlockStatistics, IndexBlock, RowRanges, block_statistics, build_index, farmland_mask

GRID = TILE.grid(10)
STATISTICS = ("p90", "count", "mean", "stdev", "min", "max", "median", "p0", "p25", "p75", "p100")
USABLE = np.array([False, True, False, False, False, True, False])
seeds = st.integers(0, 2**32 - 1)


def image(rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
    shape = (GRID.height, GRID.width)
    if kind == "integers":  # many equal values
        return rng.integers(0, 40, shape).astype(np.float64)
    if kind == "constant":
        return np.full(shape, 0.1)
    return rng.normal(0.3, 0.2, shape)


def extracted(
    parcels: NDArray[np.object_],
    layers: list[NDArray[np.float64]],
    categories: NDArray[np.uint8],
    weighting: Weighting,
    statistics: tuple[str, ...] = STATISTICS,
    usable: NDArray[np.bool_] = USABLE,
) -> BlockStatistics:
    """The way of a raster through mask, stack order, index and kernel."""
    cells = farmland_mask(parcels, TILE, 20.0).cells(GRID)
    new_id = np.arange(len(parcels), dtype=np.int32)
    (block,) = build_index(new_id, np.zeros_like(new_id), parcels, cells, weighting, 0.0)
    row = np.repeat(cells.row, cells.c1 - cells.c0)
    column = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in zip(cells.c0, cells.c1, strict=True))])
    rows = block.ranges()
    local = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in rows)])
    values = np.stack([layer[row, column][local] for layer in layers])
    return block_statistics(block, rows, values, categories[row, column][local], usable, statistics, weighting)


def numpy_statistic(name: str, values: NDArray[np.float64]) -> float:
    if name == "count":
        return float(values.size)
    if values.size == 0 or (name == "stdev" and values.size < 2):
        return np.nan
    if name == "stdev":
        return float(np.std(values, ddof=1))
    if name in {"mean", "min", "max", "median"}:
        return float(getattr(np, name)(values))
    return float(np.percentile(values, float(name[1:])))


@settings(max_examples=20)
@given(seed=seeds, kind=st.sampled_from(["integers", "constant", "reals"]))
def test_centre_equals_numpy(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    parcels = shapely.transform(random_parcels(seed, 16), lambda xy: xy + np.array([0.1234567, 0.7654321]))
    layer = image(rng, kind)
    layer[rng.random(layer.shape) < 0.1] = np.nan
    layer[rng.random(layer.shape) < 0.02] = np.inf
    categories = rng.integers(0, 7, layer.shape).astype(np.uint8)
    found = extracted(parcels, [layer, -layer], categories, Weighting.CENTRE)
    x, y = centres(GRID)
    for i, parcel in enumerate(parcels):
        inside = np.zeros(layer.shape, np.bool_) if parcel is None else shapely.contains_xy(parcel, x, y)
        counts = np.bincount(categories[inside], minlength=7)
        assert np.array_equal(found.class_counts[i], counts)
        chosen = layer[inside & USABLE[categories] & np.isfinite(layer)]
        for j, name in enumerate(STATISTICS):
            for sign, value in ((1, found.values[0, j, i]), (-1, found.values[1, j, i])):
                expected = numpy_statistic(name, sign * chosen)
                np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12, err_msg=name)
    assert found.class_counts.dtype == np.int32


def exact(parcel: shapely.Geometry, layer: NDArray[np.float64], ops: list[str]) -> dict[str, Any]:
    west, south, east, north = TILE.bounds
    raster = NumPyRasterSource(layer, west, south, east, north, nodata=np.nan)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(parcel)}
    (found,) = exact_extract(raster, JSONFeatureSource([feature]), ops)
    properties: dict[str, Any] = found["properties"]
    return properties


EXACT = {
    "count": "count",
    "mean": "mean",
    "stdev": "stdev",
    "min": "min",
    "max": "max",
    "median": "median",
    "p0": "quantile(q=0.0)",
    "p25": "quantile(q=0.25)",
    "p75": "quantile(q=0.75)",
    "p90": "quantile(q=0.9)",
    "p100": "quantile(q=1.0)",
}
KEYS = {"p0": "quantile_0", "p25": "quantile_25", "p75": "quantile_75", "p90": "quantile_90", "p100": "quantile_100"}


@settings(max_examples=20)
@given(seed=seeds, kind=st.sampled_from(["integers", "constant", "reals"]))
def test_coverage_equals_exactextract(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    parcels = random_parcels(seed, 12)
    layer = image(rng, kind)
    layer[rng.random(layer.shape) < 0.1] = np.nan
    categories = np.ones(layer.shape, dtype=np.uint8)
    found = extracted(parcels, [layer], categories, Weighting.COVERAGE, tuple(EXACT))
    for i, parcel in enumerate(parcels):
        if parcel is None or parcel.is_empty:
            assert found.values[0, 0, i] == 0
            assert np.isnan(found.values[0, 1:, i]).all()
            continue
        expected = exact(parcel, layer, list(EXACT.values()))
        for j, name in enumerate(EXACT):
            value = expected[KEYS.get(name, name)]
            value = np.nan if value is None else value
            np.testing.assert_allclose(found.values[0, j, i], value, rtol=1e-6, atol=1e-6, err_msg=f"{name} of {i}")


@settings(max_examples=10)
@given(seed=seeds)
def test_classes_sum_to_the_covered_area_and_water_can_be_used(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parcels = random_parcels(seed, 16)
    layer = image(rng, "reals")
    categories = rng.integers(0, 7, layer.shape).astype(np.uint8)
    frame = shapely.box(*TILE.bounds)
    found = extracted(parcels, [layer], categories, Weighting.COVERAGE)
    area = np.nan_to_num(shapely.area(shapely.intersection(parcels, frame))) / 100
    np.testing.assert_allclose(found.class_counts.sum(axis=1), area, atol=1e-3, rtol=1e-6)
    # Water (code 5) enters the statistics and is counted as water: the classes are exclusive.
    count = found.values[0, STATISTICS.index("count")]
    np.testing.assert_allclose(count, found.class_counts[:, [1, 5]].sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("weighting", list(Weighting))
def test_statistics_come_in_the_order_asked_for_and_only_those(weighting: Weighting) -> None:
    parcels, rng = random_parcels(4, 16), np.random.default_rng(4)
    layer, categories = image(rng, "reals"), np.ones((GRID.height, GRID.width), dtype=np.uint8)
    everything = extracted(parcels, [layer], categories, weighting).values[0]
    for chosen in (("max", "p25"), ("p75", "count"), ("mean",), ("median",)):
        some = extracted(parcels, [layer], categories, weighting, chosen).values[0]
        assert np.array_equal(some, everything[[STATISTICS.index(name) for name in chosen]], equal_nan=True)


def one_parcel(n: int, fractions: list[float]) -> IndexBlock:
    """A parcel of ``n`` whole pixels and some edge pixels, one after the other."""
    return IndexBlock(
        new_id=np.ones(1, np.int32),
        block=0,
        run_offsets=np.array([0, 1 if n else 0]),
        run_start=np.zeros(1 if n else 0, np.uint32),
        run_length=np.full(1 if n else 0, n, np.int32),
        edge_offsets=np.array([0, len(fractions)]),
        edge_row=np.arange(n, n + len(fractions), dtype=np.uint32),
        edge_fraction=np.array(fractions, np.float32),
    )


def of_values(values: list[float], weighting: Weighting, statistics: tuple[str, ...]) -> list[float]:
    n = len(values)
    found = block_statistics(
        one_parcel(n, []),
        RowRanges.single(0, n),
        np.array([values]),
        np.ones(n, np.uint8),
        USABLE,
        statistics,
        weighting,
    )
    answers: list[float] = found.values[0, :, 0].tolist()
    return answers


def test_one_pixel_has_no_sample_stdev_but_a_population_one() -> None:
    assert np.isnan(of_values([3.0], Weighting.CENTRE, ("stdev",))[0])
    assert of_values([3.0], Weighting.COVERAGE, ("stdev",)) == [0.0]
    assert of_values([3.0], Weighting.CENTRE, ("mean", "median", "p0", "count")) == [3.0, 3.0, 3.0, 1.0]
    assert of_values([3.0], Weighting.COVERAGE, ("mean", "median", "p0", "count")) == [3.0, 3.0, 3.0, 1.0]


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), percentile=st.integers(0, 100))
def test_percentiles_are_numpys_to_the_last_bit(values: list[float], percentile: int) -> None:
    assert of_values(values, Weighting.CENTRE, (f"p{percentile}",)) == [np.percentile(values, percentile)]


@given(values=st.lists(st.integers(0, 10**6), min_size=1, max_size=200, unique=True), percentile=st.integers(0, 100))
def test_with_distinct_values_and_whole_pixels_both_weightings_agree(values: list[int], percentile: int) -> None:
    numbers = [float(value) for value in values]
    a, b = (of_values(numbers, weighting, (f"p{percentile}",)) for weighting in Weighting)
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-6)


def crowded(name: str) -> list[float]:
    """Values that do not spread over buckets of equal width, in disorder."""
    near = [float(value) for value in np.random.default_rng(1).permutation(500) / 7]
    return {
        "outlier": [*near[:250], 1e12, *near[250:]],
        "two outliers": [-1e300, *near, 1e300],
        "two values": [1.0, 2.0] * 200,
        "smallest step": [0.0, 5e-324] * 3,
        "whole range": [1.7e308, 0.0, -1.7e308, 1.0],
        "one value": [0.1] * 100,
    }[name]


@pytest.mark.parametrize("name", ["outlier", "two outliers", "two values", "smallest step", "whole range", "one value"])
def test_values_that_crowd_are_sorted_as_well(name: str) -> None:
    values = crowded(name)
    ranks = [f"p{k}" for k in range(0, 101, 5)]
    with np.errstate(over="ignore", invalid="ignore"):  # numpy interpolates through infinity on the widest range
        expected = np.percentile(values, range(0, 101, 5))
    found = np.array(of_values(values, Weighting.CENTRE, tuple(ranks)))
    assert np.array_equal(found, expected, equal_nan=True)
    if np.unique(values).size == len(values) and name != "whole range":
        np.testing.assert_allclose(of_values(values, Weighting.COVERAGE, tuple(ranks)), expected, rtol=1e-9)


def test_large_means_lose_no_digits_of_the_stdev() -> None:
    """Two passes: one over squares would leave nothing of a deviation of 1 at a mean of 1e9."""
    values = [1e9 + d for d in (-1.0, 0.0, 1.0)]
    assert of_values(values, Weighting.CENTRE, ("stdev",)) == [1.0]


def test_edge_pixels_weigh_by_their_share() -> None:
    found = block_statistics(
        one_parcel(1, [0.5, 0.25]),
        RowRanges.single(0, 3),
        np.array([[10.0, 20.0, 40.0]]),
        np.array([1, 1, 2], np.uint8),
        np.array([True] * 7),
        ("count", "mean"),
        Weighting.COVERAGE,
    )
    assert found.values[0, :, 0].tolist() == [1.75, (10 + 10 + 10) / 1.75]
    assert found.class_counts.tolist() == [[0, 1.5, 0.25, 0, 0, 0, 0]]


@pytest.mark.parametrize("name", ["variance", "p101", "p", "p1.5", ""])
def test_an_unknown_statistic_is_a_bug(name: str) -> None:
    with pytest.raises(InternalError, match="is not a statistic"):
        of_values([1.0], Weighting.CENTRE, (name,))


def test_arrays_that_do_not_fit_are_a_bug() -> None:
    block, rows = one_parcel(2, []), RowRanges.single(0, 2)
    ones, values = np.ones(2, np.uint8), np.zeros((1, 2))
    arguments = (("count",), Weighting.CENTRE)
    with pytest.raises(InternalError, match="are not for 2 rows"):
        block_statistics(block, rows, np.zeros((1, 3)), ones, USABLE, *arguments)
    with pytest.raises(InternalError, match="are not for 2 rows"):
        block_statistics(block, rows, values, np.ones(3, np.uint8), USABLE, *arguments)
    with pytest.raises(InternalError, match="beyond the 7"):
        block_statistics(block, rows, values, np.full(2, 7, np.uint8), USABLE, *arguments)


@pytest.mark.parametrize("rows", [RowRanges.single(0, 3), RowRanges.single(1, 5)])
def test_rows_that_do_not_hold_all_pixels_are_a_bug_and_not_a_crash(rows: RowRanges) -> None:
    block = one_parcel(2, [0.5, 0.5])
    with pytest.raises(InternalError, match="do not hold all pixels"):
        block_statistics(
            block,
            rows,
            np.zeros((1, rows.n_rows)),
            np.ones(rows.n_rows, np.uint8),
            USABLE,
            ("mean",),
            Weighting.COVERAGE,
        )


def test_the_same_input_gives_the_same_bits() -> None:
    rng = np.random.default_rng(9)
    parcels, layer = random_parcels(9, 32), image(rng, "reals")
    categories = rng.integers(0, 7, layer.shape).astype(np.uint8)
    for weighting in Weighting:
        a, b = (extracted(parcels, [layer], categories, weighting) for _ in range(2))
        assert a.values.tobytes() == b.values.tobytes()
        assert a.class_counts.tobytes() == b.class_counts.tobytes()
