"""Geometries as the flat arrays that the kernels walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.core.grid import Grid
from s4c_hpc.core.jit import kernel
from s4c_hpc.core.rings import certainly_valid

QUARTER_SEGMENTS: Final = 8
"""Segments of a quarter circle in buffers: GEOS's own default, written down because numbers depend on it."""

_POLYGON: Final = 3
"""Type number of ``shapely.Polygon``."""


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings of polygons in pixel coordinates: x to the east in columns, y to the south in rows."""

    x: NDArray[np.float64]
    """(n_vertices,); the first vertex of a ring is repeated at its end."""
    y: NDArray[np.float64]
    """(n_vertices,)"""
    ring_offsets: NDArray[np.int64]
    """(n_rings + 1,) first vertex of each ring."""
    offsets: NDArray[np.int64]
    """(n_geometries + 1,) first ring of each geometry."""


def usable_polygons(
    geometries: NDArray[np.object_], inset_m: float = 0.0, *, compiled: bool = True
) -> NDArray[np.object_]:
    """Polygons that kernels can trust: valid, and shrunk if asked.

    Parameters
    ----------
    geometries : (n,) shapely geometries or None, in a CRS in metres
    inset_m : inward buffer, in metres
    compiled : whether kernels may be called, which is faster once they are loaded

    Returns
    -------
    (n,) polygons, multipolygons or collections of them; empty or None where nothing is left: no geometry, infinite
    coordinates, lines and points, or a parcel narrower than twice the inset.
    """
    found: NDArray[np.object_] = np.array(geometries, dtype=object)
    # Coordinates that are not finite make GEOS raise for the whole array.
    found[~np.isfinite(shapely.bounds(found)).all(axis=1)] = None
    invalid = _invalid(found) if compiled else np.flatnonzero(~shapely.is_valid(found) & ~shapely.is_missing(found))
    found[invalid] = shapely.make_valid(found[invalid], method="structure", keep_collapsed=False)
    if inset_m > 0:
        found = shapely.buffer(found, -inset_m, quad_segs=QUARTER_SEGMENTS)
    return found


def _invalid(geometries: NDArray[np.object_]) -> NDArray[np.int64]:
    """Places of those that are invalid; GEOS, which takes longer, is asked where it is not certain."""
    single = np.flatnonzero(_are_single(geometries))
    xy, ring_offsets = _coordinates(geometries[single])
    doubtful = ~shapely.is_missing(geometries)
    doubtful[single] = ~certainly_valid(xy, ring_offsets, np.arange(single.size + 1))
    places = np.flatnonzero(doubtful)
    invalid: NDArray[np.int64] = places[~shapely.is_valid(geometries[places])]
    return invalid


def _are_single(geometries: NDArray[np.object_]) -> NDArray[np.bool_]:
    """(n,) whether a geometry is a polygon of one ring; an empty one is none."""
    is_single: NDArray[np.bool_] = (
        (shapely.get_type_id(geometries) == _POLYGON)
        & (shapely.get_num_interior_rings(geometries) == 0)
        & ~shapely.is_empty(geometries)
    )
    return is_single


def _coordinates(rings: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``xy`` (n_vertices, 2) of rings, or of polygons that have one, and the first vertex of each (n + 1,)."""
    sizes = shapely.get_num_coordinates(rings)
    return shapely.get_coordinates(rings), np.r_[0, np.cumsum(sizes, dtype=np.int64)]


def clipped(polygons: NDArray[np.object_], bounds: tuple[float, float, float, float]) -> NDArray[np.object_]:
    """Usable polygons, cut to a rectangle where they reach beyond it.

    Parameters
    ----------
    polygons : (n,) as ``usable_polygons`` returns them
    bounds : ``(xmin, ymin, xmax, ymax)``
    """
    xmin, ymin, xmax, ymax = shapely.bounds(polygons).T
    # NaN, of empty ones, is not beyond anything.
    beyond = (xmin < bounds[0]) | (ymin < bounds[1]) | (xmax > bounds[2]) | (ymax > bounds[3])
    if not beyond.any():
        return polygons
    found: NDArray[np.object_] = polygons.copy()
    found[beyond] = usable_polygons(shapely.intersection(polygons[beyond], shapely.box(*bounds)))
    return found


def rings_on(polygons: NDArray[np.object_], grid: Grid) -> Rings:
    """Rings of usable polygons on a grid: shells anticlockwise as seen on the map, holes clockwise.

    Parameters
    ----------
    polygons : (n,) as ``usable_polygons`` returns them
    grid : in the CRS of the polygons
    """
    is_single = _are_single(polygons)
    single, several = np.flatnonzero(is_single), np.flatnonzero(~is_single)
    parts, part_owner = polygon_parts(polygons[several])
    rings, part = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
    owner = np.concatenate([single, several[part_owner[part]]])
    order = np.argsort(owner, kind="stable")
    xy, ring_offsets = _coordinates(np.concatenate([polygons[single], rings])[order])
    offsets = np.searchsorted(owner[order], np.arange(len(polygons) + 1)).astype(np.int64)
    _turn_single_rings(xy, ring_offsets, offsets)
    return Rings(
        x=(xy[:, 0] - grid.ulx) / grid.res_m,
        y=(grid.uly - xy[:, 1]) / grid.res_m,
        ring_offsets=ring_offsets,
        offsets=offsets,
    )


@kernel
def _turn_single_rings(xy: NDArray[np.float64], ring_offsets: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Reverse the ring of each geometry that has one, if it runs clockwise."""
    for g in range(offsets.size - 1):
        if offsets[g + 1] - offsets[g] != 1:
            continue
        first, last = ring_offsets[offsets[g]], ring_offsets[offsets[g] + 1]
        area = 0.0
        for k in range(first, last - 1):  # from the first vertex: coordinates of maps are long numbers
            ax, ay = xy[k, 0] - xy[first, 0], xy[k, 1] - xy[first, 1]
            bx, by = xy[k + 1, 0] - xy[first, 0], xy[k + 1, 1] - xy[first, 1]
            area += ax * by - bx * ay
        if area < 0.0:
            for i in range((last - first) // 2):
                for axis in range(2):
                    swapped = xy[first + i, axis]
                    xy[first + i, axis] = xy[last - 1 - i, axis]
                    xy[last - 1 - i, axis] = swapped


def polygon_parts(geometries: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Every polygon (m,) of geometries, and which of them it belongs to (m,), ascending."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    # A repaired geometry can be a collection that holds a multipolygon.
    parts, whole = shapely.get_parts(parts, return_index=True)
    keep = shapely.get_type_id(parts) == _POLYGON
    return parts[keep], owner[whole][keep]
