"""From raster files to a stack: every block of imagery that holds farmland is decoded once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from s4c_hpc.catalog.model import Band
from s4c_hpc.catalog.rasters import open_raster
from s4c_hpc.core.jit import kernel
from s4c_hpc.extract.bounds import MAX_BLOCK_ROWS
from s4c_hpc.extract.cells import Cells
from s4c_hpc.extract.class_raster import ClassRaster, ClassRule
from s4c_hpc.extract.layer_file import LayerFile
from s4c_hpc.extract.stack import CLASS_COLUMN, FMASK_COLUMN, NO_RASTER, StackWriter
from s4c_hpc.optical import as_classes, to_classes

CACHE_BYTES: Final = 64 << 20
"""GDAL's block cache: enough for the blocks of one window, since none is asked for twice."""

WINDOW_BYTES: Final = 32 << 20
"""Largest window that is read at a time, unless a single block is larger."""


def gather_grid(
    layers: Mapping[str, Band],
    cells: Cells,
    writer: StackWriter,
    max_block_rows: int = MAX_BLOCK_ROWS,
    rules: Mapping[str, ClassRule] = MappingProxyType({}),
    threads: int = 1,
) -> int:
    """Fill the stack of one grid of a product.

    Parameters
    ----------
    layers : by column of the stack; all of the pixel size of ``cells``. Raw layers that together make a class column
        are called ``class/<name>``
    cells : where the rows of the stack lie; cells off any of the rasters have 0 in all bands and class ``NO_RASTER``
    writer : open, its columns in the types of the layers; the class column in uint8, 0 where ``layers`` has none
    max_block_rows : tallest blocks that the task's memory was promised for
    rules : by class column, how it is made; needed where it is made of several layers or is widened
    threads : that GDAL decodes the blocks of a window in; the stack is the same on any number

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
    of ``WINDOW_BYTES`` and GDAL's cache of ``CACHE_BYTES``. Where classes are widened, a byte a pixel of their raster.
    """
    paths = dict.fromkeys(band.path for band in layers.values())
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS=threads), contextlib.ExitStack() as opened:
        files = []
        for path in paths:
            wanted = {column: band for column, band in layers.items() if band.path == path}
            files.append(LayerFile(path, opened.enter_context(open_raster(path)), wanted, cells.grid, max_block_rows))
        here = {key.partition("/")[0] for key in layers}  # FMask, say, may be on another grid of the product
        widened = {
            c: ClassRaster(c, rule, files, cells.grid, cells.extent)
            for c, rule in rules.items()
            if rule.widenings and c in here
        }
        read = [file for file in files if not any(raster.has_all_of(file) for raster in widened.values())]
        for strip in _strips(cells, files):
            values = _strip_values(read, strip, _arrays(read, strip, writer))
            _make_classes(values, rules)
            for column, raster in widened.items():
                picked = raster.strip(strip.top, strip.bottom)
                _pick(picked.values, picked.corner, strip.row, strip.c0, strip.c1, strip.start, values[column])
            _mark_beside(files, strip, values)
            writer.append(values)
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


def _arrays(files: Sequence[LayerFile], strip: _Strip, writer: StackWriter) -> dict[str, NDArray[Any]]:
    """Room for the columns of a strip and for raw layers of classes."""
    dtypes = {key: band.dtype for file in files for key, band in file.layers.items() if "/" in key}
    dtypes |= {column.name: column.dtype for column in writer.columns}
    return {key: np.zeros(strip.n_cells, dtype=dtype) for key, dtype in dtypes.items()}


def _strip_values(
    files: Sequence[LayerFile], strip: _Strip, values: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Values of all cells of a strip, filled into ``values``."""
    for file in files:
        row_bytes = (strip.bottom - strip.top) * sum(np.dtype(band.dtype).itemsize for band in file.layers.values())
        for window in strip.windows(file, WINDOW_BYTES // row_bytes):
            corner = (window.row_off + file.row, window.col_off + file.column)
            for layer, column in zip(file.read(window), file.layers, strict=True):
                pixels = as_classes(layer) if column in (CLASS_COLUMN, FMASK_COLUMN) else layer
                _pick(pixels, corner, strip.row, strip.c0, strip.c1, strip.start, values[column])
    return values


def _make_classes(values: dict[str, NDArray[Any]], rules: Mapping[str, ClassRule]) -> None:
    """Put class columns into the place of the raw layers that they are made of."""
    for column, rule in rules.items():
        raw = {key: values.pop(key) for key in list(values) if key.startswith(f"{column}/")}
        if raw:
            values[column] = to_classes(rule.kind, {key.partition("/")[2]: layer for key, layer in raw.items()})


def _mark_beside(files: Sequence[LayerFile], strip: _Strip, values: Mapping[str, NDArray[Any]]) -> None:
    """The last word: what a layer says beside the raster of another one is not kept. FMask speaks for itself only."""
    for file in files:
        extent = (file.row, file.column, file.raster.height, file.raster.width)
        column = FMASK_COLUMN if FMASK_COLUMN in file.layers else CLASS_COLUMN
        _mark_outside(extent, strip.row, strip.c0, strip.c1, strip.start, values[column])


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
