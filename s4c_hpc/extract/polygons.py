"""Geometries as the flat arrays that the kernels walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.core.grid import Grid

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


def usable_polygons(geometries: NDArray[np.object_], inset_m: float = 0.0) -> NDArray[np.object_]:
    """Polygons that kernels can trust: valid, oriented (shells anticlockwise, holes clockwise), shrunk if asked.

    Parameters
    ----------
    geometries : (n,) shapely geometries or None, in a CRS in metres
    inset_m : inward buffer, in metres

    Returns
    -------
    (n,) polygons, multipolygons or collections of them; empty or None where nothing is left: no geometry, infinite
    coordinates, lines and points, or a parcel narrower than twice the inset.
    """
    found: NDArray[np.object_] = np.array(geometries, dtype=object)
    # Coordinates that are not finite make GEOS raise for the whole array.
    found[~np.isfinite(shapely.bounds(found)).all(axis=1)] = None
    invalid = ~shapely.is_valid(found) & (found != None)  # noqa: E711 - element by element
    if invalid.any():
        found[invalid] = shapely.make_valid(found[invalid], method="structure", keep_collapsed=False)
    if inset_m > 0:
        found = shapely.buffer(found, -inset_m, quad_segs=QUARTER_SEGMENTS)
    oriented: NDArray[np.object_] = shapely.orient_polygons(found)
    return oriented


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
    """Rings of usable polygons on a grid.

    Parameters
    ----------
    polygons : (n,) as ``usable_polygons`` returns them
    grid : in the CRS of the polygons
    """
    parts, owner = _polygon_parts(polygons)
    rings, part = shapely.get_rings(parts, return_index=True)
    coordinates: NDArray[np.float64]
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    return Rings(
        x=(coordinates[:, 0] - grid.ulx) / grid.res_m,
        y=(grid.uly - coordinates[:, 1]) / grid.res_m,
        ring_offsets=_offsets(ring, len(rings)),
        offsets=_offsets(owner[part], len(polygons)),
    )


def _polygon_parts(geometries: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    parts, owner = shapely.get_parts(geometries, return_index=True)
    # A repaired geometry can be a collection that holds a multipolygon.
    parts, whole = shapely.get_parts(parts, return_index=True)
    keep = shapely.get_type_id(parts) == _POLYGON
    return parts[keep], owner[whole][keep]


def _offsets(owner: NDArray[Any], n: int) -> NDArray[np.int64]:
    """(n + 1,) first place of each owner in an ascending array of owners."""
    return np.searchsorted(owner, np.arange(n + 1)).astype(np.int64)
