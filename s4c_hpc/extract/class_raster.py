"""The classes of a whole grid, for masks that are widened: a pixel depends on others, also on those beside farmland."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.dilate import Widening, halo_rows, widened
from s4c_hpc.extract.layer_file import LayerFile
from s4c_hpc.optical import NO_CLASS, to_classes

_NOWHERE: Final = (0, 0)

Extent = tuple[int, int, int, int]
"""First row and column of a part of a grid, and those after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """How a class column is made from the layers of its source."""

    kind: str
    """See ``optical.to_classes``."""
    widenings: tuple[Widening, ...] = ()
    """Masks to be widened, the most important first."""
    protected: tuple[int, ...] = ()
    """Class values that widening leaves alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of a raster of classes."""

    values: NDArray[np.uint8]
    corner: tuple[int, int]
    """Row and column of its first pixel on the grid of the tile."""


class ClassRaster:
    """The decoded classes of one column, read block row by block row when it is made; each block once."""

    def __init__(
        self, column: str, rule: ClassRule, files: Sequence[LayerFile], grid: Grid, within: Extent | None = None
    ) -> None:
        """Read the layers of ``column`` from the files that hold them.

        Parameters
        ----------
        within : what of the grid is wanted; all of it by default

        Raises
        ------
        InputError
            If a file cannot be decoded.
        """
        self._column, self._rule, self._res_m = column, rule, grid.res_m
        self._files = [file for file in files if _raw_layers(file, column)]
        # A raster may be larger than the tile, as a Landsat scene is: only what reaches into it counts.
        reach = halo_rows(rule.widenings, grid.res_m)
        first_row, first_column, end_row, end_column = within or (0, 0, grid.height, grid.width)
        self._top = max(first_row - reach, *(file.row for file in self._files))
        self._left = max(first_column - reach, *(file.column for file in self._files))
        bottom = min(end_row + reach, *(file.row + file.raster.height for file in self._files))
        right = min(end_column + reach, *(file.column + file.raster.width for file in self._files))
        self._values = np.full((max(bottom - self._top, 0), max(right - self._left, 0)), NO_CLASS, dtype=np.uint8)
        if not self._values.size:
            return
        tallest = max(self._files, key=lambda file: file.block_rows)
        begun = (self._top - tallest.row) % tallest.block_rows  # of the first row of blocks
        edges = [
            0,
            *range(tallest.block_rows - begun, self._values.shape[0], tallest.block_rows),
            self._values.shape[0],
        ]
        for start, stop in itertools.pairwise(edges):
            raw: dict[str, NDArray[Any]] = {}
            for file in self._files:
                window = Window(
                    self._left - file.column, self._top - file.row + start, self._values.shape[1], stop - start
                )
                names = _raw_layers(file, column)
                raw |= dict(zip(names.values(), file.read(window, tuple(names)), strict=True))
            self._values[start:stop] = to_classes(rule.kind, raw)

    def has_all_of(self, file: LayerFile) -> bool:
        """Whether nothing of a file is needed beside what is here."""
        return file in self._files and len(_raw_layers(file, self._column)) == len(file.layers)

    def strip(self, top: int, bottom: int) -> Part:
        """Widened classes of grid rows ``top`` to ``bottom - 1``, as far as the raster has them."""
        first, last = max(top - self._top, 0), min(bottom - self._top, self._values.shape[0])
        if first >= last:
            return Part(self._values[:0], _NOWHERE)
        rule = self._rule
        found = widened(self._values, slice(first, last), rule.widenings, rule.protected, self._res_m)
        return Part(found, (first + self._top, self._left))


def _raw_layers(file: LayerFile, column: str) -> Mapping[str, str]:
    """Key of each layer of the file that belongs to the column, and the name of the layer itself."""
    return {
        key: key.partition("/")[2] or band.name
        for key, band in file.layers.items()
        if key == column or key.startswith(f"{column}/")
    }
