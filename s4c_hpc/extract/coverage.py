"""The exact share of every pixel that a polygon covers.

Each directed edge adds, pixel by pixel of the rows it passes, the area between itself and the eastern end of the row;
the sum over a closed ring, accumulated from west to east, is the covered area of each pixel. This is how outline fonts
are filled; nothing is sampled, so the result is exact up to rounding.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.extract.polygons import Rings

FULL: Final = 1.0 - 1e-8
"""A larger share counts as the whole pixel: what is missing is below the resolution of a float32 weight."""

NONE: Final = 1e-14
"""A smaller share counts as nothing: it is what rounding leaves of a sum of shares that cancel. Of 60 000 generated
parcels all such leftovers were below 1e-15, and every share from 1.5e-14 on was a real sliver."""

_BOX: Final = 1 << 18
"""Pixels of a geometry's box that are worked on at a time: all of a field's, a strip of larger ones."""

CoverageTable = tuple[
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.float32],
]
"""``run_offsets, row, c0, c1`` of whole pixels, then ``edge_offsets, edge_row, edge_column, edge_fraction``."""


def coverage(rings: Rings, height: int, width: int) -> CoverageTable:
    """Runs of fully covered pixels, and the other covered pixels with their share, by geometry, row and column.

    Parameters
    ----------
    rings : polygons in pixel coordinates, oriented, their parts disjoint; they may lie off the raster
    height, width : size of the raster

    Returns
    -------
    run_offsets (n + 1,), row, c0, c1 (n_runs,); edge_offsets (n + 1,), edge_row, edge_column (n_edges,) and
    edge_fraction (n_edges,) in (0, 1), dimensionless

    Notes
    -----
    Memory: 12 bytes a run and an edge pixel (twice that while arrays grow), and 8 a pixel of a box of ``_BOX`` pixels
    or of one row of the widest geometry.
    """
    found = _coverage(rings.x, rings.y, rings.ring_offsets, rings.offsets, height, width)
    run_offsets, row, c0, c1, edge_offsets, edge_row, column, fraction = found
    runs, edges = slice(run_offsets[-1]), slice(edge_offsets[-1])
    return run_offsets, row[runs], c0[runs], c1[runs], edge_offsets, edge_row[edges], column[edges], fraction[edges]


@helper
def _clipped(value: float, limit: int) -> int:
    return math.floor(min(max(value, 0.0), float(limit)))


@helper
def _larger(array: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """A copy with room for ``n`` values and as many more."""
    larger = np.empty(2 * n, np.int32)
    for i in range(array.size):
        larger[i] = array[i]
    return larger


@helper
def _larger_fraction(array: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    larger = np.empty(2 * n, np.float32)
    for i in range(array.size):
        larger[i] = array[i]
    return larger


@helper
def _extent(values: NDArray[np.float64], first: int, last: int, limit: int) -> tuple[int, int]:
    """First pixel of a range of values on an axis of ``limit`` pixels, and the one after its last."""
    low = high = values[first]
    for i in range(first + 1, last):
        low, high = min(low, values[i]), max(high, values[i])
    return _clipped(low, limit), _clipped(high + 1.0, limit)


@helper
def _add(cover: NDArray[np.float64], xa: float, xb: float, area: float) -> None:
    """Add to ``cover`` what lies east of a piece of an edge within one row.

    ``xa`` and ``xb`` are its ends in columns of ``cover``, whose last two only catch what spills over, and ``area`` is
    its signed height in rows.
    """
    n = cover.size - 2
    west, east = min(xa, xb), max(xa, xb)
    if west >= n:
        return
    if west < 0.0:  # off the raster: what lies west of column 0 covers the whole row
        outside = area * (min(east, 0.0) - west) / (east - west) if east > west else area
        cover[0] += outside
        area -= outside
        west = 0.0
        if east <= 0.0:
            return
    if east > n:
        area *= (n - west) / (east - west)
        east = float(n)
    if int(west) == int(east):
        c = int(west)
        share = 0.5 * (west + east) - c
        cover[c] += area * (1.0 - share)
        cover[c + 1] += area * share
        return
    per_column = area / (east - west)
    for c in range(int(west), int(east) + 1):
        a, b = max(west, float(c)), min(east, c + 1.0)
        share = 0.5 * (a + b) - c
        cover[c] += per_column * (b - a) * (1.0 - share)
        cover[c + 1] += per_column * (b - a) * share


@helper
def _add_edge(
    cover: NDArray[np.float64],
    corner: tuple[int, int],
    shape: tuple[int, int],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    k: int,
) -> None:
    """Add the pieces of edge ``k`` in a box, told by its first pixel and its rows and places a row of ``cover``."""
    if y[k] == y[k + 1]:  # a level edge covers nothing
        return
    top, left = corner
    bottom, width = top + shape[0], shape[1]
    north, south, sign = (k, k + 1, 1.0) if y[k] <= y[k + 1] else (k + 1, k, -1.0)
    begin = max(top, _clipped(y[north], bottom))
    end = math.ceil(min(max(y[south], 0.0), float(bottom)))
    slope = (x[south] - x[north]) / (y[south] - y[north])
    for row in range(begin, end):
        a, b = max(y[north], float(row)), min(y[south], row + 1.0)
        xa = x[north] if a == y[north] else x[north] + (a - y[north]) * slope
        xb = x[south] if b == y[south] else x[north] + (b - y[north]) * slope
        place = (row - top) * width
        _add(cover[place : place + width], xa - left, xb - left, sign * (b - a))


@helper
def _sweep(
    cover: NDArray[np.float64],
    corner: tuple[int, int],
    row: NDArray[np.int32],
    c0: NDArray[np.int32],
    c1: NDArray[np.int32],
    n_runs: int,
    edge_row: NDArray[np.int32],
    column: NDArray[np.int32],
    fraction: NDArray[np.float32],
    n_edges: int,
) -> tuple[int, int]:
    """Turn the areas of one row into runs and edge pixels, appended to the arrays; ``cover`` is zero afterwards.

    ``corner`` is the row, and the column of the first place of ``cover``.
    """
    total, run, left = 0.0, -1, corner[1]
    for c in range(cover.size - 2):
        total += cover[c]
        cover[c] = 0.0
        share = abs(total)
        if share >= FULL:
            run = c if run < 0 else run
            continue
        if run >= 0:
            row[n_runs], c0[n_runs], c1[n_runs] = corner[0], left + run, left + c
            n_runs, run = n_runs + 1, -1
        if share > NONE:
            edge_row[n_edges], column[n_edges], fraction[n_edges] = corner[0], left + c, share
            n_edges += 1
    if run >= 0:
        row[n_runs], c0[n_runs], c1[n_runs] = corner[0], left + run, left + cover.size - 2
        n_runs += 1
    cover[cover.size - 2] = cover[cover.size - 1] = 0.0
    return n_runs, n_edges


@kernel
def _coverage(  # noqa: C901 - calls cost too much here to be taken apart further
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    offsets: NDArray[np.int64],
    height: int,
    width: int,
) -> CoverageTable:
    """``coverage`` with room to spare at the end of the arrays of runs and edge pixels."""
    run_offsets, edge_offsets = np.zeros(offsets.size, np.int64), np.zeros(offsets.size, np.int64)
    # Enough for parcels of a hectare at 10 m; more is found as needed.
    room = 64 * offsets.size
    row, c0, c1 = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    edge_row, column, fraction = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.float32)
    n_runs, n_edges = run_offsets[0], edge_offsets[0]  # 0, but not a literal, which would compile _sweep once more
    cover = np.zeros(4096, np.float64)
    for g in range(offsets.size - 1):
        first, last = ring_offsets[offsets[g]], ring_offsets[offsets[g + 1]]
        if first < last:
            left, right = _extent(x, first, last, width)
            top, bottom = _extent(y, first, last, height)
            n = right - left
            at_once = max(1, _BOX // (n + 2))
            for north in range(top, bottom if n > 0 else top, at_once):
                n_rows = min(at_once, bottom - north)
                if n_rows * (n + 2) > cover.size:
                    cover = np.zeros(n_rows * (n + 2), np.float64)
                for ring in range(offsets[g], offsets[g + 1]):
                    for k in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
                        # Tested here: a call costs more than the edges of a long outline that lie on other strips.
                        if max(y[k], y[k + 1]) > north and min(y[k], y[k + 1]) < north + n_rows:
                            _add_edge(cover, (north, left), (n_rows, n + 2), x, y, k)
                # A row of n pixels holds at most n edge pixels and, between them, one run more than half of it.
                room = n_rows * (n + 1)
                if n_runs + room > row.size:
                    row, c0, c1 = _larger(row, n_runs + room), _larger(c0, n_runs + room), _larger(c1, n_runs + room)
                if n_edges + room > column.size:
                    edge_row, column = _larger(edge_row, n_edges + room), _larger(column, n_edges + room)
                    fraction = _larger_fraction(fraction, n_edges + room)
                for r in range(n_rows):
                    of_row = cover[r * (n + 2) : (r + 1) * (n + 2)]
                    corner = (north + r, left)
                    n_runs, n_edges = _sweep(of_row, corner, row, c0, c1, n_runs, edge_row, column, fraction, n_edges)
        run_offsets[g + 1], edge_offsets[g + 1] = n_runs, n_edges
    return run_offsets, row, c0, c1, edge_offsets, edge_row, column, fraction
