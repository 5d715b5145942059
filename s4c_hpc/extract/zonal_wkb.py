"""Well-known binary to flat coordinates, and which polygons are certainly valid, without an object a parcel.

Two hundred thousand parcels take seconds to become geometries and to be checked by GEOS; most of them have one ring,
and that it does not touch itself is told from its edges in microseconds. Whatever is not that simple is left to GEOS.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel

FEW: Final = 256
"""Edges up to which every pair of a ring is looked at; GEOS is faster for more."""

_ROUNDING: Final = 4e-16
"""Relative error of a 2 x 2 determinant of differences (Shewchuk 1997, orient2d's first bound, rounded up)."""

Flat = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
"""``xy`` (n_vertices, 2), ``ring_offsets`` (n_rings + 1,), ``offsets`` (n + 1,), and whether each one is understood."""


@helper
def _integer(data: NDArray[np.uint8], at: int) -> int:
    return int(data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24)


@helper
def _header(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, int]:
    """Kind (3 polygon, 6 multipolygon, -1 not for us), ordinates of a vertex, and count of rings or parts."""
    if at + 9 > end or data[at] != 1:
        return -1, 2, 0
    code = _integer(data, at + 1)
    size = 2
    if code >= 3000:  # ISO: 1000 with z, 2000 with m, 3000 with both
        code, size = code - 3000, 4
    elif code >= 2000:
        code, size = code - 2000, 3
    elif code >= 1000:
        code, size = code - 1000, 3
    return (code if code in (3, 6) else -1), size, _integer(data, at + 5)


@helper
def _polygon(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    out: NDArray[np.uint8],
    ring_offsets: NDArray[np.int64],
    n_rings: int,
    n_vertices: int,
) -> tuple[int, int, int]:
    """Count or copy the rings of the polygon at ``at``; returns its end (-1 if it is not whole) and the new counts."""
    kind, size, rings = _header(data, at, end)
    if kind != 3:
        return -1, n_rings, n_vertices
    at += 9
    for _ in range(rings):
        if at + 4 > end:
            return -1, n_rings, n_vertices
        n = _integer(data, at)
        at += 4
        if at + n * 8 * size > end:
            return -1, n_rings, n_vertices
        if out.size > 0:  # empty where rings are only counted
            for i in range(n):
                source, target = at + i * 8 * size, (n_vertices + i) * 16
                for byte in range(16):
                    out[target + byte] = data[source + byte]
            ring_offsets[n_rings + 1] = n_vertices + n
        at += n * 8 * size
        n_rings, n_vertices = n_rings + 1, n_vertices + n
    return at, n_rings, n_vertices


@helper
def _geometry(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    out: NDArray[np.uint8],
    ring_offsets: NDArray[np.int64],
    n_rings: int,
    n_vertices: int,
) -> tuple[int, int, int]:
    kind, _, parts = _header(data, at, end)
    if kind == 3:
        return _polygon(data, at, end, out, ring_offsets, n_rings, n_vertices)
    if kind != 6:
        return -1, n_rings, n_vertices
    at += 9
    for _ in range(parts):
        at, n_rings, n_vertices = _polygon(data, at, end, out, ring_offsets, n_rings, n_vertices)
        if at < 0:
            break
    return at, n_rings, n_vertices


@kernel
def flat_coordinates(data: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64]) -> Flat:
    """Coordinates of polygons and multipolygons in little-endian WKB, their third and fourth ordinates left out.

    Parameters
    ----------
    data : bytes of all geometries
    start, stop : (n,) place of each of them; an empty range is a geometry without rings

    Returns
    -------
    ``Flat``; a geometry that is not understood (another type or byte order, cut off) has no rings.
    """
    n = start.size
    known = np.ones(n, np.bool_)
    offsets = np.zeros(n + 1, np.int64)
    nothing, no_offsets = np.empty(0, np.uint8), np.zeros(1, np.int64)
    n_rings = n_vertices = 0
    for g in range(n):
        if start[g] < stop[g]:
            end, rings, vertices = _geometry(data, start[g], stop[g], nothing, no_offsets, n_rings, n_vertices)
            if end == stop[g]:
                n_rings, n_vertices = rings, vertices
            else:
                known[g] = False
        offsets[g + 1] = n_rings
    xy = np.empty((n_vertices, 2), np.float64)
    out = xy.reshape(2 * n_vertices).view(np.uint8)
    ring_offsets = np.zeros(n_rings + 1, np.int64)
    n_rings = n_vertices = 0
    for g in range(n):
        if known[g] and start[g] < stop[g]:
            _, n_rings, n_vertices = _geometry(data, start[g], stop[g], out, ring_offsets, n_rings, n_vertices)
    return xy, ring_offsets, offsets, known


@helper
def _turn(xy: NDArray[np.float64], a: int, b: int, c: int) -> int:
    """1 if c lies left of a to b, -1 if right, 0 if rounding leaves it open."""
    left = (xy[b, 0] - xy[a, 0]) * (xy[c, 1] - xy[a, 1])
    right = (xy[b, 1] - xy[a, 1]) * (xy[c, 0] - xy[a, 0])
    error = _ROUNDING * (abs(left) + abs(right))
    if left - right > error:
        return 1
    return -1 if left - right < -error else 0


@helper
def _apart(xy: NDArray[np.float64], i: int, j: int) -> bool:
    """Whether edges i and j certainly share no point."""
    for axis in range(2):
        if max(xy[i, axis], xy[i + 1, axis]) < min(xy[j, axis], xy[j + 1, axis]):
            return True
        if max(xy[j, axis], xy[j + 1, axis]) < min(xy[i, axis], xy[i + 1, axis]):
            return True
    if _turn(xy, i, i + 1, j) * _turn(xy, i, i + 1, j + 1) > 0:
        return True
    return _turn(xy, j, j + 1, i) * _turn(xy, j, j + 1, i + 1) > 0


@helper
def _goes_on(xy: NDArray[np.float64], i: int, j: int) -> bool:
    """Whether edge j, which begins where i ends, certainly does not run back over it."""
    if _turn(xy, i, i + 1, j + 1) != 0:
        return True
    dx, dy = xy[i + 1, 0] - xy[i, 0], xy[i + 1, 1] - xy[i, 1]
    return bool(dx * (xy[j + 1, 0] - xy[j, 0]) + dy * (xy[j + 1, 1] - xy[j, 1]) > 0.0)


@helper
def _is_simple(xy: NDArray[np.float64], first: int, last: int) -> bool:
    """Whether the ring of vertices ``first`` to ``last`` is closed and certainly does not touch itself."""
    n = last - first
    if n < 3 or n > FEW or xy[first, 0] != xy[last, 0] or xy[first, 1] != xy[last, 1]:
        return False
    for i in range(first, last):
        if not (np.isfinite(xy[i, 0]) and np.isfinite(xy[i, 1])):
            return False
        if xy[i, 0] == xy[i + 1, 0] and xy[i, 1] == xy[i + 1, 1]:
            return False
    for i in range(first, last):
        if not _goes_on(xy, i, i + 1 if i + 1 < last else first):
            return False
        for j in range(i + 2, last if i > first else last - 1):
            if not _apart(xy, i, j):
                return False
    return True


@kernel
def certainly_valid(
    xy: NDArray[np.float64], ring_offsets: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(n,) whether each geometry is empty, or one ring that is closed and does not touch itself.

    ``False`` means that GEOS has to look at it, not that it is invalid.
    """
    found = np.zeros(offsets.size - 1, np.bool_)
    for g in range(offsets.size - 1):
        n = offsets[g + 1] - offsets[g]
        found[g] = n == 0 or (n == 1 and _is_simple(xy, ring_offsets[offsets[g]], ring_offsets[offsets[g] + 1] - 1))
    return found
