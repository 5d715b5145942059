"""Small GeoTIFFs and the bands that describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from s4c_hpc.catalog import Band
from s4c_hpc.core.grid import Grid


def write_tif(path: Path, layers: NDArray[Any], grid: Grid, **options: Any) -> Path:
    """Write ``layers`` (n, height, width) in their own type."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=grid.width,
        height=grid.height,
        count=layers.shape[0],
        dtype=layers.dtype.name,
        crs=grid.crs,
        transform=rasterio.Affine(*grid.transform),
        **options,
    ) as raster:
        raster.write(layers)
    return path


def band_of(name: str, path: Path, index: int, grid: Grid, dtype: str, nodata: float | None = 0.0) -> Band:
    """A layer of a file as the catalog would describe it."""
    return Band(name=name, path=str(path), index=index, grid=grid, dtype=dtype, scale=1e-4, offset=-0.1, nodata=nodata)


def noise(seed: int, n_layers: int, grid: Grid, dtype: str = "uint16") -> NDArray[Any]:
    """(n_layers, height, width) values between 1 and 200."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 200, (n_layers, grid.height, grid.width)).astype(dtype)
