"""Rows of a raster file as they are asked for from north to south: every block of it is decoded once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.layer_file import LayerFile
from s4c_hpc.rasters.frame import nearest_columns, nearest_rows

STRIP_ROWS: Final = 512
"""Rows of the finest grid that are worked on at a time, and of the blocks of what is written."""

LEAST_ROWS: Final = 256
"""Rows decoded at a time, at least, where blocks are lower."""

WINDOW_BYTES: Final = 32 << 20
"""Largest window that is read at a time, unless a single block is larger."""


def rows_at_a_time(block_rows: int) -> int:
    """Rows of a file that are decoded together: whole blocks."""
    return block_rows * -(-LEAST_ROWS // block_rows)


class FileRows:
    """Some layers of a file, laid by nearest neighbour on a grid that is as fine or finer.

    Memory: ``rows_at_a_time`` and the rows of a strip, of all layers, over the columns of the tile; and a window.
    """

    def __init__(self, file: LayerFile, keys: Sequence[str], source: Grid, frame: Grid) -> None:
        """Bind an open file to a grid.

        Parameters
        ----------
        keys : layers that are wanted, as ``file`` calls them
        source : grid of the file
        frame : where pixels are wanted
        """
        self._file, self._keys = file, tuple(keys)
        self.rows, self.columns = nearest_rows(frame, source), nearest_columns(frame, source)
        self.has_row = (self.rows >= 0) & (self.rows < source.height)
        """(frame.height,) whether the file reaches a row."""
        self.has_column = (self.columns >= 0) & (self.columns < source.width)
        """(frame.width,) the same of columns."""
        reached = self.columns[self.has_column]
        self._left = int(reached[0]) if reached.size else 0
        self._width = int(reached[-1]) + 1 - self._left if reached.size else 0
        self._height = source.height
        self._step = rows_at_a_time(file.block_rows)
        self._next = 0
        """First row that is not decoded yet; at the edge of a block."""
        self._top = 0
        """Row that the first held one is; all from there to ``_next`` are held."""
        most = self._step + math.ceil(STRIP_ROWS * frame.res_m / source.res_m) + 1
        shape = (min(most, self._height), self._width)
        self._held: dict[str, NDArray[Any]] = {key: np.empty(shape, file.layers[key].dtype) for key in self._keys}

    def advance(self, first: int, last: int) -> None:
        """Hold what rows ``first`` to ``last - 1`` of the frame need.

        Parameters
        ----------
        first, last : ``STRIP_ROWS`` rows at most, below those asked for before
        """
        wanted = self.rows[first:last][self.has_row[first:last]]
        if not wanted.size or not self._width:
            return
        start, stop = int(wanted[0]), int(wanted[-1]) + 1
        if start >= self._next:  # blocks that nobody wants, north of the tile
            self._next = self._top = start - start % self._step
        while self._next < stop:
            self._drop_above(start)
            self._decode(min(self._next + self._step, self._height))

    def picked(self, key: str, rows: slice, columns: slice) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored values of a layer in a window of the frame, within the rows that were last asked for.

        Returns
        -------
        (rows, columns) values in the stored type, and whether the file has the pixel; where not, the value is any
        """
        has = self.has_row[rows, None] & self.has_column[None, columns]
        if not has.any():
            return np.zeros(has.shape, dtype=self._held[key].dtype), has
        row = np.clip(self.rows[rows] - self._top, 0, self._next - self._top - 1)
        column = np.clip(self.columns[columns] - self._left, 0, self._width - 1)
        return self._held[key][np.ix_(row, column)], has

    def _drop_above(self, start: int) -> None:
        """Move up what is held from row ``start`` on."""
        drop, keep = min(start, self._next) - self._top, self._next - max(start, self._top)
        if drop <= 0:
            return
        for held in self._held.values():
            for row in range(max(keep, 0)):  # one by one: NumPy would copy all of it where source and target overlap
                held[row] = held[row + drop]
        self._top += drop

    def _decode(self, stop: int) -> None:
        """Decode rows to ``stop - 1``, window by window: GDAL holds the blocks of all layers of one."""
        row_bytes = sum(held.dtype.itemsize for held in self._held.values())
        block = self._file.block_columns
        columns = max(1, WINDOW_BYTES // (row_bytes * block * (stop - self._next))) * block
        right, begin = self._left + self._width, self._left
        at = slice(self._next - self._top, stop - self._top)
        while begin < right:
            end = min(begin - begin % block + columns, right)
            window = Window(begin, self._next, end - begin, stop - self._next)
            for key, values in zip(self._keys, self._file.read(window, self._keys), strict=True):
                self._held[key][at, begin - self._left : end - self._left] = values
            begin = end
        self._next = stop
