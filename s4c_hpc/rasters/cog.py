"""Cloud-Optimized GeoTIFF files, written piece by piece.

GDAL makes one from a whole dataset only, since overviews come first in the file. So pieces go to a plain tiled file in
the task's private folder, which is then copied; neither is ever in memory as a whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rasterio
import rasterio.shutil

from s4c_hpc.core.grid import Grid
from s4c_hpc.rasters.encode import NODATA

BLOCK: Final = 512
"""Pixels along an edge of a block."""

_GDAL_OPTIONS: Final = {"GDAL_PAM_ENABLED": "NO"}
"""Everything stands in the file itself: no ``.aux.xml`` beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a raster says of itself."""

    scale: float
    """Value = stored * scale."""
    unit: str
    long_name: str
    tags: Mapping[str, str]


def plain_bytes(grid: Grid) -> int:
    """Bytes of the plain file: whole blocks of 2 bytes a pixel, and what describes them."""
    blocks = -(-grid.width // BLOCK) * -(-grid.height // BLOCK)
    return blocks * (BLOCK * BLOCK * 2 + 64) + 65_536


def most_bytes(grid: Grid) -> int:
    """Most bytes of the finished file: pixels that do not compress, overviews of a third of them.

    Blocks reach beyond the grid, but what fills them compresses to next to nothing.
    """
    blocks = -(-grid.width // BLOCK) * -(-grid.height // BLOCK)
    return 3 * grid.width * grid.height + 1024 * blocks + 65_536


@contextlib.contextmanager
def plain_file(path: Path, grid: Grid, description: Description) -> Iterator[Any]:
    """Open a plain file for windows of int16; yields a ``rasterio`` writer."""
    with (
        rasterio.Env(**_GDAL_OPTIONS),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=1,
            dtype="int16",
            nodata=NODATA,
            crs=grid.crs,
            transform=rasterio.Affine(*grid.transform),
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            BIGTIFF="IF_SAFER",
        ) as raster,
    ):
        raster.scales, raster.offsets, raster.units = (description.scale,), (0.0,), (description.unit,)
        raster.set_band_description(1, description.long_name)
        raster.update_tags(**description.tags)
        yield raster


def copy_to_cog(plain: Path, path: Path, *, compress: str, cache_bytes: int) -> None:
    """Make a Cloud-Optimized GeoTIFF of a plain file; the same pixels and tags give the same bytes.

    Parameters
    ----------
    compress : ``deflate`` or ``zstd``
    cache_bytes : of GDAL, for blocks
    """
    with rasterio.Env(GDAL_CACHEMAX=cache_bytes, **_GDAL_OPTIONS):
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            COMPRESS=compress.upper(),
            LEVEL=6 if compress == "deflate" else 3,
            PREDICTOR="YES",
            BLOCKSIZE=BLOCK,
            OVERVIEWS="IGNORE_EXISTING",
            OVERVIEW_RESAMPLING="AVERAGE",  # of pixels that have data
            OVERVIEW_COMPRESS=compress.upper(),
            BIGTIFF="IF_SAFER",
            NUM_THREADS="1",
        )
