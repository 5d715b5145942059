"""What the tasks of this package need at most, from what is known before they run.

Geometries are not read when a plan is made. What is known of the parcels of a tile is their number and summed
perimeter; *boundary* is the perimeter and 80 m more for each parcel, and carries everything that grows with outlines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

from s4c_hpc.core.grid import is_landsat
from s4c_hpc.extract.cells import BASE_RES_M
from s4c_hpc.parcels import TileParcels

BASE_BYTES: Final = 300 << 20
"""Anonymous memory of a process beside its data: 130 MiB with kernels from the cache, 240 MiB while they compile."""

_METRES_PER_VERTEX: Final = 10.0
"""Densest digitising that is reckoned with, averaged over a tile; declarations have a vertex every 20 to 25 m."""

_BYTES_PER_VERTEX: Final = 100
"""WKB, delivered and reprojected geometry, and the flat coordinates between them, all at one time."""

_BYTES_PER_RUN: Final = 60
"""A run of cells is 20 bytes; making the runs of a 10 m grid needs three times as much."""


MAX_BLOCK_ROWS: Final = 2048
"""Tallest blocks of a raster that are accepted: they decide the memory of a task, promised before a file is opened."""

_BLOCK_ROWS: Final = {"sentinel2-l2a": 1024, "landsat-c2l2": 512}
"""Rows of the blocks of a source whose format fixes them (those of Landsat's files have 256)."""


def block_rows(source: str) -> int:
    """Tallest blocks that memory is promised for, by kind of source."""
    return _BLOCK_ROWS.get(source, MAX_BLOCK_ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What bounds the memory of a task beside its own work; known when it is planned, and no part of its identity."""

    boundary_m: float
    """See ``boundary_m``."""
    width_m: float
    """Extent of the tile to the east."""
    block_rows: int = MAX_BLOCK_ROWS

    @classmethod
    def of(cls, parcels: TileParcels, source: str) -> Self:
        """Sizes for a product of this kind of source."""
        return cls(boundary_m=boundary_m(parcels), width_m=parcels.tile.width_m, block_rows=block_rows(source))


MGRS_TILE: Final = Sizes(boundary_m=300e6, width_m=109_800.0)
"""What is reckoned with where nothing but a plan row is known: a tile full of parcels of 4 ha."""


def boundary_m(parcels: TileParcels) -> float:
    """Perimeter of all parcels of a tile and 80 m for each, in metres."""
    return parcels.perimeter_m + 80.0 * parcels.n_parcels


def geometry_bytes(boundary: float) -> int:
    """Memory of the parcels' geometries while they are read."""
    return int(boundary / _METRES_PER_VERTEX * _BYTES_PER_VERTEX)


def cells_bytes(boundary: float, res_m: float) -> int:
    """Memory of the cells of a grid: a run for every 40 m of boundary and row of 20 m, twice that at 10 m."""
    return int(boundary / 40.0 * max(1.0, 20.0 / res_m) * _BYTES_PER_RUN)


def farmland_cells(parcels: TileParcels, ring_m: float, res_m: float) -> int:
    """Most cells of a grid that the mask of a tile keeps.

    A kept cell lies within a square of half-width ``h`` (ring and a cell) around a point of a parcel. A square swept
    along an outline of length L adds at most sqrt(2) h L, and 4 h^2 for its corners; neighbours are taken to share
    nothing, but there are no more cells than the tile has. Landsat's pixels may begin where a cell of 20 m ends, those
    of other grids hold it or lie in it.
    """
    reach = BASE_RES_M + res_m if is_landsat(res_m) else max(BASE_RES_M, res_m)
    h = math.ceil(ring_m / BASE_RES_M) * BASE_RES_M + reach
    area = parcels.area_m2 + math.sqrt(2.0) * h * parcels.perimeter_m + 4.0 * h**2 * parcels.n_parcels
    # Cells beyond the tile's edge are kept whole; Landsat's lie beyond it on all sides.
    beyond = 2.0 * res_m if is_landsat(res_m) else res_m
    tile = (parcels.tile.width_m + beyond) * (parcels.tile.height_m + beyond)
    return math.ceil(min(area, tile) / res_m**2)
