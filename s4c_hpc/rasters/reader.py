"""Bands of a product in physical units, window by window, as if all of them were on one grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog import Band, Product
from s4c_hpc.catalog.angles import COSINES, Angles
from s4c_hpc.config import Config
from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.cells import Cells
from s4c_hpc.extract.cosines import CosineReader
from s4c_hpc.extract.ranges import RowRanges
from s4c_hpc.extract.stage_gather import class_rules
from s4c_hpc.rasters.classes import Usable
from s4c_hpc.rasters.open_layers import OpenGrid, class_columns, is_of
from s4c_hpc.rasters.rows import FileRows


class FrameReader:
    """Reads a product from north to south; coarser grids by nearest neighbour.

    Memory: see ``rows.FileRows``, for each file; where masks are widened, their classes whole.
    """

    def __init__(
        self,
        product: Product,
        config: Config,
        grids: Sequence[OpenGrid],
        frame: Grid,
        bands: Collection[str],
        angles: Angles | None,
    ) -> None:
        """Bind open files to a grid.

        Parameters
        ----------
        grids : what is open, finest first; with classes if ``rasters.mask`` asks for it
        frame : where pixels are wanted
        bands : that will be asked for
        angles : of sun and view, for pseudo-bands
        """
        self.frame = frame
        columns = class_columns(product) if config.rasters.mask else ()
        rules = class_rules(product, config)
        raw = [column for column in columns if column not in rules or not rules[column].widenings]
        self._bands: dict[str, tuple[Band, FileRows]] = {}
        self._files: list[FileRows] = []
        of_keys: dict[tuple[str, str], FileRows] = {}
        for grid in grids:
            for file in grid.files:
                keys = [k for k in file.layers if k in bands or any(is_of(column, k) for column in raw)]
                if not keys:
                    continue
                rows = FileRows(file, keys, grid.grid, frame)
                self._files.append(rows)
                of_keys.update({(grid.grid.name, key): rows for key in keys})
                self._bands.update({key: (file.layers[key], rows) for key in keys if key in bands})
        self._usable = Usable(product, config, grids, frame, of_keys) if config.rasters.mask else None
        self._cosines = None if angles is None else _whole(frame, angles)

    def advance(self, first: int, last: int) -> None:
        """Make ready for rows ``first`` to ``last - 1`` of the frame, below those before."""
        for rows in self._files:
            rows.advance(first, last)
        if self._usable is not None:
            self._usable.advance(first, last)

    def physical(self, names: Collection[str], rows: slice, columns: slice) -> Mapping[str, NDArray[np.float64]]:
        """Values of a window by band, (n_pixels,) each; NaN for no data, saturation and off the raster."""
        place = _ranges(self.frame, rows, columns)
        found = {}
        for name in names:
            if name in COSINES:
                if self._cosines is None:
                    raise InternalError(f"no angles are known for {name}")
                found[name] = self._cosines.read(name, place)
                continue
            band, of_file = self._bands[name]
            dn, has = of_file.picked(name, rows, columns)
            values = dn.astype(np.float64) * band.scale + band.offset
            for no_value in (band.nodata, band.saturated):
                if no_value is not None:
                    values[dn == no_value] = np.nan
            values[~has] = np.nan
            found[name] = values.ravel()
        return found

    def usable(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """(rows, columns) whether a pixel counts; ``None`` where all do."""
        return None if self._usable is None else self._usable.picked(rows, columns)


def _whole(frame: Grid, angles: Angles) -> CosineReader:
    """Pseudo-bands of all pixels of a frame, a run a row."""
    n = frame.height
    row = np.arange(n, dtype=np.int32)
    return CosineReader(angles, Cells(frame, row, np.zeros(n, np.int32), np.full(n, frame.width, np.int32)))


def _ranges(frame: Grid, rows: slice, columns: slice) -> RowRanges:
    """A window as ranges of the cells of a frame."""
    first = np.arange(rows.start, rows.stop, dtype=np.int64) * frame.width
    return RowRanges(first + columns.start, first + columns.stop)
