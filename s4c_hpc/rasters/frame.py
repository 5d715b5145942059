"""Where the pixels of a tile's raster lie, and where the nearest ones of other grids are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import TOLERANCE_M, Grid, Tile


def cut_to_tile(grid: Grid, tile: Tile) -> Grid:
    """The pixels of a product's grid that touch a tile, on the product's own lattice and in the tile's CRS.

    Raises
    ------
    InputError
        If there is none, or the CRS differ.
    """
    grid = grid.on_crs(tile.crs)
    if grid.crs != tile.crs:
        raise InputError(
            f"foreign grid: {grid.crs}, the tile has {tile.crs}", where=f"tile {tile.id}", hint="warp the product first"
        )
    west, south, east, north = tile.bounds
    # A hair's breadth of a pixel beyond the edge is a rounding of corners, not a pixel.
    slack = TOLERANCE_M / grid.res_m
    left = max(math.floor((west - grid.ulx) / grid.res_m + slack), 0)
    right = min(math.ceil((east - grid.ulx) / grid.res_m - slack), grid.width)
    top = max(math.floor((grid.uly - north) / grid.res_m + slack), 0)
    bottom = min(math.ceil((grid.uly - south) / grid.res_m - slack), grid.height)
    if left >= right or top >= bottom:
        raise InputError("the product does not reach the tile", where=f"tile {tile.id}", hint="scan the catalog again")
    return Grid(
        crs=grid.crs,
        ulx=grid.ulx + left * grid.res_m,
        uly=grid.uly - top * grid.res_m,
        res_m=grid.res_m,
        width=right - left,
        height=bottom - top,
    )


def nearest_rows(frame: Grid, source: Grid) -> NDArray[np.int64]:
    """Row of ``source`` in which the centre of each row of ``frame`` lies; (frame.height,), perhaps outside of it."""
    return _nearest((source.uly - frame.uly) / source.res_m, frame.res_m / source.res_m, frame.height)


def nearest_columns(frame: Grid, source: Grid) -> NDArray[np.int64]:
    """Column of ``source`` in which the centre of each column of ``frame`` lies; (frame.width,)."""
    return _nearest((frame.ulx - source.ulx) / source.res_m, frame.res_m / source.res_m, frame.width)


def _nearest(begin: float, step: float, n: int) -> NDArray[np.int64]:
    """Whole part of the places of ``n`` centres, in pixels of the source."""
    places: NDArray[np.float64] = np.floor(begin + (np.arange(n) + 0.5) * step)
    return places.astype(np.int64)
