"""Coordinates between reference systems, and lengths and areas on the ground. Axis order is always x, y."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

Geometries = NDArray[np.object_]
Floats = NDArray[np.float64]

_EARTH_RADIUS_M = 6_378_137.0
_ECCENTRICITY2 = 0.006_694_379_990_141_3
"""Semi-major axis and squared first eccentricity of WGS 84 (NGA.STND.0036)."""
_EQUAL_AREA = "+proj=cea +ellps=WGS84 +units=m +no_defs"


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)


@lru_cache(maxsize=256)
def _same(source: str, target: str) -> bool:
    return CRS.from_user_input(source).equals(CRS.from_user_input(target), ignore_axis_order=True)


def transform(xy: Floats, source: CRS, target: str) -> Floats:
    """Coordinates (n, 2) in another reference system; infinite where it does not reach."""
    if _same(source.to_wkt(), target):
        return xy
    x, y = _transformer(source.to_wkt(), target).transform(xy[:, 0], xy[:, 1])
    return np.column_stack((x, y))


def reproject(geometries: Geometries, source: CRS, target: str) -> Geometries:
    """Geometries (n,) with every vertex moved to another reference system; missing ones stay missing."""
    if _same(source.to_wkt(), target):
        return geometries
    moved: Geometries = shapely.transform(geometries, lambda xy: transform(xy, source, target))
    return moved


def bounds_in(geometries: Geometries, source: CRS, target: str) -> Floats:
    """Bounds (n, 4) ``xmin, ymin, xmax, ymax`` of the vertices in another reference system.

    ``geometries`` must be neither missing nor empty. Infinite where ``target`` does not reach.
    """
    if len(geometries) == 0:
        return np.empty((0, 4))
    if _same(source.to_wkt(), target):
        bounds: Floats = shapely.bounds(geometries)
        return bounds
    counts = shapely.get_num_coordinates(geometries)
    xy = transform(shapely.get_coordinates(geometries), source, target)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    return np.hstack((np.minimum.reduceat(xy, starts, axis=0), np.maximum.reduceat(xy, starts, axis=0)))


def is_metric(crs: CRS) -> bool:
    """Whether planar areas in this system are areas on the ground to some 0.1 %.

    Projected, in metres, and not a Mercator projection (web maps), whose areas are 2.3 times too large at
    48 degrees. Transverse and oblique ones are fine.
    """
    if not crs.is_projected:
        return False
    operation = crs.coordinate_operation or (crs.source_crs.coordinate_operation if crs.source_crs else None)
    method = "" if operation is None else operation.method_name.lower()
    if "mercator" in method and not any(word in method for word in ("transverse", "oblique")):
        return False
    return all(abs(axis.unit_conversion_factor - 1.0) < 1e-12 for axis in crs.axis_info[:2])


def outside_area_of_use(bounds: Floats, crs: CRS) -> str | None:
    """A sentence if the middle of the parcels lies outside of where their CRS is meant to be used.

    Parameters
    ----------
    bounds : (n, 4) ``xmin, ymin, xmax, ymax`` of each in ``crs``; NaN where there is none
    """
    known = bounds[~np.isnan(bounds[:, 0])]
    if crs.area_of_use is None or not len(known):
        return None
    west, south, east, north = crs.area_of_use.bounds
    (x0, y0), (x1, y1) = known[:, :2].min(axis=0), known[:, 2:].max(axis=0)
    ((longitude, latitude),) = transform(np.array([[(x0 + x1) / 2, (y0 + y1) / 2]]), crs, "EPSG:4326").tolist()
    # One degree of grace: countries stretch over the borders of their zone.
    across = (longitude - west + 1) % 360 <= (east - west) % 360 + 2 or east - west >= 360
    if across and south - 1 <= latitude <= north + 1:
        return None
    return (
        f"the middle of the parcels (longitude {longitude:.2f}, latitude {latitude:.2f}) lies outside of where "
        f"{crs.name} is meant to be used: check the file's CRS"
    )


def measure(geometries: Geometries, crs: CRS) -> tuple[Floats, Floats]:
    """Area in m2 and perimeter (holes included) in m of polygons (n,); 0 for missing ones.

    Planar where ``is_metric``, else on the WGS 84 ellipsoid.
    """
    if is_metric(crs):
        area, perimeter = shapely.area(geometries), shapely.length(geometries)
    else:
        area, perimeter = _ellipsoidal(geometries, crs)
    return np.nan_to_num(area, nan=0.0), np.nan_to_num(perimeter, nan=0.0)


def _ellipsoidal(geometries: Geometries, crs: CRS) -> tuple[Floats, Floats]:
    """Area and perimeter on the ellipsoid, for edges that are short beside the Earth.

    Areas are planar ones in a cylindrical equal-area projection. An edge is taken as straight there instead of
    as a geodesic: for an edge of length s the area between is about s^3 tan(latitude) / (12 R), a relative
    error of 1e-5 for fields of 1 km. Edge lengths use the radii of curvature at the edge's middle (Snyder, Map
    Projections: A Working Manual, USGS 1395, eqs 4-18, 4-20). Both run over all vertices at once, which
    ``pyproj.Geod`` cannot; the tests compare with it.
    """
    degrees: Geometries = reproject(geometries, crs, "EPSG:4326")
    flat: Geometries = reproject(degrees, CRS.from_epsg(4326), _EQUAL_AREA)
    parts, owner = shapely.get_parts(degrees, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    within = ring[1:] == ring[:-1]
    step = np.radians(np.diff(xy, axis=0)[within])
    middle = np.radians((xy[1:, 1] + xy[:-1, 1])[within] / 2)
    w2 = 1 - _ECCENTRICITY2 * np.sin(middle) ** 2
    north = step[:, 1] * _EARTH_RADIUS_M * (1 - _ECCENTRICITY2) / w2**1.5
    east = step[:, 0] * _EARTH_RADIUS_M * np.cos(middle) / np.sqrt(w2)
    of_geometry = owner[part[ring[1:][within]]]
    perimeter = np.bincount(of_geometry, weights=np.hypot(north, east), minlength=len(geometries)).astype(np.float64)
    area: Floats = shapely.area(flat)
    return area, perimeter
