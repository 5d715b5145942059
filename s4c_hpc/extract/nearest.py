"""From a cell of one grid to the nearest cell of another, as stack rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.grid import is_landsat
from s4c_hpc.extract.cells import Cells
from s4c_hpc.extract.jit import helper, kernel


def nearest_rows(cells: Cells, source: Cells, start: int, stop: int) -> NDArray[np.int64]:
    """Stack row in ``source`` of the pixel nearest to each cell of a range.

    A coarser source gives the parent. A finer one gives the child at the centre (of four, the south-eastern, as GDAL's
    nearest neighbour does), or where the mask lacks that child, the closest one that it has (first of equals by row,
    then column).

    Parameters
    ----------
    cells, source : cells of two grids of the same mask
    start, stop : range of stack rows of ``cells``

    Returns
    -------
    (stop - start,) stack rows of ``source``

    Raises
    ------
    InternalError
        If the two do not belong to the same mask, or do not nest (Landsat's 30 m and any other).
    """
    if not 0 <= start <= stop <= cells.n_cells:
        raise InternalError(f"stack rows {start} to {stop} are not within 0 to {cells.n_cells}")
    rows = np.empty(stop - start, dtype=np.int64)
    fine, coarse = round(cells.grid.res_m), round(source.grid.res_m)
    if fine != coarse and (is_landsat(fine) or is_landsat(coarse)):
        raise InternalError(f"pixels of {fine} m are neither parents nor children of those of {coarse} m")
    place = (cells.row, cells.c0, cells.c1, cells.start)
    target = (source.row_offsets, source.c0, source.c1, source.start)
    first_run = int(np.searchsorted(cells.start, start, side="right")) - 1
    if coarse >= fine:
        missing = _parents(place, target, coarse // fine, first_run, start, stop, rows)
    else:
        missing = _children(place, target, fine // coarse, first_run, start, stop, rows)
    if missing:
        raise InternalError(f"{missing} cells of the {cells.grid.name} grid have no cell at {source.grid.name}")
    return rows


Runs = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]
"""``row, c0, c1, start`` of ``Cells``."""

Rows = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]
"""``row_offsets, c0, c1, start`` of ``Cells``."""


@helper
def _find(target: Rows, row: int, column: int) -> int:
    """Stack row of a cell, -1 if it is not kept: binary search among the runs of its row."""
    row_offsets, c0, c1, start = target
    if row < 0 or row + 1 >= row_offsets.size:
        return -1
    low, high = row_offsets[row], row_offsets[row + 1]
    first = low
    while low < high:
        middle = (low + high) >> 1
        if c0[middle] <= column:
            low = middle + 1
        else:
            high = middle
    run = low - 1
    if run < first or column >= c1[run]:
        return -1
    return int(start[run] + column - c0[run])


@kernel
def _parents(cells: Runs, target: Rows, factor: int, run: int, start: int, stop: int, out: NDArray[np.int64]) -> int:
    row, c0, c1, first = cells
    missing = 0
    k = start
    while k < stop:
        column = c0[run] + (k - first[run])
        end = min(stop, first[run] + c1[run] - c0[run])
        parent_row = row[run] // factor
        # A run of children lies within one run of parents: one search is enough.
        place = _find(target, parent_row, column // factor)
        missing += (end - k) if place < 0 else 0
        base = place - column // factor
        while k < end:
            out[k - start] = base + column // factor
            k += 1
            column += 1
        run += 1
    return missing


@kernel
def _children(cells: Runs, target: Rows, factor: int, run: int, start: int, stop: int, out: NDArray[np.int64]) -> int:
    row, c0, c1, first = cells
    missing = 0
    for k in range(start, stop):
        while k >= first[run] + c1[run] - c0[run]:
            run += 1
        top, left = row[run] * factor, (c0[run] + k - first[run]) * factor
        place = _find(target, top + factor // 2, left + factor // 2)
        if place < 0:
            nearest = 2 * factor * factor + 1
            for i in range(factor):
                for j in range(factor):
                    found = _find(target, top + i, left + j)
                    # Squared distance of the centres, in half pixels so that it stays an integer.
                    distance = (2 * i + 1 - factor) ** 2 + (2 * j + 1 - factor) ** 2
                    if found >= 0 and distance < nearest:
                        nearest, place = distance, found
        missing += place < 0
        out[k - start] = place
    return missing
