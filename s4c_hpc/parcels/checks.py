"""What is wrong with the geometries of a declaration: repaired where possible, flagged always, dropped never."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.parcels.projection import Floats, Geometries

MIN_OVERLAP_M2 = 1.0
"""Two parcels that share no more than this are neighbours whose borders differ by rounding, not a pair to list."""
_POLYGON, _MULTIPOLYGON, _COLLECTION = 3, 6, 7
_INTERSECTION_CHUNK = 200_000
"""Pairs that are intersected at a time; bounds the memory of the pieces."""

Flags = NDArray[np.bool_]
Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Repaired:
    """Polygons that can be used, and what was done to get them."""

    geometry: Geometries
    """(n,) valid polygons and multipolygons; ``None`` where there is nothing to use."""
    valid: Flags
    """(n,) whether the geometry was a valid polygon as delivered."""
    repair: Texts
    """(n,) what was wrong and what was done; empty if nothing."""
    reason: Texts
    """(n,) why there is nothing to use; empty if there is."""


@np.errstate(invalid="ignore")  # coordinates that are not a number are looked for, not stumbled over
def repair(delivered: Geometries, unreadable: Flags) -> Repaired:
    """Valid polygons from whatever was delivered.

    Invalid polygons are rebuilt by the structure of their rings (shells united, holes cut out): a bow tie becomes
    two triangles, parts that overlap become one. Of mixed collections the polygons are kept.

    Parameters
    ----------
    delivered : (n,) two-dimensional geometries, ``None`` where missing
    unreadable : (n,) whether a missing one was there but could not be read
    """
    n = len(delivered)
    geometry, repair_text, reason = delivered.copy(), _blank(n), _blank(n)
    kind = shapely.get_type_id(delivered)
    finite = _finite(delivered)
    reason[unreadable] = "geometry cannot be read"
    reason[shapely.is_missing(delivered) & ~unreadable] = "no geometry"
    reason[shapely.is_empty(delivered)] = "empty geometry"
    for i in np.flatnonzero((kind >= 0) & ~np.isin(kind, (_POLYGON, _MULTIPOLYGON, _COLLECTION))):
        reason[i] = reason[i] or f"a {delivered[i].geom_type}, not a polygon"
    reason[(reason == "") & ~finite] = "a coordinate is not a finite number"

    candidates = reason == ""
    valid = candidates & shapely.is_valid(delivered) & (kind != _COLLECTION)
    for i in np.flatnonzero(candidates & ~valid):
        mixed = kind[i] == _COLLECTION
        problem = "a mixed collection" if mixed else shapely.is_valid_reason(delivered[i])
        fixed = _polygons_of(shapely.make_valid(delivered[i], method="structure", keep_collapsed=False))
        if fixed is None:
            reason[i] = f"nothing polygonal is left: {problem}"
        else:
            geometry[i], repair_text[i] = fixed, f"{'polygons kept' if mixed else 'made valid'}: {problem}"
    flat = (reason == "") & (shapely.area(geometry) <= 0)
    reason[flat] = "no area"
    geometry[reason != ""] = None
    return Repaired(geometry, valid & ~flat, repair_text, reason)


def duplicates(geometry: Geometries) -> Flags:
    """Whether the same polygon occurs more than once; start vertex, direction and order of parts do not matter."""
    flags = np.zeros(len(geometry), dtype=bool)
    present = np.flatnonzero(~shapely.is_missing(geometry))
    groups: dict[bytes, list[int]] = {}
    for i, key in zip(present, shapely.to_wkb(shapely.normalize(geometry[present])), strict=True):
        groups.setdefault(key, []).append(int(i))
    for rows in groups.values():
        flags[rows] = len(rows) > 1
    return flags


@dataclass(frozen=True)
class Overlaps:
    """How much of each parcel others claim too."""

    share: Floats
    """(n,) summed area of the intersections with others / own area; above 1 where several lie on one another."""
    n_others: NDArray[np.int32]
    """(n,) others with which more than ``MIN_OVERLAP_M2`` is shared."""
    pairs: NDArray[np.int64]
    """(m, 2) rows of those pairs, ordered, the smaller row first."""
    pair_area_m2: Floats
    """(m,) what they share, in m2."""


def overlaps(geometry: Geometries, area_m2: Floats) -> Overlaps:
    """Overlaps between all parcels.

    Intersections are computed on the plane of the parcels' own coordinates; a share is a ratio of two areas at the
    same place, so degrees do as well as metres.

    Parameters
    ----------
    geometry : (n,) valid polygons, ``None`` where missing
    area_m2 : (n,) their areas on the ground
    """
    own = shapely.area(geometry)
    # The tree holds no missing geometry and gives no pair with one.
    i, j = shapely.STRtree(geometry).query(geometry)
    ordered = i < j
    i, j = i[ordered], j[ordered]
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    # Most neighbours only touch. Telling so with a prepared polygon costs a fraction of an intersection.
    prepared = geometry.copy()
    shapely.prepare(prepared)
    apart = shapely.touches(prepared[i], geometry[j])
    i, j = i[~apart], j[~apart]
    shared = np.zeros(len(i))
    for start in range(0, len(i), _INTERSECTION_CHUNK):
        part = slice(start, start + _INTERSECTION_CHUNK)
        shared[part] = shapely.area(shapely.intersection(geometry[i[part]], geometry[j[part]]))
    n = len(geometry)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (np.bincount(i, shared, minlength=n) + np.bincount(j, shared, minlength=n)) / own
        shared_m2 = shared * (area_m2 / own)[i]
    listed = shared_m2 > MIN_OVERLAP_M2
    i, j, shared_m2 = i[listed], j[listed], shared_m2[listed]
    n_others = np.bincount(i, minlength=n) + np.bincount(j, minlength=n)
    return Overlaps(np.nan_to_num(share, nan=0.0), n_others.astype(np.int32), np.column_stack((i, j)), shared_m2)


def shape_index(area_m2: Floats, perimeter_m: Floats) -> NDArray[np.float32]:
    """Perimeter / (2 sqrt(pi area)) (n,): 1 for a circle, 1.13 for a square; NaN without area. Dimensionless."""
    with np.errstate(invalid="ignore", divide="ignore"):
        index: NDArray[np.float32] = np.where(area_m2 > 0, perimeter_m / (2 * np.sqrt(np.pi * area_m2)), np.nan).astype(
            np.float32
        )
    return index


def _blank(n: int) -> Texts:
    texts = np.empty(n, dtype=object)
    texts[:] = ""
    return texts


def _finite(geometry: Geometries) -> Flags:
    xy, owner = shapely.get_coordinates(geometry, return_index=True)
    finite = np.ones(len(geometry), dtype=bool)
    finite[owner[~np.isfinite(xy).all(axis=1)]] = False
    return finite


def _polygons_of(geometry: shapely.Geometry) -> shapely.Geometry | None:
    """The polygonal part of a geometry, ``None`` if it has none."""
    if geometry.geom_type in {"Polygon", "MultiPolygon"}:
        return None if geometry.is_empty else geometry
    parts = [p for p in shapely.get_parts(shapely.get_parts(geometry)) if p.geom_type == "Polygon" and not p.is_empty]
    return shapely.union_all(parts) if parts else None
