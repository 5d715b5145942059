"""What the outlines of a whole declaration tell: sizes, duplicates, overlaps, tiles. In batches, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.config import OwnTile
from s4c_hpc.parcels.assign import Assignment, assign
from s4c_hpc.parcels.checks import duplicates
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.overlaps import Overlaps, overlaps
from s4c_hpc.parcels.projection import Floats, measure


@dataclass(frozen=True, eq=False)
class Survey:
    """Of each parcel (n,), in the order of the outlines."""

    bounds: Floats
    """(n, 4) ``xmin, ymin, xmax, ymax`` in the CRS of the outlines; NaN where there is none."""
    kinds: tuple[str, ...]
    """Kinds of geometry that occur, sorted."""
    area_m2: Floats
    perimeter_m: Floats
    duplicate: NDArray[np.bool_]
    overlaps: Overlaps
    assignment: Assignment


def survey(
    outlines: Outlines, crs: CRS, own_tiles: Sequence[OwnTile] = (), absent: NDArray[np.bool_] | None = None
) -> Survey:
    """Measure parcels, compare them with one another and give them their tiles.

    Parameters
    ----------
    outlines : (n,) valid polygons in ``crs``, or missing
    own_tiles : the site's own tiles; when there are none, the Sentinel-2 grid
    absent : (n,) parcels that are measured, but neither duplicate nor overlap others, and lie on no tile
    """
    n = len(outlines)
    bounds, plane = np.full((n, 4), np.nan), np.zeros(n)
    area, perimeter = np.zeros(n), np.zeros(n)
    kinds: set[str] = set()
    assigned = []
    here = np.ones(n, bool) if absent is None else ~absent
    for rows, geometry in outlines.batches():
        bounds[rows] = shapely.bounds(geometry)
        plane[rows] = shapely.area(geometry)
        area[rows], perimeter[rows] = measure(geometry, crs)
        kinds |= {
            geometry[i].geom_type for i in np.unique(shapely.get_type_id(geometry), return_index=True)[1] if geometry[i]
        }
        geometry[~here[rows]] = None
        assigned.append(assign(geometry, crs, own_tiles))
    present = outlines if absent is None else outlines.replaced(*_without(absent))
    known = np.where(here[:, None], bounds, np.nan)
    return Survey(
        bounds=bounds,
        kinds=tuple(sorted(kinds)),
        area_m2=area,
        perimeter_m=perimeter,
        duplicate=duplicates(present, known),
        overlaps=overlaps(present, known, plane, area),
        assignment=_joined(assigned),
    )


def _without(absent: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    rows = np.flatnonzero(absent)
    return rows, np.full(len(rows), None, dtype=object)


def _joined(parts: Sequence[Assignment]) -> Assignment:
    tiles = {tile.id: tile for part in parts for tile in part.tiles}
    return Assignment(
        tile=np.concatenate([np.empty(0, object), *(part.tile for part in parts)]),
        crosses=np.concatenate([np.empty(0, bool), *(part.crosses for part in parts)]),
        corner=np.concatenate([np.empty((0, 2)), *(part.corner for part in parts)]),
        reason=np.concatenate([np.empty(0, object), *(part.reason for part in parts)]),
        tiles=tuple(tiles[name] for name in sorted(tiles)),
    )
