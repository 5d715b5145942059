"""From raster files to stacks, against a plain read of the whole file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.polygons import TILE, random_parcels
from support.rasters import band_of, noise, write_tif

from s4c_hpc.catalog import Band, opened
from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract import Cells, Mask, RowRanges, Stack, StackColumn, StackWriter, farmland_mask, gather_grid
from s4c_hpc.extract import gather as gather_module
from s4c_hpc.extract.layer_file import LayerFile

GRID = TILE.grid(10)


@pytest.fixture(scope="module")
def mask() -> Mask:
    return farmland_mask(random_parcels(21, 24), TILE, 20.0)


def gathered(path: Path, layers: Mapping[str, Band], cells: Cells, max_block_rows: int = 2048) -> Stack:
    columns = [
        StackColumn(name=name, dtype="uint8" if name == "class" else band.dtype, nodata=band.nodata)
        for name, band in layers.items()
    ]
    if "class" not in layers:
        columns.append(StackColumn(name="class", dtype="uint8", nodata=255))
    with StackWriter(path, columns, {}) as writer:
        gather_grid(layers, cells, writer, max_block_rows)
    return Stack(path)


def expected(layer: NDArray[Any], grid: Grid, cells: Cells, fill: float) -> NDArray[Any]:
    """Pixels of a raster at all cells, by their coordinates."""
    row = np.repeat(cells.row, cells.c1 - cells.c0)
    column = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in zip(cells.c0, cells.c1, strict=True))])
    x, y = cells.grid.ulx + (column + 0.5) * grid.res_m, cells.grid.uly - (row + 0.5) * grid.res_m
    i = np.floor((grid.uly - y) / grid.res_m).astype(int)
    j = np.floor((x - grid.ulx) / grid.res_m).astype(int)
    inside = (i >= 0) & (i < grid.height) & (j >= 0) & (j < grid.width)
    found = np.full(row.size, fill, dtype=layer.dtype)
    found[inside] = layer[i[inside], j[inside]]
    return found


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
    {"tiled": True, "blockxsize": 64, "blockysize": 32, "interleave": "pixel", "compress": "deflate"},
    {"blockysize": 7, "compress": "deflate", "predictor": 2},
]


@settings(max_examples=30)
@given(
    layout=st.sampled_from(LAYOUTS),
    west=st.integers(-30, 30),
    north=st.integers(-30, 30),
    width=st.integers(1, 160),
    height=st.integers(1, 120),
    res_m=st.sampled_from([10, 20, 60]),
)
def test_a_stack_holds_what_a_plain_read_gives(
    mask: Mask,
    tmp_path_factory: pytest.TempPathFactory,
    layout: dict[str, Any],
    west: int,
    north: int,
    width: int,
    height: int,
    res_m: int,
) -> None:
    """Whatever the file's blocks, and whether it covers the tile, a part of it, or reaches beyond."""
    folder = tmp_path_factory.mktemp("g")
    grid = dataclasses.replace(
        TILE.grid(res_m), ulx=TILE.ulx + west * res_m, uly=TILE.uly + north * res_m, width=width, height=height
    )
    two, one = noise(1, 2, grid), noise(2, 1, grid, "uint8")
    write_tif(folder / "two.tif", two, grid, **layout)
    write_tif(folder / "one.tif", one, grid, **{**layout, "blockysize": 16})
    layers = {
        "B04": band_of("B04", folder / "two.tif", 2, grid, "uint16", None),
        "B03": band_of("B03", folder / "two.tif", 1, grid, "uint16", 9999),
        "class": band_of("SCL", folder / "one.tif", 1, grid, "uint8", 0),
    }
    cells = mask.cells(grid)
    before = opened()
    stack = gathered(folder / "s.arrow", layers, cells)
    assert opened() - before == 2  # two files, three layers
    assert stack.n_rows == cells.n_cells
    for name, layer, fill in (("B04", two[1], 0), ("B03", two[0], 0), ("class", one[0], 255)):
        assert np.array_equal(stack.read(name, 0, stack.n_rows), expected(layer, grid, cells, fill))


def test_small_windows_give_the_same_stack(mask: Mask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tif(tmp_path / "r.tif", noise(3, 2, GRID), GRID, tiled=True, blockxsize=16, blockysize=16)
    layers = {f"B0{i}": band_of(f"B0{i}", tmp_path / "r.tif", i, GRID, "uint16") for i in (1, 2)}
    gathered(tmp_path / "a", layers, mask.cells(GRID))
    monkeypatch.setattr(gather_module, "WINDOW_BYTES", 1)
    gathered(tmp_path / "b", layers, mask.cells(GRID))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_blocks_without_farmland_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And every other block is read once: windows are whole blocks and do not overlap."""
    field = shapely.box(TILE.ulx + 5, TILE.uly - 95, TILE.ulx + 95, TILE.uly - 5)
    far = shapely.box(TILE.ulx + 905, TILE.uly - 95, TILE.ulx + 995, TILE.uly - 5)
    low = shapely.box(TILE.ulx + 405, TILE.uly - 795, TILE.ulx + 495, TILE.uly - 705)
    cells = farmland_mask(np.array([field, far, low], dtype=object), TILE, 0.0).cells(GRID)
    write_tif(tmp_path / "r.tif", noise(3, 1, GRID), GRID, tiled=True, blockxsize=16, blockysize=16)
    windows = []
    plain = LayerFile.read

    def watched(self: Any, window: Any) -> NDArray[Any]:
        windows.append((window.row_off, window.col_off, window.height, window.width))
        return plain(self, window)

    monkeypatch.setattr(LayerFile, "read", watched)
    gathered(tmp_path / "s", {"B04": band_of("B04", tmp_path / "r.tif", 1, GRID, "uint16")}, cells)
    assert windows == [(0, 0, 16, 16), (0, 80, 16, 32), (64, 32, 16, 32)]


def test_floats_keep_their_nan(mask: Mask, tmp_path: Path) -> None:
    layer = noise(4, 1, GRID, "float32") / np.float32(7)
    layer[0, ::3] = np.nan
    write_tif(tmp_path / "r.tif", layer, GRID)
    cells = mask.cells(GRID)
    stack = gathered(tmp_path / "s", {"VV": band_of("VV", tmp_path / "r.tif", 1, GRID, "float32", np.nan)}, cells)
    found = stack.read("VV", 0, stack.n_rows)
    assert np.array_equal(found, expected(layer[0], GRID, cells, 0), equal_nan=True)


def test_classes_in_a_wide_type_become_bytes(mask: Mask, tmp_path: Path) -> None:
    layer = noise(5, 1, GRID)
    layer[0, :, ::2] = 65_535  # is no class: counts as no raster
    write_tif(tmp_path / "r.tif", layer, GRID)
    cells = mask.cells(GRID)
    stack = gathered(tmp_path / "s", {"class": band_of("MASK", tmp_path / "r.tif", 1, GRID, "uint16", 255)}, cells)
    wide = expected(layer[0], GRID, cells, 255)
    assert np.array_equal(stack.read("class", 0, stack.n_rows), np.where(wide == 65_535, 255, wide))
    assert stack.bands["class"].dtype == "uint8"


def test_an_empty_mask_gives_an_empty_stack(tmp_path: Path) -> None:
    write_tif(tmp_path / "r.tif", noise(5, 1, GRID), GRID)
    cells = farmland_mask(np.empty(0, dtype=object), TILE, 40.0).cells(GRID)
    stack = gathered(tmp_path / "s", {"B04": band_of("B04", tmp_path / "r.tif", 1, GRID, "uint16")}, cells)
    assert (stack.n_rows, RowRanges.covering(np.empty(0, np.int64)).n_rows) == (0, 0)


def _gather_one(mask: Mask, tmp_path: Path, band: Band, grid: Grid = GRID) -> None:
    gathered(tmp_path / "s", {"B04": band}, mask.cells(grid))


def test_a_file_on_another_lattice_is_told_with_both_grids(mask: Mask, tmp_path: Path) -> None:
    shifted = dataclasses.replace(GRID, ulx=GRID.ulx + 4)
    write_tif(tmp_path / "r.tif", noise(1, 1, shifted), shifted)
    with pytest.raises(InputError, match=r"corner \(600004, 5300000\).*tile's.*corner \(600000, 5300000\)") as caught:
        _gather_one(mask, tmp_path, band_of("B04", tmp_path / "r.tif", 1, shifted, "uint16"))
    assert caught.value.where == str(tmp_path / "r.tif")


@pytest.mark.parametrize(
    "actual",
    [
        dataclasses.replace(GRID, crs="EPSG:32633"),
        dataclasses.replace(GRID, ulx=GRID.ulx + 10),
        dataclasses.replace(GRID, width=GRID.width - 1),
        dataclasses.replace(GRID, res_m=20.0),
    ],
    ids=["crs", "corner", "size", "pixels"],
)
def test_a_file_that_is_not_what_its_metadata_says_is_told(mask: Mask, tmp_path: Path, actual: Grid) -> None:
    write_tif(tmp_path / "r.tif", noise(1, 1, actual), actual)
    with pytest.raises(InputError, match="its metadata says"):
        _gather_one(mask, tmp_path, band_of("B04", tmp_path / "r.tif", 1, GRID, "uint16"))


def test_a_band_of_another_pixel_size_than_its_stack_is_told(mask: Mask, tmp_path: Path) -> None:
    coarse = TILE.grid(20)
    write_tif(tmp_path / "r.tif", noise(1, 1, coarse), coarse)
    with pytest.raises(InputError, match="has another grid"):
        _gather_one(mask, tmp_path, band_of("B04", tmp_path / "r.tif", 1, coarse, "uint16"))


@pytest.mark.parametrize(("index", "dtype"), [(2, "uint16"), (1, "int16")])
def test_a_layer_that_is_not_there_or_of_another_type_is_told(
    mask: Mask, tmp_path: Path, index: int, dtype: str
) -> None:
    write_tif(tmp_path / "r.tif", noise(1, 1, GRID), GRID)
    with pytest.raises(InputError, match=f"layer {index} of type {dtype}, the file has 1 layers of type uint16"):
        _gather_one(mask, tmp_path, band_of("B04", tmp_path / "r.tif", index, GRID, dtype))


@pytest.mark.parametrize("promised", [1024, 2048])
def test_blocks_too_tall_for_the_promised_memory_are_told(mask: Mask, tmp_path: Path, promised: int) -> None:
    for rows in (promised, promised + 16):
        tall = dataclasses.replace(GRID, height=4000, width=4)
        write_tif(tmp_path / f"{rows}.tif", noise(1, 1, tall), tall, blockysize=rows, compress="deflate")
    layers = {rows: {"B04": band_of("B04", tmp_path / f"{rows}.tif", 1, tall, "uint16")} for rows in (promised, rows)}
    gathered(tmp_path / "s", layers[promised], mask.cells(GRID), promised)
    with pytest.raises(InputError, match=f"blocks of {rows} rows; {promised} at most") as caught:
        gathered(tmp_path / "s", layers[rows], mask.cells(GRID), promised)
    assert "gdal_translate" in str(caught.value)


def test_a_missing_file_is_told(mask: Mask, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        _gather_one(mask, tmp_path, band_of("B04", tmp_path / "absent.tif", 1, GRID, "uint16"))


def test_the_damaged_one_of_several_files_is_named(mask: Mask, tmp_path: Path) -> None:
    options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    for name in ("a", "b", "c"):
        write_tif(tmp_path / f"{name}.tif", noise(1, 1, GRID), GRID, **options)
    content = (tmp_path / "b.tif").read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    (tmp_path / "b.tif").write_bytes(damaged)
    layers = {name: band_of(name, tmp_path / f"{name}.tif", 1, GRID, "uint16") for name in ("a", "b", "c")}
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        gathered(tmp_path / "s", layers, mask.cells(GRID))
    assert caught.value.where == str(tmp_path / "b.tif")
