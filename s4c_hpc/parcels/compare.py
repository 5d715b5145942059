"""How the outlines of a declaration stand to those of an earlier version.

Two outlines are the same if their WKB is the same bytes: then whatever was computed from the one holds for the other.
Digitised again, or moved from another reference system, an outline is hardly ever the same bytes; with a tolerance
above 0, one that lies within it of the old one is *replaced by the old one*, and so nothing is computed again.

The earlier version is read a row group at a time: what is held of it is a row group and two columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.parcels.geoparquet import GEOMETRY, crs_of
from s4c_hpc.parcels.projection import Floats, Geometries, is_metric, reproject

_M_PER_DEG = 111_320.0
"""Metres of one degree of latitude, to half a per cent: enough to tell digitising noise from another field."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Compared:
    """Outlines beside those of an earlier version; arrays have a row for each of the new ones."""

    known: Flags
    """(n,) whether the earlier version has the parcel, and not as a deleted one."""
    same: Flags
    """(n,) whether it has it with this outline."""
    tile: NDArray[np.object_]
    """(n,) tile of the parcel in the earlier version; empty if it had none or was not there."""
    ratio: NDArray[np.float32]
    """(n,) area of the symmetric difference / area of the union of old and new outline: 0 for the same, 1 where only
    one of them is a polygon, NaN where the parcel is new."""

    def taken(self, rows: NDArray[np.int64]) -> Compared:
        """The same for these rows, in their order."""
        return Compared(self.known[rows], self.same[rows], self.tile[rows], self.ratio[rows])


def compare(
    path: Path,
    new_id: NDArray[np.int32],
    crs: CRS,
    wkb: Callable[[NDArray[np.int64]], NDArray[np.object_]],
    replace: Callable[[NDArray[np.int64], Geometries], None] | None = None,
    tolerance_m: float = 0.0,
) -> Compared:
    """Compare outlines with those of the parcels file of an earlier version.

    Parameters
    ----------
    path : ``parcels.parquet`` of the earlier version
    new_id : (n,) ``NewID`` of the new ones, in any order
    crs : of the new ones; outlines in another one are not the same, whatever their bytes
    wkb : the new ones of given rows; ``None`` where there is no polygon
    replace : told rows and old outlines (in ``crs``) where both differ by no more than ``tolerance_m``; these
        count as the same from then on
    """
    n = len(new_id)
    known, same = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    tile = np.full(n, "", dtype=object)
    ratio = np.full(n, np.nan, dtype=np.float32)
    order = np.argsort(new_id, kind="stable")
    old_crs = crs_of(path)
    one_crs = old_crs == crs
    for group in _row_groups(path):
        ids = group["NewID"].to_numpy()
        at = np.minimum(np.searchsorted(new_id, ids, sorter=order), n - 1)
        rows = order[at]
        here = new_id[rows] == ids
        if "is_deleted" in group.column_names:
            here &= ~group["is_deleted"].to_numpy()
        rows = rows[here]
        if not len(rows):
            continue
        old_wkb = group[GEOMETRY].to_numpy()[here]
        known[rows] = True
        tile[rows] = group["tile"].to_numpy()[here]
        ratio[rows] = 0
        new_wkb = wkb(rows)
        differs = new_wkb != old_wkb if one_crs else np.ones(len(rows), dtype=bool)
        old = shapely.from_wkb(old_wkb[differs])
        old = old if one_crs else reproject(old, old_crs, crs.to_wkt())
        changed, new = rows[differs], shapely.from_wkb(new_wkb[differs])
        if one_crs and tolerance_m > 0 and replace is not None:
            near = _apart_m(old, new, crs) <= tolerance_m
            replace(changed[near], old[near])
            changed, old, new = changed[~near], old[~near], new[~near]
        same[rows] = True
        same[changed] = False
        ratio[changed] = _change(old, new)
    return Compared(known, same, tile, ratio)


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        names = [n for n in ("NewID", "tile", "is_deleted", GEOMETRY) if n in file.schema_arrow.names]
        for i in range(file.num_row_groups):
            yield file.read_row_group(i, columns=names)


def _change(old: Geometries, new: Geometries) -> NDArray[np.float32]:
    """Area of the symmetric difference / area of the union (n,); 1 where one is missing, 0 where both are."""
    a, b = (np.nan_to_num(shapely.area(g), nan=0.0) for g in (old, new))
    shared = np.nan_to_num(shapely.area(shapely.intersection(old, new)), nan=0.0)
    union = a + b - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: NDArray[np.float32] = np.where(union > 0, np.clip((union - shared) / union, 0, 1), 0).astype(np.float32)
    return ratio


def _apart_m(old: Geometries, new: Geometries, crs: CRS) -> Floats:
    """Largest distance in metres (n,) from a vertex of either border to the other; infinite where one is missing."""
    if not is_metric(crs):
        old, new = _flat(old, crs), _flat(new, crs)
    apart: Floats = shapely.hausdorff_distance(shapely.boundary(old), shapely.boundary(new))
    apart[shapely.is_missing(old) & shapely.is_missing(new)] = 0
    return np.nan_to_num(apart, nan=np.inf)


def _flat(geometries: Geometries, crs: CRS) -> Geometries:
    """Geometries in metres east and north on a plane of their own latitude."""
    degrees = reproject(geometries, crs, "EPSG:4326").copy()
    xy, owner = shapely.get_coordinates(degrees, return_index=True)
    latitude = np.round(xy[:, 1])[np.searchsorted(owner, owner)]  # that of the parcel's first vertex
    moved = xy * _M_PER_DEG
    moved[:, 0] *= np.cos(np.radians(latitude))
    flat: Geometries = shapely.set_coordinates(degrees, moved)
    return flat
