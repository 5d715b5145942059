"""Well-known binary to flat coordinates, without an object a parcel: two hundred thousand take seconds to be made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel

Flat = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]
"""``xy`` (n_vertices, 2), ``ring_offsets`` (n_rings + 1,), whether each ring is a shell (n_rings,), ``offsets``
(n + 1,) first ring of each geometry, and whether it is understood (n,)."""


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
    is_shell: NDArray[np.bool_],
    n_rings: int,
    n_vertices: int,
) -> tuple[int, int, int]:
    """Count or copy the rings of the polygon at ``at``; returns its end (-1 if it is not whole) and the new counts."""
    kind, size, rings = _header(data, at, end)
    if kind != 3:
        return -1, n_rings, n_vertices
    at += 9
    for ring in range(rings):
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
            is_shell[n_rings] = ring == 0
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
    is_shell: NDArray[np.bool_],
    n_rings: int,
    n_vertices: int,
) -> tuple[int, int, int]:
    kind, _, parts = _header(data, at, end)
    if kind == 3:
        return _polygon(data, at, end, out, ring_offsets, is_shell, n_rings, n_vertices)
    if kind != 6:
        return -1, n_rings, n_vertices
    at += 9
    for _ in range(parts):
        at, n_rings, n_vertices = _polygon(data, at, end, out, ring_offsets, is_shell, n_rings, n_vertices)
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
    nothing, no_offsets, no_shells = np.empty(0, np.uint8), np.zeros(1, np.int64), np.zeros(0, np.bool_)
    n_rings = n_vertices = 0
    for g in range(n):
        if start[g] < stop[g]:
            end, rings, vertices = _geometry(
                data, start[g], stop[g], nothing, no_offsets, no_shells, n_rings, n_vertices
            )
            if end == stop[g]:
                n_rings, n_vertices = rings, vertices
            else:
                known[g] = False
        offsets[g + 1] = n_rings
    xy = np.empty((n_vertices, 2), np.float64)
    out = xy.reshape(2 * n_vertices).view(np.uint8)
    ring_offsets, is_shell = np.zeros(n_rings + 1, np.int64), np.zeros(n_rings, np.bool_)
    n_rings = n_vertices = 0
    for g in range(n):
        if known[g] and start[g] < stop[g]:
            _, n_rings, n_vertices = _geometry(
                data, start[g], stop[g], out, ring_offsets, is_shell, n_rings, n_vertices
            )
    return xy, ring_offsets, is_shell, offsets, known
