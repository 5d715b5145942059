"""What is wrong with the geometries of a declaration: repaired where possible, flagged always, dropped never."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.config.model import Parcels
from s4c_hpc.parcels.flat import WORTH_IT, certainly_valid
from s4c_hpc.parcels.outlines import BATCH, Outlines
from s4c_hpc.parcels.projection import Floats, Geometries

_POLYGON, _MULTIPOLYGON, _COLLECTION = 3, 6, 7

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


@dataclass(frozen=True, eq=False)
class RepairedOutlines:
    """The same as ``Repaired`` for outlines (n,)."""

    outlines: Outlines
    valid: Flags
    repair: Texts
    reason: Texts


def repair_outlines(delivered: Outlines, unreadable: Flags) -> RepairedOutlines:
    """``repair``, a batch at a time; outlines that need none are not copied, and most not made into geometries."""
    n = len(delivered)
    valid, repair_text, reason = np.zeros(n, bool), _blank(n), _blank(n)
    changed: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    mended: list[Geometries] = [np.empty(0, object)]
    for start in range(0, n, BATCH):
        rows = np.arange(start, min(start + BATCH, n))
        if n >= WORTH_IT:
            sure = certainly_valid(delivered.packed(rows))
            valid[rows] = sure
            rows = rows[~sure]
        found = repair(delivered[rows], unreadable[rows])
        valid[rows], repair_text[rows], reason[rows] = found.valid, found.repair, found.reason
        changed.append(rows[~found.valid])
        mended.append(found.geometry[~found.valid])
    outlines = delivered.replaced(np.concatenate(changed), np.concatenate(mended))
    return RepairedOutlines(outlines, valid, repair_text, reason)


def duplicates(outlines: Outlines, bounds: Floats) -> Flags:
    """Whether the same polygon occurs more than once; start vertex, direction and order of parts do not matter.

    Parameters
    ----------
    outlines : (n,) valid polygons, or missing
    bounds : (n, 4) of each; NaN where missing
    """
    flags = np.zeros(len(outlines), dtype=bool)
    # The same polygon has the same bounds, which few others have: only those are put in order and compared.
    order = np.lexsort(bounds.T)
    alike = (bounds[order[1:]] == bounds[order[:-1]]).all(axis=1)
    suspects = order[np.r_[alike, False] | np.r_[False, alike]]
    groups: dict[bytes, list[int]] = {}
    for start in range(0, len(suspects), BATCH):
        rows = suspects[start : start + BATCH]
        for i, key in zip(rows.tolist(), shapely.to_wkb(shapely.normalize(outlines[rows])), strict=True):
            groups.setdefault(hashlib.sha256(key).digest(), []).append(i)
    for same in groups.values():
        flags[same] = len(same) > 1
    return flags


def slivers(area_m2: Floats, perimeter_m: Floats, limits: Parcels) -> Flags:
    """Whether a parcel (n,) is a sliver: too small, too narrow on average, or too ragged; see the configuration."""
    index = shape_index(area_m2, perimeter_m)
    with np.errstate(invalid="ignore", divide="ignore"):
        width_m = 2 * area_m2 / perimeter_m
        found = (area_m2 < limits.sliver_min_area_m2) | (width_m < limits.sliver_min_width_m)
        if limits.sliver_max_shape_index > 0:
            found |= index > limits.sliver_max_shape_index
    flags: Flags = found & (area_m2 > 0)
    return flags


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
