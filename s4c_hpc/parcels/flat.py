"""Outlines as flat arrays, read from their bytes: no geometry is made of what a kernel can look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.parcels.projection import Floats

WORTH_IT = 20_000
"""Outlines or pairs from which on kernels are called: loading numba takes as long as GEOS takes for so many."""
_POLYGON, _MULTIPOLYGON = 3, 6
_BYTES_PER_VERTEX = 16
_BYTES_PER_RING = 20
"""At least: a number and a vertex."""
_MOST_EDGES = 200
"""Of a ring whose edges are compared each with each; GEOS sorts those of a longer one."""
_ROUNDING = 3.3306690738754716e-16
"""Relative error bound of a 2 x 2 determinant in double precision (Shewchuk 1997, ``ccwerrboundA``)."""


@dataclass(frozen=True, eq=False)
class Flat:
    """Vertices of polygons and multipolygons (n,), end to end; of anything else there are none."""

    x: Floats
    y: Floats
    rings: NDArray[np.int64]
    """(r + 1,) first vertex of each ring, and the end."""
    is_shell: NDArray[np.bool_]
    """(r,) whether a ring is the outer one of its polygon."""
    ring_first: NDArray[np.int64]
    """(n + 1,) first ring of each outline, and the end."""

    @property
    def first(self) -> NDArray[np.int64]:
        """(n + 1,) first vertex of each outline, and the end."""
        return self.rings[self.ring_first]


def flat(wkb: pa.LargeBinaryArray) -> Flat:
    """Vertices of outlines (n,) in two-dimensional WKB, little endian, as ``shapely.to_wkb`` writes it."""
    _, offset_bytes, data = wkb.buffers()
    offsets = np.frombuffer(offset_bytes, np.int64)[wkb.offset : wkb.offset + len(wkb) + 1]
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    size = int(offsets[-1] - offsets[0])
    ring_first = np.zeros(len(wkb) + 1, np.int64)
    rings = np.zeros(size // _BYTES_PER_RING + 2, np.int64)
    is_shell = np.zeros(len(rings), np.bool_)
    xy = np.empty(max(size, _BYTES_PER_VERTEX) // _BYTES_PER_VERTEX * _BYTES_PER_VERTEX, np.uint8)
    n_rings = _flatten(raw, offsets, ring_first, rings, is_shell, xy)
    points = xy[: rings[n_rings] * _BYTES_PER_VERTEX].view(np.float64).reshape(-1, 2)
    x, y = np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
    return Flat(x, y, rings[: n_rings + 1].copy(), is_shell[:n_rings].copy(), ring_first)


def certainly_valid(wkb: pa.LargeBinaryArray) -> NDArray[np.bool_]:
    """Whether outlines (n,) certainly are valid polygons with an area; ``False`` means that it is not known.

    They are polygons without holes whose border visits no place twice: neighbouring edges do not turn back upon one
    another, and all others stay apart by more than rounding.
    """
    vertices = flat(wkb)
    found: NDArray[np.bool_] = _simple_polygons(vertices.x, vertices.y, vertices.rings, vertices.ring_first)
    return found


@helper
def _number(data: NDArray[np.uint8], at: int) -> int:
    """The unsigned number of 32 bits that stands at a place."""
    # Signed all along: numba makes a float of what is signed here and unsigned there.
    low = np.int64(data[at]) | (np.int64(data[at + 1]) << 8)
    return low | (np.int64(data[at + 2]) << 16) | (np.int64(data[at + 3]) << 24)  # type: ignore[return-value]


@helper
def _rings_of(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    rings: NDArray[np.int64],
    is_shell: NDArray[np.bool_],
    xy: NDArray[np.uint8],
    r: int,
) -> tuple[int, int]:
    """Take the rings of the polygon at a place as rings ``r`` and more; where it ends (-1: too late), their number."""
    if at + 9 > end or data[at] != 1 or _number(data, at + 1) != _POLYGON:
        return -1, 0
    n_rings = _number(data, at + 5)
    at += 9
    for k in range(r, r + n_rings):
        n = _number(data, at) * _BYTES_PER_VERTEX if at + 4 <= end else 0
        at += 4
        if n == 0 or at + n > end:
            return -1, 0
        before = rings[k] * _BYTES_PER_VERTEX
        for b in range(n):
            xy[before + b] = data[at + b]
        at += n
        is_shell[k] = k == r
        rings[k + 1] = rings[k] + n // _BYTES_PER_VERTEX
    return at, n_rings


@kernel
def _flatten(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    ring_first: NDArray[np.int64],
    rings: NDArray[np.int64],
    is_shell: NDArray[np.bool_],
    xy: NDArray[np.uint8],
) -> int:
    """Fill the arrays; the number of rings."""
    r = 0
    for g in range(offsets.size - 1):
        ring_first[g] = r
        at, end = offsets[g], offsets[g + 1]
        parts = 0
        if end - at >= 9 and data[at] == 1:
            kind = _number(data, at + 1)
            parts = 1 if kind == _POLYGON else _number(data, at + 5) if kind == _MULTIPOLYGON else 0
            at += 9 if kind == _MULTIPOLYGON else 0
        for _ in range(parts):
            at, n_rings = _rings_of(data, at, end, rings, is_shell, xy, r)
            r += n_rings
            if at < 0:
                r = ring_first[g]  # what is not whole is left out
                break
    ring_first[offsets.size - 1] = r
    return r


@helper
def _side(x: Floats, y: Floats, a: int, b: int, c: int) -> int:
    """1 where vertex ``c`` lies left of ``a`` to ``b``, -1 right of it, 0 where rounding does not let one tell."""
    left = (x[a] - x[c]) * (y[b] - y[c])
    right = (y[a] - y[c]) * (x[b] - x[c])
    bound = _ROUNDING * (abs(left) + abs(right))
    if left - right > bound:
        return 1
    if left - right < -bound:
        return -1
    return 0


@helper
def _edges_apart(x: Floats, y: Floats, a: int, b: int) -> bool:
    """Whether two edges certainly have no point in common."""
    if max(x[a], x[a + 1]) < min(x[b], x[b + 1]) or min(x[a], x[a + 1]) > max(x[b], x[b + 1]):
        return True
    if max(y[a], y[a + 1]) < min(y[b], y[b + 1]) or min(y[a], y[a + 1]) > max(y[b], y[b + 1]):
        return True
    if _side(x, y, a, a + 1, b) * _side(x, y, a, a + 1, b + 1) > 0:
        return True
    return _side(x, y, b, b + 1, a) * _side(x, y, b, b + 1, a + 1) > 0


@helper
def _simple(x: Floats, y: Floats, first: int, last: int) -> bool:
    """Whether the ring of vertices ``first`` to ``last - 1`` certainly is closed, simple and around an area."""
    if last - first < 4 or last - first > _MOST_EDGES + 1:
        return False
    if x[first] != x[last - 1] or y[first] != y[last - 1]:
        return False
    twice, size = 0.0, 0.0
    for k in range(first + 1, last - 2):
        one = (x[k] - x[first]) * (y[k + 1] - y[first])
        other = (x[k + 1] - x[first]) * (y[k] - y[first])
        twice += one - other
        size += abs(one) + abs(other)
    if not abs(twice) > 1e-12 * size:  # nor if a coordinate is not a number
        return False
    for a in range(first, last - 1):
        b = a + 1 if a + 2 < last else first
        # In one line the next edge has to lead on.
        if _side(x, y, a, a + 1, b + 1) == 0 and not (
            (x[a + 1] - x[a]) * (x[b + 1] - x[b]) + (y[a + 1] - y[a]) * (y[b + 1] - y[b]) > 0
        ):
            return False
        for c in range(a + 2, last - 1 if a > first else last - 2):
            if not _edges_apart(x, y, a, c):
                return False
    return True


@kernel
def _simple_polygons(
    x: Floats, y: Floats, rings: NDArray[np.int64], ring_first: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """``certainly_valid`` on flat arrays."""
    found = np.zeros(ring_first.size - 1, np.bool_)
    for g in range(ring_first.size - 1):
        if ring_first[g + 1] == ring_first[g] + 1:
            found[g] = _simple(x, y, rings[ring_first[g]], rings[ring_first[g] + 1])
    return found
