"""Which pixels of a raster count: the product's classes and FMask, laid on its grid as on the way to series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog import Product
from s4c_hpc.config import Category, Config
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.class_raster import ClassRaster, ClassRule, Part
from s4c_hpc.extract.stack import CLASS_COLUMN, FMASK_COLUMN
from s4c_hpc.extract.stage_gather import class_rules
from s4c_hpc.optical import CODE, NO_CLASS, external_rule, own_lut, to_classes, usable_codes
from s4c_hpc.rasters.frame import nearest_columns, nearest_rows
from s4c_hpc.rasters.open_layers import OpenGrid, is_of
from s4c_hpc.rasters.rows import FileRows


class GridClasses:
    """The classes of one column on one grid of a product, laid on a frame."""

    def __init__(self, column: str, kind: str, source: OpenGrid, rows: Mapping[str, FileRows]) -> None:
        """Bind raw layers.

        Parameters
        ----------
        rows : by key, of all layers of the column
        """
        self.res_m = source.grid.res_m
        self._kind = kind
        self._rows = {
            key.partition("/")[2] or band.name: (key, rows[key])
            for file in source.with_column(column)
            for key, band in file.layers.items()
            if is_of(column, key)
        }

    def advance(self, first: int, last: int) -> None:
        """Nothing: the rows of files are moved on by whoever has them."""

    def picked(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Class of each pixel of a window, ``NO_CLASS`` off the raster."""
        raw: dict[str, NDArray[Any]] = {}
        beside = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_)
        for name, (key, of_file) in self._rows.items():
            raw[name], has = of_file.picked(key, rows, columns)
            beside |= ~has
        found = to_classes(self._kind, raw)
        return np.where(beside, np.uint8(NO_CLASS), found)


class WidenedClasses:
    """The same of masks that are widened: the raster of classes is held whole, a byte a pixel."""

    def __init__(self, column: str, rule: ClassRule, source: OpenGrid, frame: Grid) -> None:
        self.res_m = source.grid.res_m
        self._raster = ClassRaster(column, rule, source.with_column(column), source.grid)
        self._rows, self._columns = nearest_rows(frame, source.grid), nearest_columns(frame, source.grid)
        self._part: Part | None = None

    def advance(self, first: int, last: int) -> None:
        """Widen what rows ``first`` to ``last - 1`` of the frame need."""
        self._part = self._raster.strip(int(self._rows[first]), int(self._rows[last - 1]) + 1)

    def picked(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """As of ``GridClasses``, within the rows that were last asked for."""
        found = np.full((rows.stop - rows.start, columns.stop - columns.start), NO_CLASS, dtype=np.uint8)
        if self._part is None or not self._part.values.size:
            return found
        row, column = self._rows[rows] - self._part.corner[0], self._columns[columns] - self._part.corner[1]
        height, width = self._part.values.shape
        has_row, has_column = (row >= 0) & (row < height), (column >= 0) & (column < width)
        found[np.ix_(has_row, has_column)] = self._part.values[np.ix_(row[has_row], column[has_column])]
        return found


class Usable:
    """Whether pixels of a frame enter statistics, by ``[validity]``."""

    def __init__(
        self,
        product: Product,
        config: Config,
        grids: Sequence[OpenGrid],
        frame: Grid,
        rows: Mapping[tuple[str, str], FileRows],
    ) -> None:
        """Bind the class layers of a product.

        Parameters
        ----------
        grids : open, finest first, with all class layers
        rows : by grid name and key; layers of columns that are widened may be missing
        """
        self._codes = usable_codes(config.validity)
        self._external = external_rule(config.validity, has_mask=product.external_mask is not None)
        rules = class_rules(product, config)
        kinds = {CLASS_COLUMN: product.class_kind, FMASK_COLUMN: "fmask"}
        made: dict[str, list[GridClasses | WidenedClasses]] = {CLASS_COLUMN: [], FMASK_COLUMN: []}
        for column, found in made.items():
            for grid in grids:
                if not grid.with_column(column):
                    continue
                rule = rules.get(column)
                if rule is not None and rule.widenings:
                    found.append(WidenedClasses(column, rule, grid, frame))
                else:
                    of_grid = {key: file_rows for (name, key), file_rows in rows.items() if name == grid.grid.name}
                    found.append(GridClasses(column, kinds[column], grid, of_grid))
        self._fmask = made[FMASK_COLUMN]
        own = made[CLASS_COLUMN]
        at_hand = [classes for classes in own if classes.res_m == frame.res_m]
        self._own = (at_hand or own)[:1]
        coarsest_m = max(frame.res_m, *(classes.res_m for classes in self._own)) if self._own else 0.0
        self._coarser = [classes for classes in own if classes.res_m > coarsest_m]
        self._own_lut = _with_none(own_lut(product.class_kind, config.validity, product.class_table))

    def advance(self, first: int, last: int) -> None:
        """Make ready for rows ``first`` to ``last - 1``."""
        for classes in (*self._own, *self._coarser, *self._fmask):
            classes.advance(first, last)

    def picked(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """(rows, columns) whether a pixel counts, by the rules of ``BlockReader.categories``."""
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        codes = np.full(shape, CODE[Category.VALID], dtype=np.uint8)
        for classes in self._own:
            codes = self._own_lut[classes.picked(rows, columns)]
        for classes in self._coarser:
            parents = self._own_lut[classes.picked(rows, columns)]
            is_hit = (parents == CODE[Category.SATURATED]) & (codes == CODE[Category.VALID])
            codes[is_hit] = CODE[Category.SATURATED]
        if self._external is not None:
            external = np.full(shape, CODE[Category.NODATA], dtype=np.uint8)
            if self._external.lut is not None and self._fmask:
                external = _with_none(self._external.lut)[self._fmask[0].picked(rows, columns)]
            codes = self._external.over(codes, external)
        usable: NDArray[np.bool_] = self._codes[codes]
        return usable


def _with_none(lut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    own = lut.copy()
    own[NO_CLASS] = CODE[Category.NODATA]
    return own
