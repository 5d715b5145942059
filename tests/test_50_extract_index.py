"""The parcel index against shapely, exactextract and itself."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.polygons import TILE, centres, coverage_of, random_parcels

from s4c_hpc.config import Weighting
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract import Cells, IndexBlock, ParcelIndex, build_index, farmland_mask, read_index, write_index

seeds = st.integers(0, 2**32 - 1)


def whole_grid(grid: Grid) -> Cells:
    """Every pixel kept: stack rows are pixel numbers."""
    row = np.arange(grid.height, dtype=np.int32)
    return Cells(grid=grid, row=row, c0=np.zeros_like(row), c1=np.full_like(row, grid.width))


def index_of(
    parcels: NDArray[np.object_], res_m: float, weighting: Weighting, buffer_m: float = 0.0, per_block: int = 1024
) -> ParcelIndex:
    new_id = np.arange(len(parcels), dtype=np.int32)
    block = (new_id // per_block).astype(np.int32)
    return build_index(new_id, block, parcels, whole_grid(TILE.grid(res_m)), weighting, buffer_m)


def weights(block: IndexBlock, parcel: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """(height, width) weight of every pixel for a parcel; fails if a pixel is listed twice."""
    found = np.zeros(shape[0] * shape[1])
    listed = np.zeros(found.size, dtype=np.int64)
    for run in range(block.run_offsets[parcel], block.run_offsets[parcel + 1]):
        rows = slice(int(block.run_start[run]), int(block.run_start[run]) + int(block.run_length[run]))
        found[rows] = 1.0
        listed[rows] += 1
    edges = slice(block.edge_offsets[parcel], block.edge_offsets[parcel + 1])
    found[block.edge_row[edges]] = block.edge_fraction[edges]
    np.add.at(listed, block.edge_row[edges], 1)
    assert listed.max(initial=0) <= 1
    return found.reshape(shape)


@settings(max_examples=25)
@given(seed=seeds, res_m=st.sampled_from([10, 20, 60]))
def test_centre_lists_the_pixels_whose_centre_is_inside(seed: int, res_m: int) -> None:
    # Off the lattice by an odd fraction, so that no centre lies on an edge and the answer is not a matter of rule.
    parcels = shapely.transform(random_parcels(seed, 16), lambda xy: xy + np.array([0.1234567, 0.7654321]))
    grid = TILE.grid(res_m)
    (block,) = index_of(parcels, res_m, Weighting.CENTRE)
    x, y = centres(grid)
    for i, parcel in enumerate(parcels):
        expected = np.zeros(x.shape) if parcel is None else shapely.contains_xy(parcel, x, y)
        assert np.array_equal(weights(block, i, x.shape), expected)
    assert block.edge_row.size == 0


@settings(max_examples=12)
@given(seed=seeds, res_m=st.sampled_from([10, 20, 60]))
def test_coverage_lists_the_exact_share_of_every_pixel(seed: int, res_m: int) -> None:
    parcels = random_parcels(seed, 16)
    grid = TILE.grid(res_m)
    (block,) = index_of(parcels, res_m, Weighting.COVERAGE)
    for i, parcel in enumerate(parcels):
        found = weights(block, i, (grid.height, grid.width))
        np.testing.assert_allclose(found, coverage_of(parcel, grid), atol=2e-7, rtol=0)
    assert (block.edge_fraction > 0).all()
    assert (block.edge_fraction <= 1).all()


def subdivision(seed: int) -> NDArray[np.object_]:
    """The tile cut into adjoining polygons: Voronoi cells of which some have corners and edges on pixel centres."""
    rng = np.random.default_rng(seed)
    west, south, east, north = TILE.bounds
    points = np.c_[rng.uniform(west, east, 40), rng.uniform(south, north, 40)]
    points = np.where(rng.random((40, 1)) < 0.5, np.round(points / 5) * 5, points)
    frame = shapely.box(*TILE.bounds)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(points), extend_to=frame))
    return np.asarray(shapely.intersection(cells, frame), dtype=object)


def lattice(seed: int) -> NDArray[np.object_]:
    """The tile cut into triangles of which every corner lies on the lattice of half pixels."""
    rng = np.random.default_rng(seed)
    xs = TILE.ulx + 5 * np.r_[0, np.sort(rng.choice(np.arange(1, 240), 5, replace=False)), 240]
    ys = TILE.uly - 5 * np.r_[0, np.sort(rng.choice(np.arange(1, 192), 4, replace=False)), 192]
    found = []
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            if rng.random() < 0.5:
                found += [
                    shapely.Polygon([(x0, y0), (x1, y0), (x1, y1)]),
                    shapely.Polygon([(x0, y0), (x1, y1), (x0, y1)]),
                ]
            else:
                found += [
                    shapely.Polygon([(x0, y0), (x1, y0), (x0, y1)]),
                    shapely.Polygon([(x1, y0), (x1, y1), (x0, y1)]),
                ]
    return np.array(found, dtype=object)


@settings(max_examples=30)
@given(seed=seeds)
def test_adjoining_parcels_share_no_pixel_and_lose_none(seed: int) -> None:
    """On a lattice every shared edge has the same ends on both sides, which is what the rule promises to decide."""
    grid = TILE.grid(10)
    for is_clockwise in (False, True):
        parcels = shapely.orient_polygons(lattice(seed), exterior_cw=is_clockwise)
        (block,) = index_of(parcels, 10, Weighting.CENTRE)
        owners = sum(weights(block, i, (grid.height, grid.width)) for i in range(block.n_parcels))
        assert np.array_equal(owners, np.ones((grid.height, grid.width)))


@settings(max_examples=20)
@given(seed=seeds)
def test_shares_of_a_subdivision_sum_to_one(seed: int) -> None:
    for parcels in (subdivision(seed), lattice(seed)):
        grid = TILE.grid(20)
        (block,) = index_of(parcels, 20, Weighting.COVERAGE)
        total = sum(weights(block, i, (grid.height, grid.width)) for i in range(block.n_parcels))
        np.testing.assert_allclose(total, 1.0, atol=1e-6)


@pytest.mark.parametrize("weighting", list(Weighting))
def test_blocks_do_not_change_the_pixels(weighting: Weighting) -> None:
    parcels = random_parcels(11, 50)
    grid = TILE.grid(10)
    (one,) = index_of(parcels, 10, weighting)
    many = index_of(parcels, 10, weighting, per_block=7)
    assert [block.block for block in many] == list(range(8))
    assert np.array_equal(many.new_id, one.new_id)
    for number, block in enumerate(many):
        for i in range(block.n_parcels):
            shape = (grid.height, grid.width)
            assert np.array_equal(weights(block, i, shape), weights(one, number * 7 + i, shape))


@pytest.mark.parametrize("weighting", list(Weighting))
def test_pixels_of_a_parcel_stand_in_order(weighting: Weighting) -> None:
    (block,) = index_of(random_parcels(5, 64), 10, weighting)
    for rows, offsets in ((block.run_start, block.run_offsets), (block.edge_row, block.edge_offsets)):
        for i in range(block.n_parcels):
            assert (np.diff(rows[offsets[i] : offsets[i + 1]].astype(np.int64)) > 0).all()


@pytest.mark.parametrize("weighting", list(Weighting))
def test_on_a_real_mask_stack_rows_lead_to_the_same_pixels(weighting: Weighting) -> None:
    parcels = random_parcels(7, 30)
    new_id = np.arange(30, dtype=np.int32)
    cells = farmland_mask(parcels, TILE, 20.0).cells(TILE.grid(10))
    (masked,) = build_index(new_id, np.zeros_like(new_id), parcels, cells, weighting, 5.0)
    (whole,) = index_of(parcels, 10, weighting, 5.0)
    pixel = np.concatenate(
        [row * cells.grid.width + np.arange(c0, c1) for row, c0, c1 in zip(cells.row, cells.c0, cells.c1, strict=True)]
    )
    assert np.array_equal(pixel[masked.run_start], whole.run_start)
    assert np.array_equal(pixel[masked.edge_row], whole.edge_row)
    assert np.array_equal(masked.run_length, whole.run_length)
    assert np.array_equal(masked.edge_fraction, whole.edge_fraction)


@pytest.mark.parametrize("weighting", list(Weighting))
def test_the_buffer_goes_inwards_and_can_leave_nothing(weighting: Weighting) -> None:
    x, y = TILE.ulx + 100, TILE.uly - 200
    parcels = np.array([shapely.box(x, y, x + 100, y + 60), shapely.box(x, y, x + 9, y + 200)], dtype=object)
    (block,) = index_of(parcels, 10, weighting, buffer_m=5.0)
    shape = (TILE.grid(10).height, TILE.grid(10).width)
    # 90 m x 50 m are left of the first, nothing of the second.
    assert [round(weights(block, i, shape).sum(), 5) for i in (0, 1)] == [45.0, 0.0]


def broken(coordinate: float) -> shapely.Polygon:
    ring = [(600_100, 5_299_900), (coordinate, 5_299_900), (600_300, 5_299_000), (600_100, 5_299_900)]
    with np.errstate(invalid="ignore"):
        return shapely.polygons(ring)


@pytest.mark.parametrize("weighting", list(Weighting))
@pytest.mark.parametrize(
    "geometry",
    [
        None,
        shapely.Polygon(),
        shapely.Point(600_100, 5_299_900),
        shapely.LineString([(600_100, 5_299_900), (600_500, 5_299_500)]),
        shapely.box(0, 0, 50, 50),
        shapely.box(1e300, 1e300, 2e300, 2e300),
        broken(np.inf),
        broken(np.nan),
    ],
    ids=["none", "empty", "point", "line", "far off", "very far off", "infinite", "nan"],
)
def test_what_has_no_pixel_keeps_its_row(weighting: Weighting, geometry: shapely.Geometry | None) -> None:
    field = shapely.box(TILE.ulx, TILE.uly - 20, TILE.ulx + 20, TILE.uly)
    (block,) = index_of(np.array([field, geometry, field], dtype=object), 10, weighting)
    assert block.n_parcels == 3
    assert np.diff(block.run_offsets).tolist() == [2, 0, 2]
    assert block.edge_row.size == 0


@pytest.mark.parametrize("weighting", list(Weighting))
def test_an_invalid_polygon_is_repaired(weighting: Weighting) -> None:
    x, y = TILE.ulx + 100, TILE.uly - 200
    bow_tie = shapely.Polygon([(x, y), (x + 100, y + 100), (x + 100, y), (x, y + 100)])
    (block,) = index_of(np.array([bow_tie], dtype=object), 10, weighting)
    found = weights(block, 0, (TILE.grid(10).height, TILE.grid(10).width))
    assert found.sum() == pytest.approx(50, abs=5.1 if weighting is Weighting.CENTRE else 1e-4)
    assert not found[20 - 3, 10 + 5]  # the northern quarter lies outside


@pytest.mark.parametrize("weighting", list(Weighting))
def test_a_parcel_larger_than_the_raster_has_all_pixels(weighting: Weighting) -> None:
    west, south, east, north = TILE.bounds
    around = shapely.box(west - 5e5, south - 5e5, east + 5e5, north + 5e5)
    tilted = shapely.Polygon([(west - 1e5, south), (west, north + 1e5), (east + 2e5, north), (east, south - 2e5)])
    (block,) = index_of(np.array([around, tilted], dtype=object), 10, weighting)
    shape = (TILE.grid(10).height, TILE.grid(10).width)
    for i in range(2):
        np.testing.assert_allclose(weights(block, i, shape), 1.0, atol=1e-6)


def test_a_parcel_in_two_far_parts_needs_two_short_ranges() -> None:
    grid = Grid(crs="EPSG:32632", ulx=0, uly=0, res_m=10, width=10_980, height=10_980)
    parts = shapely.MultiPolygon([shapely.box(0, -100, 100, 0), shapely.box(109_700, -109_800, 109_800, -109_700)])
    one = np.zeros(1, dtype=np.int32)
    (block,) = build_index(one, one, np.array([parts], dtype=object), whole_grid(grid), Weighting.COVERAGE, 0.0)
    assert int(block.run_length.sum()) == 200
    assert block.ranges().start.size == 20  # of each pixel row the part that is needed
    assert block.ranges().n_rows < 20 * 2 * 4096


def test_a_parcel_beyond_the_mask_is_told_with_its_number() -> None:
    parcels = random_parcels(2, 4)[:1]
    cells = farmland_mask(parcels, TILE, 0.0).cells(TILE.grid(10))
    elsewhere = np.array([parcels[0], shapely.box(*TILE.bounds)], dtype=object)
    for weighting in Weighting:
        with pytest.raises(InputError, match="1 parcels reach beyond the farmland mask") as caught:
            build_index(np.array([5, 9], np.int32), np.zeros(2, np.int32), elsewhere, cells, weighting, 0.0)
        assert caught.value.where == "parcel NewID 9, grid 10m"


@pytest.mark.parametrize("weighting", list(Weighting))
def test_a_file_gives_the_index_back_without_a_copy(tmp_path: Path, weighting: Weighting) -> None:
    made = index_of(random_parcels(1, 40), 10, weighting, per_block=16)
    for name in ("a", "b"):
        assert write_index(tmp_path / name, made.batches, {**made.metadata, "tile": "T1"}) == 40
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a", "b")}
    assert len(digests) == 1
    before = pa.total_allocated_bytes()
    back = read_index(tmp_path / "a")
    blocks = list(back)
    assert pa.total_allocated_bytes() == before
    assert (back.n_parcels, back.n_blocks, back.weighting) == (40, 3, weighting)
    assert back.metadata["tile"] == "T1"
    for a, b in zip(blocks, made, strict=True):
        for name in ("new_id", "run_offsets", "run_start", "run_length", "edge_offsets", "edge_row", "edge_fraction"):
            assert np.array_equal(getattr(a, name), getattr(b, name))
            assert not getattr(a, name).flags.owndata


def test_an_index_of_no_parcels_is_a_file_too(tmp_path: Path) -> None:
    none = np.empty(0, dtype=np.int32)
    empty = build_index(none, none, np.empty(0, dtype=object), whole_grid(TILE.grid(10)), Weighting.CENTRE, 0.0)
    write_index(tmp_path / "i", empty.batches, empty.metadata)
    back = read_index(tmp_path / "i")
    assert (back.n_parcels, back.n_blocks, back.new_id.size) == (0, 0, 0)
