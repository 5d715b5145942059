"""Cosines of sun and view angles at each pixel, from the coarse grid of a product's metadata."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog.angles import COS_RELATIVE_AZIMUTH, COS_SUN_ZENITH, COS_VIEW_ZENITH, Angles
from s4c_hpc.extract.cells import Cells
from s4c_hpc.extract.ranges import RowRanges

_CHUNK: Final = 16384
"""Pixels worked on at a time. Does not change the result."""


class CosineReader:
    """The pseudo-bands of a grid's cells.

    Directions are interpolated between the four nodes around a pixel, as vectors; nodes without a direction are left
    out. So a pixel at the edge of the swath, beside nodes that the sensor did not see, takes the direction of those
    that it saw.

    Memory: 24 bytes a row of the ranges asked for last, which are kept, since the three bands are asked for in turn.
    """

    def __init__(self, angles: Angles, cells: Cells) -> None:
        self._cells = cells
        grid, vectors = cells.grid, angles.vectors()
        n_rows, n_columns = vectors.shape[:2]
        # Zero where nothing is known: only the direction of a weighted sum counts, not its length.
        self._nodes = np.nan_to_num(vectors, nan=0.0)
        centre_y = grid.uly - (np.arange(grid.height) + 0.5) * grid.res_m
        centre_x = grid.ulx + (np.arange(grid.width) + 0.5) * grid.res_m
        self._row = _Place((angles.uly - centre_y) / angles.step_m, n_rows)
        self._column = _Place((centre_x - angles.ulx) / angles.step_m, n_columns)
        self._known: tuple[RowRanges, dict[str, NDArray[np.float64]]] | None = None

    def read(self, name: str, ranges: RowRanges) -> NDArray[np.float64]:
        """One of ``COSINES``, (ranges.n_rows,) float64; NaN where no node around has a direction.

        The cosine of the relative azimuth is 0 where sun or sensor are in the zenith and have no azimuth.
        """
        if self._known is None or self._known[0] is not ranges:
            self._known = ranges, self._all(ranges)
        return self._known[1][name]

    def _all(self, ranges: RowRanges) -> dict[str, NDArray[np.float64]]:
        row, column = _places(self._cells, ranges)
        cosines = np.empty((3, row.size))
        for start in range(0, row.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            cosines[:, part] = _cosines(self._directions(row[part], column[part]))
        return dict(zip((COS_VIEW_ZENITH, COS_SUN_ZENITH, COS_RELATIVE_AZIMUTH), cosines, strict=True))

    def _directions(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, 6) directions to sun and sensor, of any length."""
        opens = np.r_[0, np.flatnonzero(np.diff(row)) + 1]  # stack rows go along the rows of the grid
        rows = row[opens]
        which = np.repeat(np.arange(opens.size), np.diff(np.r_[opens, row.size]))
        above, below, down = self._row.before[rows], self._row.after[rows], self._row.share[rows, None, None]
        lines = (self._nodes[above] * (1.0 - down) + self._nodes[below] * down).reshape(-1, 6)
        first = which * self._nodes.shape[1]
        right = self._column.share[column, None]
        found: NDArray[np.float64] = lines[first + self._column.before[column]]
        found *= 1.0 - right
        found += lines[first + self._column.after[column]] * right
        return found


class _Place:
    """Between which nodes of a line each pixel lies; beyond the last one its value holds."""

    def __init__(self, position: NDArray[np.floating], n_nodes: int) -> None:
        position = np.clip(position, 0.0, n_nodes - 1.0)
        self.before = np.floor(position).astype(np.int64)
        self.after = np.minimum(self.before + 1, n_nodes - 1)
        self.share = position - self.before
        """From 0, at the node before, to 1."""


def _places(cells: Cells, ranges: RowRanges) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Grid row and column of each stack row, (ranges.n_rows,) each."""
    rows, columns = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for start, stop in ranges:
        first, last = np.searchsorted(cells.start, start, side="right") - 1, np.searchsorted(cells.start, stop)
        opens = cells.start[first:last]
        length = np.diff(np.r_[start, opens[1:], stop])
        rows.append(np.repeat(cells.row[first:last].astype(np.int64), length))
        columns.append(np.arange(start, stop) - np.repeat(opens - cells.c0[first:last], length))
    return np.concatenate(rows), np.concatenate(columns)


def _cosines(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines of view zenith, sun zenith and relative azimuth, (3, n), of directions (n, 6)."""
    sun_x, sun_y, sun_z, view_x, view_y, view_z = np.ascontiguousarray(directions.T)
    across_sun, across_view = sun_x * sun_x + sun_y * sun_y, view_x * view_x + view_y * view_y
    across = np.sqrt(across_sun * across_view)
    with np.errstate(invalid="ignore", divide="ignore"):
        view_zenith = view_z / np.sqrt(across_view + view_z * view_z)  # NaN for 0 / 0: nothing is known
        sun_zenith = sun_z / np.sqrt(across_sun + sun_z * sun_z)
        azimuth = np.where(across > 0.0, (sun_x * view_x + sun_y * view_y) / across, 0.0)
    azimuth[np.isnan(view_zenith) | np.isnan(sun_zenith)] = np.nan
    return np.stack([view_zenith, sun_zenith, np.clip(azimuth, -1.0, 1.0)])
