"""Pixels of a parcel block on one grid, whichever grid each band lives on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import Category
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.cells import Cells, Mask
from s4c_hpc.extract.nearest import nearest_rows
from s4c_hpc.extract.ranges import RowRanges
from s4c_hpc.extract.stack import CLASS_COLUMN, Stack
from s4c_hpc.optical import CODE


class BlockReader:
    """Reads the stacks of one product as if all bands were on one grid; other grids by nearest neighbour.

    Memory: what a call returns, and 16 bytes a row for each other grid (the way from row to row, kept while the same
    ranges are asked for).
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
        self._home: dict[str, tuple[Stack, Cells]] = {}
        for name, stack in stacks.items():
            cells = mask.cells(Grid(**{**_fields(self.cells.grid), "res_m": float(name.removesuffix("m"))}))
            if stack.n_rows != cells.n_cells:
                raise InputError(
                    f"the {name} stack has {stack.n_rows} rows, the mask {cells.n_cells}",
                    where=f"tile {mask.tile}",
                    hint="it was gathered with another mask: plan again",
                )
            self._home.update((band, (stack, cells)) for band in stack.bands)
        self._ways: dict[str, tuple[RowRanges, RowRanges, NDArray[np.int64]]] = {}

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
        stack, cells = self._home[band]
        if cells.grid.name == self.cells.grid.name:
            return stack.read_ranges(band, ranges)
        source, local = self._way(cells, ranges)
        return stack.read_ranges(band, source)[local]

    def physical(self, band: str, ranges: RowRanges) -> NDArray[np.float64]:
        """DN * scale + offset of a band, NaN where it has no data; (ranges.n_rows,) float64."""
        dn = self.read(band, ranges)
        column = self._home[band][0].bands[band]
        values: NDArray[np.float64] = dn.astype(np.float64) * column.scale + column.offset
        if column.nodata is not None:
            values[dn == column.nodata] = np.nan
        return values

    def classes(self, ranges: RowRanges) -> NDArray[np.uint8]:
        """The source's own class of each pixel; (ranges.n_rows,) uint8."""
        return self.read(CLASS_COLUMN, ranges)

    def categories(self, lut: NDArray[np.uint8], ranges: RowRanges) -> NDArray[np.uint8]:
        """Category code of each pixel; (ranges.n_rows,) uint8.

        Parameters
        ----------
        lut : (256,) category code of every class value, as ``optical.class_lut`` makes it for this product. Cells off
            the raster are nodata whatever it says.
        """
        own = lut.copy()
        own[int(self._home[CLASS_COLUMN][0].bands[CLASS_COLUMN].fill)] = CODE[Category.NODATA]
        found: NDArray[np.uint8] = own[self.classes(ranges)]
        return found

    def _way(self, cells: Cells, ranges: RowRanges) -> tuple[RowRanges, NDArray[np.int64]]:
        known = self._ways.get(cells.grid.name)
        if known is not None and known[0] is ranges:
            return known[1:]
        rows = np.concatenate(
            [np.empty(0, np.int64), *(nearest_rows(self.cells, cells, start, stop) for start, stop in ranges)]
        )
        source = RowRanges.covering(rows)
        self._ways[cells.grid.name] = (ranges, source, source.local(rows))
        return self._ways[cells.grid.name][1:]


def _fields(grid: Grid) -> dict[str, Any]:
    return {"crs": grid.crs, "ulx": grid.ulx, "uly": grid.uly, "width": grid.width, "height": grid.height}
