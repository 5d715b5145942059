"""Pixels of a parcel block on one grid, whichever grid each band lives on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import Category
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.cells import Cells, Mask
from s4c_hpc.extract.nearest import nearest_rows
from s4c_hpc.extract.ranges import RowRanges
from s4c_hpc.extract.stack import CLASS_COLUMN, NO_CLASSES, NO_RASTER, Stack
from s4c_hpc.optical import CODE


@dataclass(frozen=True, eq=False)
class _Home:
    """A stack and where its rows lie."""

    stack: Stack
    cells: Cells


@dataclass(frozen=True, eq=False)
class _Way:
    """From ranges of rows to those of a stack."""

    wanted: RowRanges
    source: RowRanges
    local: NDArray[np.int64] | slice
    """Place of each wanted row among the source's."""
    is_absent: NDArray[np.bool_]
    """(wanted.n_rows,) whether that stack's rasters do not reach the row."""


class BlockReader:
    """Reads the stacks of one product as if all bands were on one grid; other grids by nearest neighbour.

    Memory: what a call returns, a byte a row for each grid and 16 for each other one (the way from row to row, kept
    while the same ranges are asked for).
    """

    def __init__(self, stacks: Mapping[str, Stack], mask: Mask, grid: Grid) -> None:
        """Bind a product's stacks to a grid.

        Parameters
        ----------
        stacks : by grid name (``10m``)
        mask : the one that they were gathered with
        grid : where the pixels are wanted

        Raises
        ------
        InputError
            If a stack has another number of rows than the mask.
        """
        self.cells = mask.cells(grid)
        self._home: dict[str, _Home] = {}
        for name, stack in stacks.items():
            cells = mask.cells(Grid(**{**_fields(self.cells.grid), "res_m": float(name.removesuffix("m"))}))
            if stack.n_rows != cells.n_cells:
                raise InputError(
                    f"the {name} stack has {stack.n_rows} rows, the mask {cells.n_cells}",
                    where=f"tile {mask.tile}",
                    hint="it was gathered with another mask: plan again",
                )
            home = _Home(stack, cells)
            self._home.update((band, home) for band in stack.bands if band != CLASS_COLUMN)
            if stack.metadata["class_kind"] != NO_CLASSES:
                self._home[CLASS_COLUMN] = home
        self._ways: dict[str, _Way] = {}

    def read(self, band: str, ranges: RowRanges) -> NDArray[Any]:
        """DN of a band, in its stored type; (ranges.n_rows,).

        Raises
        ------
        InputError
            If no stack has this band.
        """
        if band not in self._home:
            raise InputError(
                f"no stack of this product has a band {band}", hint=f"it has {', '.join(sorted(self._home))}"
            )
        home = self._home[band]
        way = self._way(home, ranges)
        return home.stack.read_ranges(band, way.source)[way.local]

    def physical(self, band: str, ranges: RowRanges) -> NDArray[np.float64]:
        """DN * scale + offset of a band, NaN for no data, saturation and off the raster; (ranges.n_rows,) float64."""
        dn = self.read(band, ranges)
        home = self._home[band]
        column = home.stack.bands[band]
        values: NDArray[np.float64] = dn.astype(np.float64) * column.scale + column.offset
        for no_value in (column.nodata, column.saturated):
            if no_value is not None:
                values[dn == no_value] = np.nan
        values[self._way(home, ranges).is_absent] = np.nan
        return values

    def classes(self, ranges: RowRanges) -> NDArray[np.uint8]:
        """The source's own class of each pixel; (ranges.n_rows,) uint8."""
        return self.read(CLASS_COLUMN, ranges)

    def categories(self, lut: NDArray[np.uint8], ranges: RowRanges) -> NDArray[np.uint8]:
        """Category code of each pixel; (ranges.n_rows,) uint8.

        Parameters
        ----------
        lut : (256,) category code of every class value, as ``optical.class_lut`` makes it for this product. Cells
            without a class are nodata whatever it says.
        """
        own = lut.copy()
        own[NO_RASTER] = CODE[Category.NODATA]
        found: NDArray[np.uint8] = own[self.classes(ranges)]
        return found

    def _way(self, home: _Home, ranges: RowRanges) -> _Way:
        name = home.cells.grid.name
        known = self._ways.get(name)
        if known is not None and known.wanted is ranges:
            return known
        source, local = (ranges, slice(None)) if name == self.cells.grid.name else self._nearest(home.cells, ranges)
        is_absent = home.stack.read_ranges(CLASS_COLUMN, source)[local] == NO_RASTER
        self._ways[name] = _Way(ranges, source, local, is_absent)
        return self._ways[name]

    def _nearest(self, cells: Cells, ranges: RowRanges) -> tuple[RowRanges, NDArray[np.int64]]:
        rows = np.concatenate(
            [np.empty(0, np.int64), *(nearest_rows(self.cells, cells, start, stop) for start, stop in ranges)]
        )
        source = RowRanges.covering(rows)
        return source, source.local(rows)


def _fields(grid: Grid) -> dict[str, Any]:
    return {"crs": grid.crs, "ulx": grid.ulx, "uly": grid.uly, "width": grid.width, "height": grid.height}
