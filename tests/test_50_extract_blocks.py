"""Bands of three grids read as if they were on one, against arithmetic on whole rasters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.polygons import TILE, random_parcels
from support.rasters import band_of, noise, write_tif

from s4c_hpc.core.errors import InputError
from s4c_hpc.extract import (
    BlockReader,
    Cells,
    Mask,
    Stack,
    StackColumn,
    StackWriter,
    farmland_mask,
    gather_grid,
)

NAMES = {10: "B04", 20: "B11", 60: "B01"}


@pytest.fixture(scope="module")
def mask() -> Mask:
    return farmland_mask(random_parcels(33, 24), TILE, 20.0)


@pytest.fixture(scope="module")
def layers() -> dict[int, NDArray[np.uint16]]:
    found = {res_m: noise(res_m, 1, TILE.grid(res_m))[0] for res_m in NAMES}
    found[10][::5, ::3] = 0
    return found


@pytest.fixture(scope="module")
def stacks(
    mask: Mask, layers: dict[int, NDArray[np.uint16]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Stack]:
    folder: Path = tmp_path_factory.mktemp("stacks")
    found = {}
    for res_m, name in NAMES.items():
        grid = TILE.grid(res_m)
        write_tif(folder / f"{name}.tif", layers[res_m][None], grid)
        bands = {name: band_of(name, folder / f"{name}.tif", 1, grid, "uint16")}
        columns = [StackColumn(name=name, dtype="uint16", scale=1e-4, offset=-0.1, nodata=0)]
        kind = "scl" if res_m == 20 else "none"
        if res_m == 20:
            write_tif(folder / "scl.tif", _classes(layers[20])[None].astype(np.uint8), grid)
            bands["class"] = band_of("SCL", folder / "scl.tif", 1, grid, "uint8")
        columns.append(StackColumn(name="class", dtype="uint8", nodata=255))
        with StackWriter(folder / grid.name, columns, {"class_kind": kind}) as writer:
            gather_grid(bands, mask.cells(grid), writer)
        found[grid.name] = Stack(folder / grid.name)
    return found


def _classes(layer: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.where(layer % 12 == 11, 255, layer % 12).astype(np.uint8)


def places(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    row = np.repeat(cells.row, cells.c1 - cells.c0).astype(np.int64)
    column = np.concatenate([np.arange(a, b) for a, b in zip(cells.c0, cells.c1, strict=True)])
    return row, column


@pytest.mark.parametrize("target", [10, 20, 60])
@pytest.mark.parametrize("source", [10, 20, 60])
def test_every_band_on_every_grid_is_the_nearest_pixel(
    mask: Mask,
    stacks: dict[str, Stack],
    layers: dict[int, NDArray[np.uint16]],
    target: int,
    source: int,
) -> None:
    reader = BlockReader(stacks, mask, TILE.grid(target))
    row, column = places(reader.cells)
    n = reader.cells.n_cells
    # The pixel whose centre is nearest to that of the target; of four equally near the south-eastern one.
    i = ((row * target + target // 2) // source).astype(int)
    j = ((column * target + target // 2) // source).astype(int)
    # At the rim of the mask a parent can lack that child; test_50_extract_cells tells what it gets instead.
    kept = mask.cells(TILE.grid(source)).stack_rows(i, j) >= 0
    assert kept.mean() > 0.7
    shuffled = np.random.default_rng(1).permutation(n)[: n // 2]
    for chosen in (np.arange(n), np.r_[3 : n // 3, n // 2 : n], shuffled, np.arange(0)):
        found = reader.read(NAMES[source], chosen.astype(np.uint32))
        assert found.dtype == np.uint16
        nearest = layers[source][i, j][chosen]
        assert np.array_equal(found[kept[chosen]], nearest[kept[chosen]])


def test_physical_values_and_missing_ones(
    mask: Mask, stacks: dict[str, Stack], layers: dict[int, NDArray[np.uint16]]
) -> None:
    reader = BlockReader(stacks, mask, TILE.grid(10))
    found = reader.physical("B04", np.arange(reader.cells.n_cells, dtype=np.uint32))
    dn = layers[10][places(reader.cells)]
    assert found.dtype == np.float64
    assert np.array_equal(found, np.where(dn == 0, np.nan, dn * 1e-4 - 0.1), equal_nan=True)
    assert np.isnan(found).any()


@pytest.mark.parametrize("name", ["B04", "B11", "B01"])
def test_stored_values_and_which_of_them_are_values(mask: Mask, stacks: dict[str, Stack], name: str) -> None:
    reader = BlockReader(stacks, mask, TILE.grid(10))
    rows = np.random.default_rng(2).permutation(reader.cells.n_cells).astype(np.uint32)
    stored, valid = np.empty(rows.size, np.int32), (rows % 3 > 0).astype(np.uint8)
    before = valid.copy()
    reader.take(name, rows, stored, valid)
    assert np.array_equal(stored, reader.read(name, rows))
    assert np.array_equal(valid, before & np.isfinite(reader.physical(name, rows)))
    if name == "B04":
        assert 0 < valid.sum() < before.sum()


def test_numbers_that_are_no_values(mask: Mask, tmp_path: Path) -> None:
    """Real rasters of single precision hold infinities: a division that came before."""
    cells = mask.cells(TILE.grid(10))
    odd = np.array([0.25, np.nan, np.inf, -np.inf, -9999.9, 60000.0, 0.5], np.float32)
    values = np.resize(odd, cells.n_cells)
    classes = np.zeros(cells.n_cells, np.uint8)
    classes[6] = 255  # off the raster
    columns = [
        StackColumn(name="B04", dtype="float32", nodata=-9999.9, saturated=60000.0),
        StackColumn(name="class", dtype="uint8", nodata=255),
    ]
    with StackWriter(tmp_path / "10m", columns, {"class_kind": "none"}) as writer:
        writer.append({"B04": values, "class": classes})
    reader = BlockReader({"10m": Stack(tmp_path / "10m")}, mask, TILE.grid(10))
    stored, valid = np.empty(14, np.float32), np.ones(14, np.uint8)
    reader.take("B04", np.arange(14, dtype=np.uint32), stored, valid)
    assert valid.tolist() == [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert stored[valid == 1].tolist() == [0.25, 0.25, 0.5]


def test_categories_know_the_cells_off_the_raster(
    mask: Mask, stacks: dict[str, Stack], layers: dict[int, NDArray[np.uint16]]
) -> None:
    reader = BlockReader(stacks, mask, TILE.grid(20))
    lut = np.arange(256, dtype=np.uint8) % 7
    everything = np.arange(reader.cells.n_cells, dtype=np.uint32)
    classes = _classes(layers[20])[places(reader.cells)]
    assert np.array_equal(reader.classes(everything), classes)
    # No raster is nodata (code 0), though the table says something else.
    assert np.array_equal(reader.categories(lut, everything), np.where(classes == 255, 0, classes % 7))
    assert lut[255] == 3
    assert (classes == 255).any()


def test_a_band_that_the_product_lacks_is_told(mask: Mask, stacks: dict[str, Stack]) -> None:
    reader = BlockReader(stacks, mask, TILE.grid(10))
    with pytest.raises(InputError, match="no stack of this product has a band B99") as caught:
        reader.read("B99", np.zeros(1, np.uint32))
    assert "B01, B04, B11" in str(caught.value)


def test_stacks_of_another_mask_are_told(stacks: dict[str, Stack]) -> None:
    other = farmland_mask(random_parcels(34, 3), TILE, 20.0)
    with pytest.raises(InputError, match="was gathered with another mask"):
        BlockReader(stacks, other, TILE.grid(10))
