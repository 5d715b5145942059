"""From open imagery to plain rasters of variables, strip by strip."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rasterio.windows import Window

from s4c_hpc.core.grid import Grid
from s4c_hpc.optical import Variable
from s4c_hpc.rasters.cog import BLOCK, Description, plain_file
from s4c_hpc.rasters.encode import pack
from s4c_hpc.rasters.reader import FrameReader
from s4c_hpc.rasters.rows import STRIP_ROWS

WINDOW_COLUMNS: Final = 2 * BLOCK
"""Columns that a formula is evaluated on at a time; with ``STRIP_ROWS`` whole blocks of the file."""

WINDOW_PIXELS: Final = STRIP_ROWS * WINDOW_COLUMNS
"""Pixels worked on at a time."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One raster to be made."""

    variable: Variable
    description: Description
    plain: Path
    """Where the plain file goes."""


def write_plain(reader: FrameReader, frame: Grid, layers: Sequence[Layer]) -> list[int]:
    """Evaluate variables on every pixel of a frame.

    Parameters
    ----------
    reader : of the bands that the variables need, on ``frame``
    layers : of variables

    Returns
    -------
    For each layer, the number of pixels whose value its integers cannot hold

    Notes
    -----
    Memory: 8 bytes a pixel of a window for each band and each temporary of a formula, beside what ``reader`` holds.
    """
    beyond = [0] * len(layers)
    names = sorted({name for layer in layers for name in layer.variable.formula.names})
    with contextlib.ExitStack() as stack:
        files: list[Any] = [stack.enter_context(plain_file(x.plain, frame, x.description)) for x in layers]
        for top in range(0, frame.height, STRIP_ROWS):
            rows = slice(top, min(top + STRIP_ROWS, frame.height))
            reader.advance(rows.start, rows.stop)
            for left in range(0, frame.width, WINDOW_COLUMNS):
                columns = slice(left, min(left + WINDOW_COLUMNS, frame.width))
                window = Window(left, top, columns.stop - left, rows.stop - top)
                bands, usable = reader.physical(names, rows, columns), reader.usable(rows, columns)
                for i, (layer, file) in enumerate(zip(layers, files, strict=True)):
                    values = layer.variable.formula.evaluate(bands).reshape(window.height, window.width)
                    if usable is not None:
                        values[~usable] = float("nan")
                    packed = pack(values, layer.description.scale)
                    beyond[i] += packed.n_beyond
                    file.write(packed.values, 1, window=window)
    return beyond
