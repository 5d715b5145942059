"""Pixels whose centre lies in a polygon, as runs.

The rule is half-open on both axes: an edge belongs to the polygon to its east, or to its south if it is level. Edges
are walked from their northern end whichever way the ring turns, so two polygons that share an edge compute the same
crossings to the last bit: no pixel is lost between them or counted in both.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.extract.polygons import Rings

RunTable = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
"""``offsets`` (n + 1,) first run of each geometry, then ``row, c0, c1`` of the runs."""


def centre_runs(rings: Rings, height: int, width: int) -> RunTable:
    """Runs of pixels whose centres are inside (even-odd), by geometry, row and column.

    Parameters
    ----------
    rings : polygons in pixel coordinates; parts may lie off the raster
    height, width : size of the raster

    Returns
    -------
    offsets (n + 1,), row, c0, c1 (n_runs,): pixels ``c0`` to ``c1 - 1`` of a row

    Notes
    -----
    Memory: 12 bytes a run, and scratch of 8 bytes a row and a crossing of the largest geometry.
    """
    offsets, row, c0, c1 = _centre_runs(rings.x, rings.y, rings.ring_offsets, rings.offsets, height, width)
    n_runs = offsets[-1]
    return offsets, row[:n_runs], c0[:n_runs], c1[:n_runs]


@helper
def _grown(array: NDArray[np.int32]) -> NDArray[np.int32]:
    larger = np.empty(2 * array.size, np.int32)
    for i in range(array.size):
        larger[i] = array[i]
    return larger


@helper
def _extent(values: NDArray[np.float64], first: int, last: int) -> tuple[float, float]:
    low = high = values[first]
    for i in range(first + 1, last):
        low, high = min(low, values[i]), max(high, values[i])
    return low, high


@helper
def _centres_before(value: float, limit: int) -> int:
    """Number of pixel centres before ``value`` on an axis of ``limit`` pixels; a centre at ``value`` is not before."""
    return math.ceil(min(max(value - 0.5, 0.0), float(limit)))


@helper
def _count_crossings(
    y: NDArray[np.float64], ring_offsets: NDArray[np.int64], first: int, last: int, top: int, n_rows: int, height: int
) -> NDArray[np.int64]:
    """(n_rows + 1,) first place of each row's crossings, of rings ``first`` to ``last - 1``."""
    start = np.zeros(n_rows + 1, np.int64)
    for ring in range(first, last):
        for k in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
            begin = _centres_before(min(y[k], y[k + 1]), height) - top
            end = _centres_before(max(y[k], y[k + 1]), height) - top
            for r in range(begin, end):
                start[r + 1] += 1
    for r in range(n_rows):
        start[r + 1] += start[r]
    return start


@helper
def _crossings(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    first: int,
    last: int,
    top: int,
    start: NDArray[np.int64],
    height: int,
) -> NDArray[np.float64]:
    """Where the rings cross the centre line of each row, in columns; ascending within a row."""
    crossing = np.empty(start[-1], np.float64)
    filled = np.zeros(start.size, np.int64)
    for ring in range(first, last):
        for k in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
            north, south = (k, k + 1) if y[k] <= y[k + 1] else (k + 1, k)
            begin = _centres_before(y[north], height)
            end = _centres_before(y[south], height)
            if begin == end:
                continue
            slope = (x[south] - x[north]) / (y[south] - y[north])
            for r in range(begin, end):
                value = x[north] + (r + 0.5 - y[north]) * slope
                place = start[r - top] + filled[r - top]
                while place > start[r - top] and crossing[place - 1] > value:
                    crossing[place] = crossing[place - 1]
                    place -= 1
                crossing[place] = value
                filled[r - top] += 1
    return crossing


@kernel
def _centre_runs(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    offsets: NDArray[np.int64],
    height: int,
    width: int,
) -> RunTable:
    """``centre_runs`` with room to spare at the end of the arrays of runs."""
    run_offsets = np.zeros(offsets.size, np.int64)
    row, c0, c1 = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    n_runs = 0
    for g in range(offsets.size - 1):
        first, last = offsets[g], offsets[g + 1]
        if first < last:
            north, south = _extent(y, ring_offsets[first], ring_offsets[last])
            top = _centres_before(north, height)
            n_rows = _centres_before(south, height) - top
            start = _count_crossings(y, ring_offsets, first, last, top, n_rows, height)
            crossing = _crossings(x, y, ring_offsets, first, last, top, start, height)
            for r in range(n_rows):
                # A closed ring crosses a line an even number of times.
                for i in range(start[r], start[r + 1] - 1, 2):
                    begin, end = _centres_before(crossing[i], width), _centres_before(crossing[i + 1], width)
                    if begin < end:
                        if n_runs == row.size:
                            row, c0, c1 = _grown(row), _grown(c0), _grown(c1)
                        row[n_runs], c0[n_runs], c1[n_runs] = top + r, begin, end
                        n_runs += 1
        run_offsets[g + 1] = n_runs
    return run_offsets, row, c0, c1
