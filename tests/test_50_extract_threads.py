"""Decoding: every block once, and the same stack from any number of threads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from support.rasters import band_of

from s4c_hpc.catalog import Band, opened
from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.extract import Cells, StackColumn, StackWriter, farmland_mask, gather_grid
from s4c_hpc.extract.layer_file import LayerFile

SIDE_M = 6000.0
TILE = Tile(id="t", crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, width_m=SIDE_M, height_m=SIDE_M)
GRID = TILE.grid(10)
FORMATS: dict[str, dict[str, Any]] = {
    "jp2": {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": 128, "BLOCKYSIZE": 128},
    "tif": {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"},
}


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Farmland in the whole width, with a gap in the middle rows."""
    west, south, east, north = TILE.bounds
    strips = [shapely.box(west, y, east, y + 900) for y in (south + 10, north - 1010)]
    return farmland_mask(np.array(strips, dtype=object), TILE, 0.0).cells(GRID)


def write(path: Path, grid: Grid, options: dict[str, Any], dtype: str) -> NDArray[Any]:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3000, (grid.height, grid.width)).astype(dtype)
    shape = {"width": grid.width, "height": grid.height, "count": 1, "dtype": dtype}
    transform = rasterio.Affine(*grid.transform)
    with rasterio.open(path, "w", crs=grid.crs, transform=transform, **shape, **options) as raster:
        raster.write(values, 1)
    return values


def stack_bytes(path: Path, layers: dict[str, Band], cells: Cells, threads: int) -> bytes:
    columns = [StackColumn(name=name, dtype=band.dtype) for name, band in layers.items()]
    columns.append(StackColumn(name="class", dtype="uint8", nodata=255))
    with StackWriter(path, columns, {}) as writer:
        gather_grid(layers, cells, writer, threads=threads)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "dtype"), [("jp2", "uint16"), ("tif", "uint16"), ("tif", "int16"), ("tif", "float32")]
)
def test_any_number_of_threads_gives_the_same_bytes(tmp_path: Path, cells: Cells, kind: str, dtype: str) -> None:
    layers = {}
    for name in ("B02", "B03"):
        path = tmp_path / f"{name}.{kind}"
        write(path, GRID, FORMATS[kind], dtype)
        layers[name] = band_of(name, path, 1, GRID, dtype)
    before = opened()
    one, two, many = (stack_bytes(tmp_path / f"s{n}", layers, cells, n) for n in (1, 2, 5))
    assert one == two == many
    assert opened() - before == 3 * 2  # each file once each time


def test_every_block_with_farmland_is_decoded_once(
    tmp_path: Path, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "b.jp2", GRID, FORMATS["jp2"], "uint16")
    asked: Counter[tuple[int, int]] = Counter()
    plain = LayerFile.read

    def watched(self: LayerFile, window: Any, *rest: Any) -> NDArray[Any]:
        for row in range(window.row_off, window.row_off + window.height):
            for column in range(window.col_off // 128, -(-(window.col_off + window.width) // 128)):
                asked[row, column] += 1
        return plain(self, window, *rest)

    monkeypatch.setattr(LayerFile, "read", watched)
    stack_bytes(tmp_path / "s", {"B02": band_of("B02", tmp_path / "b.jp2", 1, GRID, "uint16")}, cells, 1)
    n_columns = -(-GRID.width // 128)
    used = {row // 128 for row in cells.row.tolist()}
    assert set(asked.values()) == {1}
    assert {row // 128 for row, _ in asked} == used
    assert len(used) < -(-GRID.height // 128)  # there are blocks without farmland
    assert len(asked) == n_columns * sum(min(128, GRID.height - 128 * block) for block in used)
