"""Pixels of a parcel block on one grid, whichever grid each band lives on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog.angles import COSINES, Angles
from s4c_hpc.config.model import Category
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.cells import Cells, Mask
from s4c_hpc.extract.cosines import CosineReader
from s4c_hpc.extract.jit import kernel
from s4c_hpc.extract.nearest import nearest_rows
from s4c_hpc.extract.ranges import RowRanges
from s4c_hpc.extract.stack import ANGLES, CLASS_COLUMN, FMASK_COLUMN, NO_CLASSES, NO_RASTER, Stack
from s4c_hpc.optical import CODE, ExternalRule


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

    def __init__(
        self,
        stacks: Mapping[str, Stack],
        mask: Mask,
        grid: Grid,
        external: ExternalRule | None = None,
        angles: Angles | None = None,
    ) -> None:
        """Bind a product's stacks to a grid.

        Parameters
        ----------
        stacks : by grid name (``10m``)
        mask : the one that they were gathered with
        grid : where the pixels are wanted
        external : how FMask is laid over the product's own classes, where it counts
        angles : of sun and view, where they do not stand in one of the stacks

        Raises
        ------
        InputError
            If a stack has another number of rows than the mask.
        """
        self.cells = mask.cells(grid)
        self._external = external
        self._home: dict[str, _Home] = {}
        self._with_classes: list[_Home] = []
        """Stacks with classes of their own, finest first."""
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
                self._with_classes.append(home)
            if name == self.cells.grid.name:
                self._home[CLASS_COLUMN] = home
        self._with_classes.sort(key=lambda home: home.cells.grid.res_m)
        at_hand = [home for home in self._with_classes if home.cells.grid.name == self.cells.grid.name]
        if self._with_classes:
            self._home[CLASS_COLUMN] = (at_hand or self._with_classes)[0]
        self._ways: dict[str, _Way] = {}
        told = [stack.metadata[ANGLES] for stack in stacks.values() if ANGLES in stack.metadata]
        angles = Angles.from_text(told[0]) if told else angles
        self._cosines = None if angles is None else CosineReader(angles, self.cells)

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
        return self._read(self._home[band], band, ranges)

    def _read(self, home: _Home, column: str, ranges: RowRanges) -> NDArray[Any]:
        way = self._way(home, ranges)
        return home.stack.read_ranges(column, way.source)[way.local]

    def physical(self, band: str, ranges: RowRanges) -> NDArray[np.float64]:
        """DN * scale + offset of a band, NaN for no data, saturation and off the raster; (ranges.n_rows,) float64.

        The pseudo-bands of ``catalog.angles.COSINES`` are there, too, NaN where no angles are known.
        """
        if band in COSINES:
            return np.full(ranges.n_rows, np.nan) if self._cosines is None else self._cosines.read(band, ranges)
        dn = self.read(band, ranges)
        home = self._home[band]
        column = home.stack.bands[band]
        values = np.empty(dn.size)
        none, saturated = (_as_stored(dn.dtype, no_value) for no_value in (column.nodata, column.saturated))
        _to_physical(dn, self._way(home, ranges).is_absent, column.scale, column.offset, none, saturated, values)
        return values

    def classes(self, ranges: RowRanges) -> NDArray[np.uint8]:
        """The source's own class of each pixel; (ranges.n_rows,) uint8."""
        return self.read(CLASS_COLUMN, ranges)

    def categories(self, lut: NDArray[np.uint8], ranges: RowRanges) -> NDArray[np.uint8]:
        """Category code of each pixel; (ranges.n_rows,) uint8.

        Classes are those of the grid itself where the product has some on it, else those of its finest grid with
        classes. A pixel whose parent on a coarser grid with classes is saturated is saturated, unless it is anything
        but plain valid itself: MAJA says on each grid which of the bands of that grid are saturated.

        Parameters
        ----------
        lut : (256,) category code of every class value, as ``optical.own_lut`` makes it for this product. Cells
            without a class are nodata whatever it says.
        """
        own = lut.copy()
        own[NO_RASTER] = CODE[Category.NODATA]
        found: NDArray[np.uint8] = own[self.classes(ranges)]
        for home in self._with_classes:
            if home.cells.grid.res_m > max(self._home[CLASS_COLUMN].cells.grid.res_m, self.cells.grid.res_m):
                parents = own[self._read(home, CLASS_COLUMN, ranges)]
                is_hit = (parents == CODE[Category.SATURATED]) & (found == CODE[Category.VALID])
                found[is_hit] = CODE[Category.SATURATED]
        return found if self._external is None else self._external.over(found, self._external_codes(ranges))

    def _external_codes(self, ranges: RowRanges) -> NDArray[np.uint8]:
        lut = None if self._external is None else self._external.lut
        if lut is None:
            return np.full(ranges.n_rows, CODE[Category.NODATA], dtype=np.uint8)
        own = lut.copy()
        own[NO_RASTER] = CODE[Category.NODATA]
        codes: NDArray[np.uint8] = own[self.read(FMASK_COLUMN, ranges)]
        return codes

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


def _as_stored(dtype: np.dtype[Any], no_value: float | None) -> float:
    """A DN without a meaning as it is stored (-9999.9 is another number in single precision); NaN for none."""
    if no_value is None:
        return np.nan
    with np.errstate(over="ignore"):
        return float(dtype.type(no_value)) if dtype.kind == "f" else float(no_value)


@kernel
def _to_physical(
    dn: NDArray[Any],
    is_absent: NDArray[np.bool_],
    scale: float,
    offset: float,
    nodata: float,
    saturated: float,
    values: NDArray[np.float64],
) -> None:
    """Every pixel of a band in one pass."""
    for i in range(dn.size):
        stored = np.float64(dn[i])
        is_none = is_absent[i] or stored in (nodata, saturated)
        values[i] = np.nan if is_none else stored * scale + offset
