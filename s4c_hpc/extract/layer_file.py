"""An open raster file, held against what the catalog says of it and against the tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from s4c_hpc.catalog.model import Band
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.cells import pixel_shift, text_of


class LayerFile:
    """A raster and the layers that are wanted of it."""

    def __init__(self, path: str, raster: Any, layers: Mapping[str, Band], grid: Grid, max_block_rows: int) -> None:
        """Check an open raster.

        Parameters
        ----------
        raster : of ``open_raster``
        layers : of this file, by column of the stack
        grid : of the tile, at the pixel size of the layers
        max_block_rows : tallest blocks that the task's memory was promised for

        Raises
        ------
        InputError
            If the file is not what the catalog says, lies on another grid than the tile, or has too tall blocks.
        """
        self.path, self.raster, self.layers = path, raster, layers
        for band in layers.values():
            self._check_layer(band, grid)
        self.row, self.column = pixel_shift(next(iter(layers.values())).grid, grid, path)
        """Row and column of the tile's grid where the raster begins."""
        shapes = [raster.block_shapes[band.index - 1] for band in layers.values()]
        self.block_rows = min(max(rows for rows, _ in shapes), raster.height)
        self.block_columns = max(columns for _, columns in shapes)
        if self.block_rows > max_block_rows:
            raise InputError(
                f"is stored in blocks of {self.block_rows} rows; {max_block_rows} at most fit into a task's memory",
                where=path,
                hint="store it tiled: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE IN OUT",
            )

    def read(self, window: Window, keys: Sequence[str] | None = None) -> NDArray[Any]:
        """(n_layers, rows, columns) of all wanted layers in a window, or of those named; decoded together.

        Raises
        ------
        InputError
            If the file cannot be decoded.
        TemporaryError
            If it cannot be read just now.
        """
        numbers = [self.layers[key].index for key in (self.layers if keys is None else keys)]
        found: NDArray[Any] = self.raster.read(numbers, window=window)
        return found

    def _check_layer(self, band: Band, grid: Grid) -> None:
        raster, promised = self.raster, band.grid
        pixel_shift(promised, grid, self.path)
        if abs(promised.res_m - grid.res_m) > 1e-9:
            raise InputError(
                f"band {band.name} has another grid ({text_of(promised)}) than its stack ({text_of(grid)})",
                where=self.path,
                hint="scan the catalog again",
            )
        if band.index > raster.count or np.dtype(raster.dtypes[band.index - 1]) != np.dtype(band.dtype):
            raise InputError(
                f"band {band.name} should be layer {band.index} of type {band.dtype}, the file has "
                f"{raster.count} layers of type {', '.join(dict.fromkeys(raster.dtypes))}",
                where=self.path,
                hint="scan the catalog again",
            )
        # Some producers write JPEG2000 without georeference: then only the size can be compared.
        actual = promised if raster.crs is None else _grid_of(raster, promised.crs)
        if (raster.width, raster.height) != (promised.width, promised.height) or not actual.same_as(promised):
            raise InputError(
                f"is {raster.width} x {raster.height} pixels on {text_of(actual)}; its metadata says "
                f"{promised.width} x {promised.height} pixels on {text_of(promised)}",
                where=self.path,
                hint="fetch the product again",
            )


def _grid_of(raster: Any, expected_crs: str) -> Grid:
    is_expected = raster.crs == rasterio.CRS.from_string(expected_crs)
    return Grid(
        crs=expected_crs if is_expected else str(raster.crs),
        ulx=raster.transform.c,
        uly=raster.transform.f,
        res_m=raster.transform.a,
        width=raster.width,
        height=raster.height,
    )
