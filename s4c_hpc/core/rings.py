"""Which polygons are certainly valid, told from their edges.

GEOS takes seconds to check two hundred thousand parcels; most of them have one ring, and that it does not touch itself
is told in microseconds. Whatever is not that simple is left to GEOS.
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
