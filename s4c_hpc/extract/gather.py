"""From raster files to a stack: every block of imagery that holds farmland is decoded once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from s4c_hpc.catalog.model import Band
from s4c_hpc.catalog.rasters import open_raster
from s4c_hpc.extract.bounds import MAX_BLOCK_ROWS
from s4c_hpc.extract.cells import Cells
from s4c_hpc.extract.jit import kernel
from s4c_hpc.extract.layer_file import LayerFile
from s4c_hpc.extract.stack import CLASS_COLUMN, NO_RASTER, StackWriter

CACHE_BYTES: Final = 64 << 20
"""GDAL's block cache: enough for the blocks of one window, since none is asked for twice."""

WINDOW_BYTES: Final = 32 << 20
"""Largest window that is read at a time, unless a single block is larger."""


def gather_grid(
    layers: Mapping[str, Band], cells: Cells, writer: StackWriter, max_block_rows: int = MAX_BLOCK_ROWS
) -> int:
    """Fill the stack of one grid of a product.

    Parameters
    ----------
    layers : by column of the stack; all of the pixel size of ``cells``
    cells : where the rows of the stack lie; cells off any of the rasters have 0 in all bands and class ``NO_RASTER``
    writer : open, its columns in the types of the layers; the class column in uint8, 0 where ``layers`` has none
    max_block_rows : tallest blocks that the task's memory was promised for

    Returns
    -------
    Number of files opened, each of them once.

    Raises
    ------
    InputError
        If a file cannot be decoded, is not what the catalog says, or lies on another grid than the tile.

    Notes
    -----
    Memory: a strip of one block row, ``rows * width * (bytes of all columns)`` where all of it is farmland, a window
    of ``WINDOW_BYTES`` and GDAL's cache of ``CACHE_BYTES``.
    """
    paths = dict.fromkeys(band.path for band in layers.values())
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), contextlib.ExitStack() as opened:
        files = []
        for path in paths:
            wanted = {column: band for column, band in layers.items() if band.path == path}
            files.append(LayerFile(path, opened.enter_context(open_raster(path)), wanted, cells.grid, max_block_rows))
        for strip in _strips(cells, files):
            writer.append(_strip_values(files, strip, writer))
    return len(files)


class _Strip:
    """The cells of a range of grid rows, and their places in its part of the stack."""

    def __init__(self, cells: Cells, top: int, bottom: int) -> None:
        self.top, self.bottom = top, bottom
        runs = slice(cells.row_offsets[top], cells.row_offsets[bottom])
        self.row, self.c0, self.c1 = cells.row[runs], cells.c0[runs], cells.c1[runs]
        self.start = cells.start[runs] - (cells.start[runs.start] if self.row.size else 0)
        self.n_cells = int(np.sum(self.c1 - self.c0))

    def windows(self, file: LayerFile, max_columns: int) -> Iterator[Window]:
        """Windows of whole blocks of the raster that hold cells; neighbours are joined up to ``max_columns``."""
        top, bottom = max(self.top - file.row, 0), min(self.bottom - file.row, file.raster.height)
        c0, c1 = np.maximum(self.c0 - file.column, 0), np.minimum(self.c1 - file.column, file.raster.width)
        inside = c0 < c1
        if bottom <= top or not inside.any():
            return
        block = file.block_columns
        n_blocks = -(-file.raster.width // block)
        depth = np.bincount(c0[inside] // block, minlength=n_blocks + 1)
        depth -= np.bincount((c1[inside] - 1) // block + 1, minlength=n_blocks + 1)
        used = np.cumsum(depth)[:n_blocks] > 0
        per_window = max(1, max_columns // block)
        begin = 0
        while begin < n_blocks:
            end = begin + 1
            if used[begin]:
                while end < n_blocks and used[end] and end - begin < per_window:
                    end += 1
                left, right = begin * block, min(end * block, file.raster.width)
                yield Window(left, top, right - left, bottom - top)
            begin = end


def _strips(cells: Cells, files: Sequence[LayerFile]) -> Iterator[_Strip]:
    """Strips that hold cells, each a row of blocks of the tallest file.

    Files of one grid have equal blocks as a rule; where they do not, a block at a seam is decoded twice.
    """
    tallest = max(files, key=lambda file: file.block_rows)
    rows = tallest.block_rows
    for top in range(tallest.row % rows - rows, cells.grid.height, rows):
        strip = _Strip(cells, min(max(top, 0), cells.grid.height), max(min(top + rows, cells.grid.height), 0))
        if strip.n_cells:
            yield strip


def _strip_values(files: Sequence[LayerFile], strip: _Strip, writer: StackWriter) -> dict[str, NDArray[Any]]:
    """Column values of all cells of a strip."""
    values = {column.name: np.zeros(strip.n_cells, dtype=column.dtype) for column in writer.columns}
    for file in files:
        row_bytes = (strip.bottom - strip.top) * sum(np.dtype(band.dtype).itemsize for band in file.layers.values())
        for window in strip.windows(file, WINDOW_BYTES // row_bytes):
            corner = (window.row_off + file.row, window.col_off + file.column)
            for layer, column in zip(file.read(window), file.layers, strict=True):
                pixels = _as_classes(layer) if column == CLASS_COLUMN else layer
                _pick(pixels, corner, strip.row, strip.c0, strip.c1, strip.start, values[column])
    for file in files:  # the last word: what a layer says beside the raster of another one is not kept
        extent = (file.row, file.column, file.raster.height, file.raster.width)
        _mark_outside(extent, strip.row, strip.c0, strip.c1, strip.start, values[CLASS_COLUMN])
    return values


def _as_classes(layer: NDArray[Any]) -> NDArray[np.uint8]:
    """Classes as uint8; what cannot be one (65535 in a 16-bit layer, say) becomes ``NO_RASTER``."""
    if layer.dtype == np.uint8:
        return layer
    return np.where((layer >= 0) & (layer < NO_RASTER), layer, NO_RASTER).astype(np.uint8)


@kernel
def _pick(
    layer: NDArray[Any],
    corner: tuple[int, int],
    row: NDArray[np.int32],
    c0: NDArray[np.int32],
    c1: NDArray[np.int32],
    start: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    """Copy the cells of runs that lie in a window, whose first pixel is at ``corner``, to their places."""
    height, width = layer.shape
    top, left = corner
    for run in range(row.size):
        r = row[run] - top
        if 0 <= r < height:
            for c in range(max(c0[run], left), min(c1[run], left + width)):
                out[start[run] + c - c0[run]] = layer[r, c - left]


@kernel
def _mark_outside(
    extent: tuple[int, int, int, int],
    row: NDArray[np.int32],
    c0: NDArray[np.int32],
    c1: NDArray[np.int32],
    start: NDArray[np.int64],
    classes: NDArray[np.uint8],
) -> None:
    """Give the cells of runs the class ``NO_RASTER`` where they lie off a raster, told by its first pixel and size."""
    top, left, height, width = extent
    for run in range(row.size):
        is_beside = row[run] < top or row[run] >= top + height
        for c in range(c0[run], c1[run]):
            if is_beside or c < left or c >= left + width:
                classes[start[run] + c - c0[run]] = NO_RASTER
