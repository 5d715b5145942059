"""Values as 16-bit integers, and where the pixels of a tile's raster lie in those of a product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.windows import Window
from support.rasters import band_of, noise, write_tif

from s4c_hpc.catalog import open_raster
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.extract.layer_file import LayerFile
from s4c_hpc.rasters import NODATA, pack
from s4c_hpc.rasters.frame import cut_to_tile, nearest_columns, nearest_rows
from s4c_hpc.rasters.rows import STRIP_ROWS, FileRows

SCALE = 1e-4


def test_negative_values_are_kept() -> None:
    """The reference system stores them as no data."""
    assert pack(np.array([-0.25, -0.0001, -1.0]), SCALE).values.tolist() == [-2500, -1, -10000]


def test_values_are_rounded_and_not_cut_off() -> None:
    """The reference system truncates: 0.56789 became 5678, and -0.56789 became -5678."""
    assert pack(np.array([0.56789, -0.56789, 0.00004, 0.00006]), SCALE).values.tolist() == [5679, -5679, 0, 1]


def test_what_is_too_large_is_no_data_and_counted() -> None:
    """In the reference system brightness wraps around to negative numbers."""
    packed = pack(np.array([3.2767, 3.2768, -3.2767, -3.2768, 1e300, np.inf, np.nan]), SCALE)
    assert packed.values.tolist() == [32767, NODATA, -32767, NODATA, NODATA, NODATA, NODATA]
    assert packed.n_beyond == 4, "no data in the first place is not beyond"


@given(
    arrays(np.float64, st.integers(0, 50), elements=st.floats(width=64)),
    st.sampled_from([1e-4, 1e-3, 0.1, 1.0, 7.3]),
)
def test_every_value_is_within_half_a_step_or_no_data(values: NDArray[np.float64], scale: float) -> None:
    packed = pack(values, scale)
    kept = packed.values != NODATA
    assert np.all(np.abs(packed.values[kept] * scale - values[kept]) <= scale * (0.5 + 1e-9))
    assert np.all(~(np.abs(values[~kept]) < 32767 * scale)), "nothing that fits is lost"
    assert packed.n_beyond == np.count_nonzero(~kept) - np.count_nonzero(np.isnan(values))


TILE = Tile(id="T", crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, width_m=1000.0, height_m=800.0)


def test_a_product_of_the_tile_is_not_cut() -> None:
    grid = TILE.grid(20)
    assert cut_to_tile(grid, TILE) == grid


def test_a_larger_product_is_cut_to_whole_pixels_that_touch_the_tile() -> None:
    scene = Grid(crs=TILE.crs, ulx=599_115.0, uly=5_400_915.0, res_m=30.0, width=100, height=100)
    cut = cut_to_tile(scene, TILE)
    west, south, east, north = cut.bounds
    assert (west, north) == (599_985.0, 5_400_015.0), "on the scene's own lattice"
    assert west <= 600_000 < west + 30
    assert east - 30 < 601_000 <= east
    assert south <= 5_399_200 < south + 30


def test_a_smaller_product_keeps_its_extent_and_one_beside_the_tile_is_refused() -> None:
    part = Grid(crs=TILE.crs, ulx=600_200.0, uly=5_399_900.0, res_m=10.0, width=20, height=30)
    assert cut_to_tile(part, TILE) == part
    south = replace(TILE, crs="EPSG:32732", uly=9_000_000)
    of_landsat = Grid(crs="EPSG:32632", ulx=south.ulx - 15, uly=-1_000_000 + 15, res_m=30, width=400, height=400)
    assert cut_to_tile(of_landsat, south).crs == "EPSG:32732", "northings from the equator: a shift, no other grid"
    beside = Grid(crs=TILE.crs, ulx=601_000.0, uly=5_400_000.0, res_m=10.0, width=20, height=30)
    with pytest.raises(InputError, match="does not reach the tile"):
        cut_to_tile(beside, TILE)
    with pytest.raises(InputError, match="foreign grid"):
        cut_to_tile(Grid(crs="EPSG:32633", ulx=600_000, uly=5_400_000, res_m=10, width=2, height=2), TILE)


def test_a_coarser_pixel_is_the_parent() -> None:
    frame, coarse = TILE.grid(10), TILE.grid(60)
    assert nearest_columns(frame, coarse).tolist() == [column // 6 for column in range(100)]
    assert nearest_rows(frame, coarse).tolist() == [row // 6 for row in range(80)]
    shifted = Grid(crs=TILE.crs, ulx=600_020.0, uly=5_399_980.0, res_m=20.0, width=5, height=5)
    assert nearest_columns(frame, shifted)[:4].tolist() == [-1, -1, 0, 0]
    assert nearest_rows(frame, shifted)[:4].tolist() == [-1, -1, 0, 0]


class CountingFile(LayerFile):
    """Knows how often each pixel was read."""

    times: NDArray[np.int64]

    def read(self, window: Window, keys: Sequence[str] | None = None) -> NDArray[Any]:
        rows = slice(window.row_off, window.row_off + window.height)
        self.times[rows, window.col_off : window.col_off + window.width] += 1
        return super().read(window, keys)


@settings(max_examples=25, deadline=None)
@given(
    blocks=st.sampled_from([(16, 16), (64, 128), (512, 512), None]),
    shift=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    shape=st.tuples(st.integers(1, 700), st.integers(1, 90)),
    factor=st.sampled_from([1, 2, 6]),
)
def test_rows_are_the_files_own_and_no_block_is_decoded_twice(
    tmp_path_factory: pytest.TempPathFactory,
    blocks: tuple[int, int] | None,
    shift: tuple[int, int],
    shape: tuple[int, int],
    factor: int,
) -> None:
    """Whatever the blocks, the extent of the file against the frame and the pixel size."""
    height, width = shape
    source = Grid(
        crs=TILE.crs,
        ulx=TILE.ulx + 10.0 * factor * shift[0],
        uly=TILE.uly - 10.0 * factor * shift[1],
        res_m=10.0 * factor,
        width=width,
        height=height,
    )
    frame = Grid(crs=TILE.crs, ulx=TILE.ulx, uly=TILE.uly, res_m=10.0, width=130, height=1100)
    layers = noise(1, 2, source)
    options = {"tiled": True, "blockysize": blocks[0], "blockxsize": blocks[1]} if blocks else {}
    path = write_tif(tmp_path_factory.mktemp("rows") / "a.tif", layers, source, **options)
    bands = {"B04": band_of("B04", path, 2, source, "uint16"), "B03": band_of("B03", path, 1, source, "uint16")}
    expected = np.zeros((2, frame.height, frame.width), dtype=np.uint16)
    rows = np.arange(frame.height) // factor - shift[1]
    columns = np.arange(frame.width) // factor - shift[0]
    has = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    expected[:, has] = layers[:, np.clip(rows, 0, height - 1)][:, :, np.clip(columns, 0, width - 1)][:, has]
    with open_raster(path) as raster:
        file = CountingFile(str(path), raster, bands, source, 4096)
        file.times = np.zeros((height, width), dtype=int)
        reader = FileRows(file, ["B03", "B04"], source, frame)
        for top in range(0, frame.height, STRIP_ROWS):
            strip = slice(top, min(top + STRIP_ROWS, frame.height))
            reader.advance(strip.start, strip.stop)
            for part in (slice(0, 77), slice(77, 130)):
                for layer, name in enumerate(["B03", "B04"]):
                    found, there = reader.picked(name, strip, part)
                    assert np.array_equal(there, has[strip, part])
                    assert np.array_equal(np.where(there, found, 0), expected[layer, strip, part])
    assert file.times.max() <= 1
