"""Outline of a product in longitude and latitude."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import shapely

from s4c_hpc.core.grid import Grid

Bounds = tuple[float, float, float, float]

_POINTS_PER_EDGE = 21
"""A straight edge of a UTM tile of 110 km is bent by less than 1 m between that many points."""


def outline(grid: Grid) -> tuple[Any, Bounds]:
    """Outline of a pixel grid as a shapely geometry, and its bounds.

    Returns
    -------
    Polygon in degrees (longitude, latitude, WGS 84), counter-clockwise; a multi-polygon cut at the antimeridian where
    it crosses that. Bounds are (west, south, east, north) with west > east in that case (RFC 7946, section 5.2).
    """
    return _outline(grid.crs, grid.bounds)


@lru_cache(maxsize=4096)
def _outline(crs: str, bounds: Bounds) -> tuple[Any, Bounds]:
    west, south, east, north = bounds
    steps = np.linspace(0.0, 1.0, _POINTS_PER_EDGE)[:-1]
    x = np.concatenate(
        [west + (east - west) * steps, np.full(20, east), east - (east - west) * steps, np.full(20, west)]
    )
    y = np.concatenate(
        [np.full(20, south), south + (north - south) * steps, np.full(20, north), north - (north - south) * steps]
    )
    longitude, latitude = _to_degrees(crs).transform(x, y)
    crosses = float(np.ptp(longitude)) > 180.0
    if crosses:
        longitude = np.where(longitude < 0, longitude + 360.0, longitude)
    ring = shapely.Polygon(np.column_stack([np.round(longitude, 7), np.round(latitude, 7)]))
    xmin, ymin, xmax, ymax = (float(v) for v in ring.bounds)
    if not crosses:
        return ring, (xmin, ymin, xmax, ymax)
    east_half = shapely.intersection(ring, shapely.box(0.0, -90.0, 180.0, 90.0))
    west_half = shapely.affinity.translate(shapely.intersection(ring, shapely.box(180.0, -90.0, 360.0, 90.0)), -360.0)
    return shapely.MultiPolygon([east_half, west_half]), (xmin, ymin, xmax - 360.0, ymax)


@lru_cache(maxsize=256)
def _to_degrees(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
