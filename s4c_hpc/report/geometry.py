"""Parcel outlines for the map: streamed in batches and projected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pyproj
import shapely
from numpy.typing import NDArray

from s4c_hpc.parcels.geoparquet import GEOMETRY, crs_of
from s4c_hpc.report.sources import Parcels

_BATCH_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """Geometries in map coordinates."""

    crs: pyproj.CRS
    """Projected, in metres."""
    geometry: NDArray[np.object_]
    """(n_parcels,) in row order; ``None`` for a parcel without geometry."""


def map_crs(parcels: Parcels) -> pyproj.CRS:
    """The CRS of the declaration if it is projected in metres, else an equal-area one centred on the parcels."""
    crs = crs_of(parcels.path)
    if crs.is_projected and crs.axis_info[0].unit_name == "metre":
        return crs
    west, south, east, north = _bounds(parcels)
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform((west + east) / 2, (south + north) / 2)
    return pyproj.CRS.from_dict(
        {"proj": "laea", "lat_0": round(latitude, 3), "lon_0": round(longitude, 3), "units": "m"}
    )


def outlines(parcels: Parcels) -> Outlines:
    """All parcels as polygons, as detailed as they were declared."""
    crs = map_crs(parcels)
    return Outlines(crs=crs, geometry=np.concatenate([np.empty(0, object), *_projected(parcels, crs)]))


def centres(parcels: Parcels) -> tuple[pyproj.CRS, NDArray[np.float64]]:
    """(n_parcels, 2) centroids in the map's CRS; NaN for a parcel without geometry."""
    crs = map_crs(parcels)
    parts = [shapely.centroid(geometry) for geometry in _projected(parcels, crs)]
    points = np.concatenate([np.empty(0, object), *parts])
    return crs, np.column_stack([shapely.get_x(points), shapely.get_y(points)])


def _projected(parcels: Parcels, crs: pyproj.CRS) -> Iterator[NDArray[np.object_]]:
    declared = crs_of(parcels.path)
    transformer = None if declared == crs else pyproj.Transformer.from_crs(declared, crs, always_xy=True)
    with pq.ParquetFile(parcels.path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=[GEOMETRY]):
            wkb = batch.column(0).to_numpy(zero_copy_only=False)
            geometry = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
            if transformer is not None:
                geometry = shapely.transform(geometry, transformer.transform, interleaved=False)
            yield geometry


def _bounds(parcels: Parcels) -> tuple[float, float, float, float]:
    """Bounds of all parcels in the declaration's CRS."""
    total = np.array([np.inf, np.inf, -np.inf, -np.inf])
    for geometry in _projected(parcels, crs_of(parcels.path)):
        bounds = shapely.total_bounds(geometry)
        if np.isfinite(bounds).all():
            total = np.concatenate([np.minimum(total[:2], bounds[:2]), np.maximum(total[2:], bounds[2:])])
    west, south, east, north = (float(v) for v in total)
    return west, south, east, north
