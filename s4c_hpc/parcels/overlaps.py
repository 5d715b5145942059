"""How much of each parcel others claim too.

The land is cut into strips from west to east, so that only the parcels of one strip are geometries at a time. A pair
that meets in several strips counts in the one where its common bounds begin.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.parcels.apart import certainly_apart
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.projection import Floats

MIN_OVERLAP_M2 = 1.0
"""Two parcels that share no more than this are neighbours whose borders differ by rounding, not a pair to list."""
_STRIP = 100_000
"""Parcels of a strip, about."""
_INTERSECTION_CHUNK = 200_000
"""Pairs that are intersected at a time; bounds the memory of the pieces."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], Floats]
"""The smaller row and the larger row of each pair, and the area that they share in units of the coordinates."""


@dataclass(frozen=True, eq=False)
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


def overlaps(outlines: Outlines, bounds: Floats, own: Floats, area_m2: Floats) -> Overlaps:
    """Overlaps between all parcels.

    Intersections are computed on the plane of the parcels' own coordinates; a share is a ratio of two areas at the
    same place, so degrees do as well as metres.

    Parameters
    ----------
    outlines : (n,) valid polygons, or missing
    bounds : (n, 4) of each in its own coordinates; NaN where missing
    own : (n,) their areas on that plane
    area_m2 : (n,) their areas on the ground
    """
    n = len(outlines)
    found = [_pairs(outlines, rows, west, east, bounds) for rows, west, east in _strips(bounds)]
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    i, j, shared = (np.concatenate(column) for column in zip(nothing, *found, strict=True))
    # Sums are taken in the order of rows, whatever the strips.
    order = np.lexsort((j, i))
    i, j, shared = i[order], j[order], shared[order]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (np.bincount(i, shared, minlength=n) + np.bincount(j, shared, minlength=n)) / own
        shared_m2 = shared * (area_m2 / own)[i]
    listed = shared_m2 > MIN_OVERLAP_M2
    i, j, shared_m2 = i[listed], j[listed], shared_m2[listed]
    n_others = np.bincount(i, minlength=n) + np.bincount(j, minlength=n)
    return Overlaps(np.nan_to_num(share, nan=0.0), n_others.astype(np.int32), np.column_stack((i, j)), shared_m2)


def _strips(bounds: Floats) -> Iterator[tuple[NDArray[np.int64], float, float]]:
    """Rows of each strip, its western and eastern end."""
    west = bounds[:, 0]
    present = np.flatnonzero(~np.isnan(west))
    n_strips = -(-len(present) // _STRIP)
    if not n_strips:
        return
    ends = np.quantile(west[present], np.arange(1, n_strips) / n_strips)
    limits = [-np.inf, *np.unique(ends).tolist(), np.inf]
    for begin, end in itertools.pairwise(limits):
        yield np.flatnonzero((west < end) & (bounds[:, 2] >= begin)), begin, end


def _pairs(outlines: Outlines, rows: NDArray[np.int64], west: float, east: float, bounds: Floats) -> Pairs:
    """Pairs of a strip whose interiors meet."""
    boxes = shapely.box(*bounds[rows].T)
    # Places in ``rows`` are ordered as rows are. The bounds of a pair of places must have an area in common.
    i, j = shapely.STRtree(boxes).query(boxes)
    ordered = i < j
    i, j = i[ordered], j[ordered]
    a, b = bounds[rows[i]], bounds[rows[j]]
    begins = np.maximum(a[:, 0], b[:, 0])
    here = (begins >= west) & (begins < east)
    here &= (begins < np.minimum(a[:, 2], b[:, 2])) & (np.maximum(a[:, 1], b[:, 1]) < np.minimum(a[:, 3], b[:, 3]))
    i, j = i[here], j[here]
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    doubtful = ~certainly_apart(outlines.packed(rows), i, j)
    i, j = rows[i[doubtful]], rows[j[doubtful]]
    asked, place = np.unique(np.concatenate((i, j)), return_inverse=True)
    geometry = outlines[asked]
    a, b = place[: len(i)], place[len(i) :]
    # Many neighbours only touch. Telling so with a prepared polygon costs a fraction of an intersection.
    shapely.prepare(geometry)
    overlapping = ~shapely.touches(geometry[a], geometry[b])
    i, j, a, b = i[overlapping], j[overlapping], a[overlapping], b[overlapping]
    shared = np.zeros(len(i))
    for start in range(0, len(i), _INTERSECTION_CHUNK):
        part = slice(start, start + _INTERSECTION_CHUNK)
        shared[part] = shapely.area(shapely.intersection(geometry[a[part]], geometry[b[part]]))
    return i, j, shared
