"""Pairs of neighbours that certainly share no area, without GEOS.

Nearly all pairs whose bounds meet are neighbours along a common border, and GEOS takes some ten microseconds to say so
of each. Here it is proved from the edges near the common bounds, in a tenth of the time: edges of the two are one with
the insides on either side, meet in a common vertex, or stay apart by more than rounding; and no edge of one lies in
the other. Whatever is not as clear as that (a vertex on the other's edge, a crossing) is not decided here.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.parcels.flat import WORTH_IT, flat
from s4c_hpc.parcels.projection import Floats

_END = 2
"""Stands for a side at the last vertex of a ring, where no edge begins."""
_ROUNDING = 3.3306690738754716e-16
"""Relative error bound of a 2 x 2 determinant in double precision (Shewchuk 1997, ``ccwerrboundA``)."""


def certainly_apart(
    wkb: pa.LargeBinaryArray, i: NDArray[np.int64], j: NDArray[np.int64], worth_it: int = WORTH_IT
) -> NDArray[np.bool_]:
    """Whether the interiors of pairs (m,) certainly have nothing in common; ``False`` means that it is not known.

    Parameters
    ----------
    wkb : (n,) valid polygons and multipolygons
    i, j : (m,) the pairs; those of one ``i`` best stand together
    worth_it : of fewer pairs nothing is said
    """
    if len(i) < worth_it:
        return np.zeros(len(i), dtype=bool)
    at = flat(wkb)
    found: NDArray[np.bool_] = _apart(
        at.x, at.y, at.rings, at.is_shell, at.first, i.astype(np.int64), j.astype(np.int64)
    )
    return found


@helper
def _turn(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> int:
    """1 where ``c`` lies left of ``a`` to ``b``, -1 right of it, 0 where rounding does not let one tell."""
    left = (ax - cx) * (by - cy)
    right = (ay - cy) * (bx - cx)
    turn = left - right
    bound = _ROUNDING * (abs(left) + abs(right))
    if turn > bound:
        return 1
    if turn < -bound:
        return -1
    return 0


@helper
def _inner_side(x: Floats, y: Floats, first: int, last: int, is_shell: bool) -> int:
    """1 where the interior is to the left of a ring's edges, -1 to the right, 0 where that is not certain."""
    twice, size = 0.0, 0.0
    for k in range(first + 1, last - 1):
        one = (x[k] - x[first]) * (y[k + 1] - y[first])
        other = (x[k + 1] - x[first]) * (y[k] - y[first])
        twice += one - other
        size += abs(one) + abs(other)
    if abs(twice) <= 1e-12 * size:
        return 0
    return 1 if (twice > 0) == is_shell else -1


@helper
def _leave(x: Floats, y: Floats, a: int, b: int, begins: bool) -> int:
    """0 where edges with one end in common have nothing else in common, 2 where that is not certain.

    ``begins``: the common end is the first of ``b``.
    """
    common, other = (b, b + 1) if begins else (b + 1, b)
    far = a + 1 if x[a] == x[common] and y[a] == y[common] else a
    cx, cy, dx, dy, ex, ey = x[common], y[common], x[other], y[other], x[far], y[far]
    if _turn(cx, cy, ex, ey, dx, dy) != 0:
        return 0
    # In one line: away from each other, or one upon the other.
    return 0 if (dx - cx) * (ex - cx) + (dy - cy) * (ey - cy) < 0 else 2


@helper
def _meet(x: Floats, y: Floats, side: NDArray[np.int8], a: int, b: int) -> int:
    """How edges meet: 0 not at all or in a common end, 1 they are one border of both, 2 otherwise."""
    ax, ay, a_end_x, a_end_y = x[a], y[a], x[a + 1], y[a + 1]
    bx, by, b_end_x, b_end_y = x[b], y[b], x[b + 1], y[b + 1]
    if (
        min(ax, a_end_x) > max(bx, b_end_x)
        or max(ax, a_end_x) < min(bx, b_end_x)
        or min(ay, a_end_y) > max(by, b_end_y)
        or max(ay, a_end_y) < min(by, b_end_y)
    ):
        return 0
    begins = (bx == ax and by == ay) or (bx == a_end_x and by == a_end_y)
    ends = (b_end_x == ax and b_end_y == ay) or (b_end_x == a_end_x and b_end_y == a_end_y)
    if begins and ends:
        same = bx == ax and by == ay
        return 1 if side[a] * side[b] == (-1 if same else 1) and (ax != a_end_x or ay != a_end_y) else 2
    if begins or ends:
        return _leave(x, y, a, b, begins)
    apart = _turn(ax, ay, a_end_x, a_end_y, bx, by) * _turn(ax, ay, a_end_x, a_end_y, b_end_x, b_end_y) > 0
    apart = apart or _turn(bx, by, b_end_x, b_end_y, ax, ay) * _turn(bx, by, b_end_x, b_end_y, a_end_x, a_end_y) > 0
    return 0 if apart else 2


@helper
def _within(x: Floats, y: Floats, side: NDArray[np.int8], first: int, last: int, px: float, py: float) -> bool:
    """Whether a point may lie in the polygon of vertices ``first`` to ``last - 1`` (even-odd)."""
    inside = False
    for k in range(first, last):
        if side[k] == _END or (y[k] > py) == (y[k + 1] > py):
            continue
        turn = _turn(x[k], y[k], x[k + 1], y[k + 1], px, py)
        if turn == 0:
            return True
        if (turn > 0) == (y[k + 1] > y[k]):
            inside = not inside
    return inside


@helper
def _near(
    x: Floats,
    y: Floats,
    side: NDArray[np.int8],
    first: int,
    last: int,
    box: tuple[float, float, float, float],
    found: NDArray[np.int64],
) -> int:
    """Number of edges that reach into a box; which they are goes to ``found``."""
    n = 0
    for k in range(first, last):
        if side[k] == _END:
            continue
        if max(x[k], x[k + 1]) < box[0] or min(x[k], x[k + 1]) > box[2]:
            continue
        if max(y[k], y[k + 1]) < box[1] or min(y[k], y[k + 1]) > box[3]:
            continue
        found[n] = k
        n += 1
    return n


@helper
def _box(x: Floats, y: Floats, first: int, last: int) -> tuple[float, float, float, float]:
    west = east = x[first]
    south = north = y[first]
    for k in range(first + 1, last):
        west, east = min(west, x[k]), max(east, x[k])
        south, north = min(south, y[k]), max(north, y[k])
    return west, south, east, north


@helper
def _borders_only_touch(
    x: Floats,
    y: Floats,
    side: NDArray[np.int8],
    edges: NDArray[np.int64],
    shared: NDArray[np.bool_],
    n_a: int,
    n_b: int,
) -> bool:
    """Whether no edge crosses one of the other; which ones are borders of both goes to ``shared``."""
    shared[0, :n_a], shared[1, :n_b] = False, False
    for s in range(n_a):
        for t in range(n_b):
            met = _meet(x, y, side, edges[0, s], edges[1, t])
            if met == 2:
                return False
            if met == 1:
                shared[0, s] = shared[1, t] = True
    return True


@helper
def _outside(
    x: Floats,
    y: Floats,
    side: NDArray[np.int8],
    edges: NDArray[np.int64],
    shared: NDArray[np.bool_],
    n: int,
    first: int,
    last: int,
) -> bool:
    """Whether no edge lies in the other polygon, as its middle does if it meets the border in its ends at most."""
    for s in range(n):
        k = edges[s]
        if not shared[s] and _within(x, y, side, first, last, (x[k] + x[k + 1]) / 2, (y[k] + y[k + 1]) / 2):
            return False
    return True


@kernel
def _apart(
    x: Floats,
    y: Floats,
    rings: NDArray[np.int64],
    is_shell: NDArray[np.bool_],
    first: NDArray[np.int64],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """``certainly_apart`` on flat arrays: first vertex of each ring and of each geometry."""
    side = np.empty(x.size, np.int8)
    for ring in range(rings.size - 1):
        side[rings[ring] : rings[ring + 1]] = _inner_side(x, y, rings[ring], rings[ring + 1], is_shell[ring])
        side[rings[ring + 1] - 1] = _END
    largest = 1
    for g in range(first.size - 1):
        largest = max(largest, first[g + 1] - first[g])
    edges, shared = np.empty((2, largest), np.int64), np.empty((2, largest), np.bool_)
    apart = np.zeros(i.size, np.bool_)
    for pair in range(i.size):
        a0, a1, b0, b1 = first[i[pair]], first[i[pair] + 1], first[j[pair]], first[j[pair] + 1]
        one, other = _box(x, y, a0, a1), _box(x, y, b0, b1)
        box = (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
        n_a, n_b = _near(x, y, side, a0, a1, box, edges[0]), _near(x, y, side, b0, b1, box, edges[1])
        apart[pair] = (
            _borders_only_touch(x, y, side, edges, shared, n_a, n_b)
            and _outside(x, y, side, edges[0], shared[0], n_a, b0, b1)
            and _outside(x, y, side, edges[1], shared[1], n_b, a0, a1)
        )
    return apart
