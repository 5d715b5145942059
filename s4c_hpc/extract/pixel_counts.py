"""How many pixels each parcel has on the grids of Sentinel-2 and Sentinel-1, as extraction finds them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.extract.polygons import rings_on, usable_polygons
from s4c_hpc.extract.scanline import centre_runs
from s4c_hpc.parcels.assign import Assignment
from s4c_hpc.parcels.outlines import BATCH, Outlines
from s4c_hpc.parcels.projection import reproject

GRIDS_M: Final = (10.0, 20.0)
"""Pixels of ``S2Pix`` and of ``S1Pix``."""


def pixel_counts(outlines: Outlines, crs: CRS, assignment: Assignment) -> NDArray[np.int32]:
    """Pixels (n, 2) on the grids of 10 m and 20 m of each parcel's own tile.

    A pixel counts if its centre lies within the outline shrunk by half a pixel: the rule of ``S2Pix`` and ``S1Pix`` of
    the reference system, and what an index with centre weighting and that buffer holds. Zero for parcels on no tile.

    Parameters
    ----------
    outlines : (n,) valid polygons in ``crs``, or missing
    assignment : their tiles
    """
    counts = np.zeros((len(outlines), len(GRIDS_M)), dtype=np.int32)
    for tile in assignment.tiles:
        mine = np.flatnonzero(assignment.tile == tile.id)
        for start in range(0, len(mine), BATCH):
            rows = mine[start : start + BATCH]
            geometry = reproject(outlines[rows], crs, tile.crs)
            for column, res_m in enumerate(GRIDS_M):
                grid = tile.grid(res_m)
                polygons = usable_polygons(geometry, res_m / 2)
                offsets, _, c0, c1 = centre_runs(rings_on(polygons, grid), grid.height, grid.width)
                before = np.concatenate(([0], np.cumsum(c1 - c0, dtype=np.int64)))
                counts[rows, column] = np.diff(before[offsets])
    return counts
