"""From a cell of one grid to the nearest cell of another, as stack rows."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.grid import is_landsat
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.extract.cells import Cells

_SHIFT: Final = 12
_PAGE: Final = 1 << _SHIFT
"""Stack rows of a page, within which the run of a row is searched for."""

_NONE: Final = np.int64(-(1 << 40))
"""A base that no run has."""


class Nearest:
    """The way from cells of one grid to the nearest ones of another, as stack rows.

    A coarser source gives the parent. A finer one gives the child at the centre (of four, the south-eastern, as GDAL's
    nearest neighbour does), or where the mask lacks that child, the closest one that it has (first of equals by row,
    then column).

    Memory: 8 bytes a run of cells.
    """

    def __init__(self, cells: Cells, source: Cells) -> None:
        """Prepare the way from ``cells`` to ``source``, two grids of the same mask.

        Raises
        ------
        InternalError
            If the two do not nest (Landsat's 30 m and any other).
        """
        fine, coarse = round(cells.grid.res_m), round(source.grid.res_m)
        if fine != coarse and (is_landsat(fine) or is_landsat(coarse)):
            raise InternalError(f"pixels of {fine} m are neither parents nor children of those of {coarse} m")
        self._cells, self._name = cells, source.grid.name
        self._place = (cells.row, cells.c0, cells.c1, cells.start)
        self._target = (source.row_offsets, source.c0, source.c1, source.start)
        self._is_coarser = coarse >= fine
        self._factor = coarse // fine if self._is_coarser else fine // coarse
        self._of_page = np.searchsorted(cells.start, np.arange(0, cells.n_cells + _PAGE, _PAGE), side="right") - 1
        """Run that holds the first cell of each page of stack rows."""
        self._base = np.empty(0, np.int64)
        if self._is_coarser:
            self._base = np.empty(cells.row.size, np.int64)
            _bases(self._place, self._target, self._factor, self._base)

    def rows(self, rows: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Stack row in the source of the pixel nearest to each of some cells, (n,).

        Parameters
        ----------
        rows : (n,) stack rows of the cells, in any order; fastest where neighbours follow each other

        Raises
        ------
        InternalError
            If one is beyond the cells, or the two grids do not belong to the same mask.
        """
        if rows.size and int(rows.max()) >= self._cells.n_cells:
            raise InternalError(f"stack row {rows.max()} is not within 0 to {self._cells.n_cells}")
        found = np.empty(rows.size, dtype=np.uint32)
        if self._is_coarser:
            missing = _parents(self._place, self._of_page, self._base, self._factor, rows, found)
        else:
            missing = _children(self._place, self._of_page, self._target, self._factor, rows, found)
        if missing:
            raise InternalError(f"{missing} cells of the {self._cells.grid.name} grid have no cell at {self._name}")
        return found


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


@helper
def _run_of(first: NDArray[np.int64], of_page: NDArray[np.int64], row: np.int64) -> np.int64:
    """The run that holds a stack row: binary search among those of its page."""
    page = row >> _SHIFT
    low, high = of_page[page] + 1, of_page[page + 1] + 1
    while low < high:
        middle = (low + high) >> 1
        if first[middle] <= row:
            low = middle + 1
        else:
            high = middle
    return np.int64(low - 1)


@kernel
def _bases(cells: Runs, target: Rows, factor: int, base: NDArray[np.int64]) -> None:
    """What is to be added to the column of a parent to get its stack row, for each run; -1 for none.

    A run of children lies within one run of parents: one search is enough.
    """
    row, c0 = cells[0], cells[1]
    for run in range(row.size):
        column = c0[run] // factor
        place = _find(target, row[run] // factor, column)
        base[run] = place - column if place >= 0 else _NONE


@kernel
def _parents(
    cells: Runs,
    of_page: NDArray[np.int64],
    base: NDArray[np.int64],
    factor: int,
    rows: NDArray[np.uint32],
    out: NDArray[np.uint32],
) -> int:
    _, c0, c1, first = cells
    missing, run, begin, end = 0, np.int64(0), np.int64(0), np.int64(0)
    for i in range(rows.size):
        k = np.int64(rows[i])
        if not begin <= k < end:
            run = _run_of(first, of_page, k)
            begin = first[run]
            end = begin + c1[run] - c0[run]
        missing += base[run] == _NONE
        out[i] = base[run] + (c0[run] + k - begin) // factor
    return missing


@kernel
def _children(
    cells: Runs,
    of_page: NDArray[np.int64],
    target: Rows,
    factor: int,
    rows: NDArray[np.uint32],
    out: NDArray[np.uint32],
) -> int:
    row, c0, c1, first = cells
    missing, run, begin, end = 0, np.int64(0), np.int64(0), np.int64(0)
    for i in range(rows.size):
        k = np.int64(rows[i])
        if not begin <= k < end:
            run = _run_of(first, of_page, k)
            begin = first[run]
            end = begin + c1[run] - c0[run]
        top, left = row[run] * factor, (c0[run] + k - begin) * factor
        place = _find(target, top + factor // 2, left + factor // 2)
        if place < 0:
            nearest = 2 * factor * factor + 1
            for down in range(factor):
                for right in range(factor):
                    found = _find(target, top + down, left + right)
                    # Squared distance of the centres, in half pixels so that it stays an integer.
                    distance = (2 * down + 1 - factor) ** 2 + (2 * right + 1 - factor) ** 2
                    if found >= 0 and distance < nearest:
                        nearest, place = distance, found
        missing += place < 0
        out[i] = place
    return missing
