"""Landsat's 30 m pixels over a tile: which are kept, whose they are, and how they are read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.landsat import CLEAR, build_landsat

from s4c_hpc.catalog.discover import measure_folder
from s4c_hpc.catalog.landsat import read_landsat
from s4c_hpc.catalog.rasters import opened
from s4c_hpc.config import Config, Weighting
from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.extract import Mask, build_index, farmland_mask
from s4c_hpc.extract.bounds import farmland_cells
from s4c_hpc.extract.class_raster import ClassRule
from s4c_hpc.extract.dilate import Widening
from s4c_hpc.extract.gather import gather_grid
from s4c_hpc.extract.nearest import Nearest
from s4c_hpc.extract.stack import CLASS_COLUMN, Stack, StackWriter
from s4c_hpc.extract.stage_gather import class_rules, layers_by_grid, stack_columns
from s4c_hpc.parcels import TileParcels

TIME = dt.datetime(2018, 7, 10, 10, 0, 12, tzinfo=dt.UTC)
MGRS = Tile(id="A", crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, width_m=1200.0, height_m=900.0)


@st.composite
def tiles(draw: st.DrawFn) -> Tile:
    """Tiles anywhere in both hemispheres: own ones begin at any whole metre."""
    metres = st.integers(-100, 100)
    return Tile(
        id="T",
        crs=draw(st.sampled_from(["EPSG:32632", "EPSG:32732"])),
        ulx=600_000.0 + draw(metres),
        uly=5_400_000.0 + draw(metres),
        width_m=float(draw(st.integers(1, 20)) * 20),
        height_m=float(draw(st.integers(1, 20)) * 20),
    )


def mask_of(tile: Tile, kept: NDArray[np.bool_]) -> Mask:
    turn = np.diff(np.pad(kept.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, c0 = np.nonzero(turn == 1)
    rows, begins, ends = (values.astype(np.int32) for values in (row, c0, np.nonzero(turn == -1)[1]))
    return Mask(tile=tile.id, base=tile.grid(20.0), row=rows, c0=begins, c1=ends, ring_m=0.0, parcels_key="")


def in_metres(kept: NDArray[np.bool_], inner: Grid, outer: Grid) -> NDArray[np.bool_]:
    """Kept pixels of ``inner`` as a raster of 1 m over ``outer``."""
    n = round(outer.res_m)
    field = np.zeros((outer.height * n, outer.width * n), dtype=np.bool_)
    top, left = round(outer.uly - inner.uly), round(inner.ulx - outer.ulx)
    fine = np.kron(kept, np.ones((round(inner.res_m),) * 2, dtype=np.bool_))
    field[top : top + fine.shape[0], left : left + fine.shape[1]] = fine
    return field


def kept_cells(mask: Mask, grid: Grid) -> NDArray[np.bool_]:
    cells = mask.cells(grid)
    found = np.zeros((cells.grid.height, cells.grid.width), dtype=np.bool_)
    for row, c0, c1 in zip(cells.row, cells.c0, cells.c1, strict=True):
        assert not found[row, c0:c1].any()
        found[row, c0:c1] = True
    assert found.sum() == cells.n_cells
    return found


@given(tiles(), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_pixels_that_share_land_with_a_20_m_cell_are_kept(tile: Tile, seed: int, share: float) -> None:
    base, grid = tile.grid(20.0), tile.grid(30.0)
    kept = np.random.default_rng(seed).random((base.height, base.width)) < share
    field = in_metres(kept, base, grid)
    expected = field.reshape(grid.height, 30, grid.width, 30).any(axis=(1, 3))
    assert (kept_cells(mask_of(tile, kept), grid) == expected).all()


@given(tiles())
def test_edges_of_pixels_lie_halfway_between_multiples_of_30_m_from_the_equator(tile: Tile) -> None:
    grid = tile.grid(30.0)
    northing = grid.uly - (10_000_000 if tile.crs == "EPSG:32732" else 0)
    assert (grid.ulx % 30, northing % 30) == (15, 15)
    west, south, east, north = grid.bounds
    assert 0 <= tile.ulx - west < 30
    assert 0 <= north - tile.uly < 30
    assert 0 <= east - tile.bounds[2] < 30
    assert 0 <= tile.bounds[1] - south < 30


def polygons(rng: np.random.Generator, tile: Tile, n: int) -> NDArray[np.object_]:
    """Squares of whole metres, some of them across the tile's border."""
    x = tile.ulx + rng.integers(-60, int(tile.width_m) + 20, n)
    y = tile.uly - rng.integers(-20, int(tile.height_m) + 60, n)
    side = rng.integers(1, 120, (2, n))
    return np.array([shapely.box(*box) for box in zip(x, y, x + side[0], y + side[1], strict=True)], dtype=object)


@settings(max_examples=40)
@given(tiles(), st.integers(0, 2**32 - 1), st.sampled_from(list(Weighting)))
def test_a_parcel_has_its_land_within_the_tile(tile: Tile, seed: int, weighting: Weighting) -> None:
    squares = polygons(np.random.default_rng(seed), tile, 5)
    mask = farmland_mask(squares, tile, 0.0)
    cells, ids = mask.cells(tile.grid(30.0)), np.arange(5, dtype=np.int32)
    index = build_index(ids, np.zeros(5, np.int32), squares, cells, weighting, 0.0, tile.bounds)
    (block,) = index
    grid = cells.grid
    for i, square in enumerate(squares):
        inside = shapely.intersection(square, shapely.box(*tile.bounds))
        inside = inside if inside.area else shapely.Polygon()  # a side along the border is no land
        weights = np.zeros(cells.n_cells)
        runs = slice(*block.run_offsets[i : i + 2])
        for start, length in zip(block.run_start[runs], block.run_length[runs], strict=True):
            weights[start : start + length] = 1.0
        edges = slice(*block.edge_offsets[i : i + 2])
        weights[block.edge_row[edges]] = block.edge_fraction[edges]
        if weighting is Weighting.COVERAGE:
            assert weights.sum() * 900.0 == pytest.approx(inside.area, rel=1e-5, abs=1e-3)
            continue
        x = grid.ulx + (np.arange(grid.width) + 0.5) * 30.0
        y = grid.uly - (np.arange(grid.height) + 0.5) * 30.0
        centres = shapely.points(*np.meshgrid(x, y))
        assert (
            shapely.contains_properly(inside, centres).sum() <= weights.sum() <= shapely.covers(inside, centres).sum()
        )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 15.0, 40.0]))
def test_what_is_planned_is_enough(seed: int, ring_m: float) -> None:
    rng = np.random.default_rng(seed)
    squares = polygons(rng, MGRS, int(rng.integers(1, 30)))
    parcels = TileParcels(
        tile=MGRS,
        n_parcels=len(squares),
        n_blocks=1,
        area_m2=float(shapely.area(squares).sum()),
        perimeter_m=float(shapely.length(squares).sum()),
        key="",
    )
    cells = farmland_mask(squares, MGRS, ring_m).cells(MGRS.grid(30.0))
    assert cells.n_cells <= farmland_cells(parcels, ring_m, 30.0)


def test_pixels_of_30_m_are_never_nearest_to_others() -> None:
    mask = mask_of(MGRS, np.ones((45, 60), dtype=np.bool_))
    own, other = mask.cells(MGRS.grid(30.0)), mask.cells(MGRS.grid(10.0))
    for fine, coarse in ((own, other), (other, own)):
        with pytest.raises(InternalError, match="neither parents nor children"):
            Nearest(fine, coarse)
    assert (Nearest(own, own).rows(np.arange(9, dtype=np.uint32)) == np.arange(9)).all()


def gathered(folder: Path, path: Path, tile: Tile, mask: Mask, rules: dict[str, ClassRule] | None = None) -> Stack:
    (product,) = read_landsat(folder, measure_folder(folder), [tile])
    ((name, layers),) = layers_by_grid(product).items()
    assert name == "30m"
    cells = mask.cells(next(iter(layers.values())).grid)
    with StackWriter(path, stack_columns(layers), {"class_kind": "landsat"}) as writer:
        before = opened()
        gather_grid(layers, cells, writer, 256, rules or class_rules(product, config()))
        assert opened() - before == 9
    return Stack(path)


def config() -> Config:
    return Config.model_validate({"site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"}})


@pytest.mark.parametrize(("crs", "shift"), [("EPSG:32632", 0.0), ("EPSG:32732", 10_000_000.0)])
def test_the_pixels_of_a_large_scene_are_taken_as_they_are(tmp_path: Path, crs: str, shift: float) -> None:
    """A scene that begins 10 pixels before the tile and goes on after it; in the south with negative northings."""
    uly = 5_400_000.0 if not shift else 5_400_000.0 - shift
    north = np.ceil((uly - 15) / 30) * 30 + 15 + 300  # Landsat's edge above the tile, and ten pixels
    tile = Tile(id="A", crs=crs, ulx=600_000.0, uly=uly + shift, width_m=1200.0, height_m=900.0)
    rng = np.random.default_rng(5)
    red = rng.integers(1, 60_000, (300, 300)).astype(np.uint16)
    folder = build_landsat(tmp_path, time=TIME, ulx=599_685.0, uly=north, shape=red.shape, dn={"SR_B4": red}, block=64)
    kept = rng.random((45, 60)) < 0.1
    mask = mask_of(tile, kept)
    stack = gathered(folder, tmp_path / "stack", tile, mask)
    is_kept = kept_cells(mask, tile.grid(30.0))
    top = round((north + shift - tile.grid(30.0).uly) / 30)
    assert top == 10
    here = red[top : top + is_kept.shape[0], 10 : 10 + is_kept.shape[1]]
    assert (stack.read("B04", 0, stack.n_rows) == here[is_kept]).all()
    assert set(stack.read(CLASS_COLUMN, 0, stack.n_rows)) == {0}


def test_clouds_are_widened_from_beyond_the_tile_and_only_its_part_of_the_scene_is_looked_at(tmp_path: Path) -> None:
    quality = np.full((300, 300), CLEAR, np.uint16)
    quality[20, 8] = 22280  # a cloud two pixels west of the tile
    folder = build_landsat(
        tmp_path, time=TIME, ulx=599_685.0, uly=5_400_315.0, shape=quality.shape, dn={"QA_PIXEL": quality}, block=64
    )
    mask = mask_of(MGRS, np.ones((45, 60), dtype=np.bool_))
    rule = ClassRule(kind="landsat", widenings=(Widening(values=(4,), radius_m=90.0),), protected=(254,))
    stack = gathered(folder, tmp_path / "stack", MGRS, mask, {CLASS_COLUMN: rule})
    classes = np.zeros((MGRS.grid(30.0).height, MGRS.grid(30.0).width), np.uint8)
    classes[kept_cells(mask, MGRS.grid(30.0))] = stack.read(CLASS_COLUMN, 0, stack.n_rows)
    row, column = np.indices(classes.shape)
    near = (row - 10) ** 2 + (column + 2) ** 2 <= 9
    assert near.any()
    assert (classes == np.where(near, 4, 0)).all()
