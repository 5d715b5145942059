"""What is no measurement never becomes one: cells off a raster, saturated DN, classes that cannot be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.polygons import TILE, random_parcels
from support.rasters import band_of, noise, write_tif

from s4c_hpc.core.grid import Grid
from s4c_hpc.extract import (
    CLASS_COLUMN,
    NO_RASTER,
    BlockReader,
    Mask,
    Stack,
    StackColumn,
    StackWriter,
    farmland_mask,
    gather_grid,
)


@pytest.fixture(scope="module")
def mask() -> Mask:
    return farmland_mask(random_parcels(21, 24), TILE, 20.0)


def shrunk(res_m: float, rows: int, columns: int) -> Grid:
    """A raster of the tile that lacks its last rows and columns."""
    grid = TILE.grid(res_m)
    return dataclasses.replace(grid, height=grid.height - rows, width=grid.width - columns)


def stack_of(path: Path, mask: Mask, grid: Grid, layers: dict[str, NDArray[Any]], **column: Any) -> Stack:
    """Gather a file of one layer a column; ``class_kind`` as the stage says it."""
    bands, columns = {}, []
    for name, layer in layers.items():
        write_tif(path.with_name(f"{path.name}_{name}.tif"), layer, grid)
        dtype = layer.dtype.name
        bands[name] = band_of(name, path.with_name(f"{path.name}_{name}.tif"), 1, grid, dtype, column.get("nodata"))
        if name != CLASS_COLUMN:
            columns.append(StackColumn(name=name, dtype=dtype, **column))
    columns.append(StackColumn(name=CLASS_COLUMN, dtype="uint8", nodata=NO_RASTER))
    kind = "declared" if CLASS_COLUMN in layers else "none"
    with StackWriter(path, columns, {"class_kind": kind, "grid": grid.name}) as writer:
        gather_grid(bands, mask.cells(grid), writer)
    return Stack(path)


def inside(mask: Mask, target: float, source: Grid) -> NDArray[np.bool_]:
    """Whether the nearest pixel of each cell lies on a raster; rasters here are cut at the south and east."""
    cells = mask.cells(TILE.grid(target))
    row = np.repeat(cells.row, cells.c1 - cells.c0)
    column = np.concatenate([np.arange(a, b) for a, b in zip(cells.c0, cells.c1, strict=True)])
    i = (row * target + target / 2) // source.res_m
    j = (column * target + target / 2) // source.res_m
    found: NDArray[np.bool_] = (i < source.height) & (j < source.width)
    return found


@pytest.mark.parametrize("nodata", [None, 0, -9999, 70_000.5, float("nan")])
def test_a_cell_off_the_raster_has_no_value_whatever_the_nodata(
    mask: Mask, tmp_path: Path, nodata: float | None
) -> None:
    grid = shrunk(10, 31, 17)
    stack = stack_of(tmp_path / "s", mask, grid, {"B04": noise(1, 1, grid)}, nodata=nodata)
    reader = BlockReader({"10m": stack}, mask, TILE.grid(10))
    everything = np.arange(reader.cells.n_cells, dtype=np.uint32)
    is_there = inside(mask, 10, grid)
    assert 0.2 < is_there.mean() < 0.98
    assert np.array_equal(np.isfinite(reader.physical("B04", everything)), is_there)
    assert np.array_equal(stack.read(CLASS_COLUMN, 0, stack.n_rows), np.where(is_there, 0, NO_RASTER))


@pytest.mark.parametrize("target", [10, 20, 60])
def test_bands_and_classes_end_where_their_own_rasters_do(mask: Mask, tmp_path: Path, target: int) -> None:
    """Bands of 10 m reach further than the classes of 20 m, those of 60 m less far."""
    fine, middle, coarse = shrunk(10, 2, 4), shrunk(20, 15, 9), shrunk(60, 8, 6)
    classes = np.full((1, middle.height, middle.width), 4, np.uint8)
    stacks = {
        "10m": stack_of(tmp_path / "f", mask, fine, {"B04": noise(1, 1, fine)}),
        "20m": stack_of(tmp_path / "m", mask, middle, {"B11": noise(2, 1, middle), "class": classes}),
        "60m": stack_of(tmp_path / "c", mask, coarse, {"B09": noise(3, 1, coarse)}),
    }
    reader = BlockReader(stacks, mask, TILE.grid(target))
    everything = np.arange(reader.cells.n_cells, dtype=np.uint32)
    for name, grid in (("B04", fine), ("B11", middle), ("B09", coarse)):
        agree = np.isfinite(reader.physical(name, everything)) == inside(mask, target, grid)
        # Where the mask lacks the child at a parent's centre, the closest one stands for it: at the rim only.
        assert agree.all() if grid.res_m >= target else agree.mean() > 0.9
    lut = np.full(256, 1, np.uint8)
    nodata = reader.categories(lut, everything) == 0
    agree = nodata != inside(mask, target, middle)
    assert agree.all() if target <= 20 else agree.mean() > 0.9


def test_saturated_dn_are_no_values(mask: Mask, tmp_path: Path) -> None:
    grid = TILE.grid(10)
    layer = noise(1, 1, grid)
    layer[0, ::2] = 65_535
    layer[0, :, ::7] = 0
    stack = stack_of(tmp_path / "s", mask, grid, {"B04": layer}, scale=1e-4, offset=-0.1, nodata=0, saturated=65_535)
    assert stack.bands["B04"].saturated == 65_535
    reader = BlockReader({"10m": stack}, mask, grid)
    dn = stack.read("B04", 0, stack.n_rows)
    found = reader.physical("B04", np.arange(stack.n_rows, dtype=np.uint32))
    assert {0, 65_535} < set(dn.tolist())
    assert np.array_equal(found, np.where((dn == 0) | (dn == 65_535), np.nan, dn * 1e-4 - 0.1), equal_nan=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_class_that_is_none_is_no_raster(mask: Mask, tmp_path: Path, dtype: str) -> None:
    grid = TILE.grid(20)
    classes = noise(5, 1, grid, dtype)
    classes[0, ::2] = {"uint8": 255, "uint16": 300, "int16": -1, "float32": np.nan}[dtype]
    stack = stack_of(tmp_path / "s", mask, grid, {"B11": noise(2, 1, grid), "class": classes})
    cells = mask.cells(grid)
    odd = np.repeat(cells.row, cells.c1 - cells.c0) % 2 == 1
    found = stack.read(CLASS_COLUMN, 0, stack.n_rows)
    assert np.array_equal(found == NO_RASTER, ~odd)
    reader = BlockReader({"20m": stack}, mask, grid)
    everything = np.arange(stack.n_rows, dtype=np.uint32)
    assert np.array_equal(np.isfinite(reader.physical("B11", everything)), odd)
    # No table can say otherwise.
    assert set(reader.categories(np.full(256, 1, np.uint8), everything)[~odd].tolist()) == {0}
