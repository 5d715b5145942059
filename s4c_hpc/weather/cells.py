"""Cells of weather: how far each one reaches, and which is nearest to a place."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_KM_PER_DEGREE: Final = 111.195
"""Of a great circle, with a mean radius of 6371.0 km."""

_RADIUS_KM: Final = 6371.0
_LONE_KM: Final = 15.0
"""Reach of a single cell, whose size cannot be known: about half a diagonal of a cell of ERA5 in Europe."""

_ROUNDING: Final = 1.001
"""A parcel at the very corner of a cell is in it, whatever rounding of coordinates does."""


def reaches(lon: Floats, lat: Floats) -> Floats:
    """(c,) half a diagonal of each cell, in km.

    Cells on a lattice of longitudes and latitudes have its steps. Others (stations, grids of a projection) count as
    squares whose side is the median distance of a cell to its neighbour.

    Parameters
    ----------
    lon, lat : (c,) centres in degrees
    """
    if lon.size == 1:
        return np.full(1, _LONE_KM)
    step_lon, step_lat = _step(lon), _step(lat)
    steps = [step for step in (step_lon, step_lat) if step is not None]
    if not steps:
        near, _ = _tree(lon, lat).query(_on_sphere(lon, lat), k=2)
        return np.full(lon.size, float(np.median(_arc_km(near[:, 1]))) / np.sqrt(2) * _ROUNDING)
    # Cells of a single row or column are taken for squares, in degrees.
    wide, high = step_lon or steps[0], step_lat or steps[0]
    # At the side that is nearer to the equator, where the cell is widest.
    edge = np.maximum(np.abs(lat) - high / 2, 0.0)
    width = wide * _KM_PER_DEGREE * np.cos(np.radians(edge))
    half: Floats = np.hypot(width, high * _KM_PER_DEGREE) / 2 * _ROUNDING
    return half


def nearest(lon: Floats, lat: Floats, reach_km: Floats, at_lon: Floats, at_lat: Floats) -> NDArray[np.int64]:
    """(n,) nearest cell of each place; -1 where it is further away than it reaches, or the place is not known.

    Parameters
    ----------
    lon, lat, reach_km : (c,) cells
    at_lon, at_lat : (n,) places in degrees
    """
    found = np.full(at_lon.size, -1, np.int64)
    known = np.flatnonzero(np.isfinite(at_lon) & np.isfinite(at_lat))
    if known.size and lon.size:
        chord, cell = _tree(lon, lat).query(_on_sphere(at_lon[known], at_lat[known]))
        found[known] = np.where(_arc_km(chord) <= reach_km[cell], cell, -1)
    return found


def _tree(lon: Floats, lat: Floats) -> Any:
    from scipy.spatial import KDTree  # noqa: PLC0415 - heavy, and not needed to plan

    return KDTree(_on_sphere(lon, lat))


def _step(values: Floats) -> float | None:
    """Step of a lattice of coordinates; ``None`` if they are all the same or stand on none.

    A lattice may have holes: all differences are multiples of the least one.
    """
    distinct = np.unique(np.round(values, 5))
    if distinct.size < 2:
        return None
    gaps = np.diff(distinct)
    step = float(gaps.min())
    times = gaps / step
    # Coordinates are single precision or rounded to 2 decimals; a lattice is at least as fine as 100 steps of that.
    return step if np.abs(times - np.round(times)).max() < 0.2 and step >= 0.005 else None


def _on_sphere(lon: Floats, lat: Floats) -> Floats:
    """(n, 3) unit vectors: distances over the date line are distances."""
    x, y = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=1)


def _arc_km(chord: Floats) -> Floats:
    arc: Floats = 2 * _RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1.0))
    return arc
