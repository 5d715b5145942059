"""Which cells of a tile are kept, and where each of them stands in a stack.

The farmland mask is a set of 20 m cells, stored as runs along the rows. Grids of 10, 20 and 60 m share the tile's upper
left corner, so a cell of one grid leads to cells of another by arithmetic: no table is stored between them. Landsat's
30 m pixels lie on a lattice of their own; those that touch a 20 m cell are kept, and never meet other grids' pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import FAMILY_RES_M, Grid, Tile, is_landsat
from s4c_hpc.core.jit import kernel

BASE_RES_M: Final = 20.0
"""Pixel size of the mask, in metres."""


def is_family(res_m: float) -> bool:
    """Whether cells of this size are children or parents of the mask's."""
    return any(abs(res_m - member) <= 1e-9 for member in FAMILY_RES_M)


def text_of(grid: Grid) -> str:
    """A grid in words, for messages."""
    return f"{grid.crs}, corner ({grid.ulx:.10g}, {grid.uly:.10g}), pixels of {grid.res_m:g} m"


def pixel_shift(grid: Grid, onto: Grid, where: str) -> tuple[int, int]:
    """Row and column of the first pixel of ``grid``, on the lattice of ``onto`` at the pixel size of ``grid``.

    Landsat's northern and southern coordinates of one UTM zone are taken for the same.

    Raises
    ------
    InputError
        If the CRS differ or the corners are not a whole number of pixels apart.
    """
    own, grid = grid, grid.on_crs(onto.crs)
    rows, columns = (onto.uly - grid.uly) / grid.res_m, (grid.ulx - onto.ulx) / grid.res_m
    beside_m = max(abs(rows - round(rows)), abs(columns - round(columns))) * grid.res_m
    if grid.crs != onto.crs or beside_m > 1e-3:
        raise InputError(
            f"foreign grid: {text_of(own)} does not fall on the tile's ({text_of(onto)})",
            where=where,
            hint="warp the product to the tile's grid, or correct [[grid.tiles]]",
        )
    return round(rows), round(columns)


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of one grid, row by row from the north; their order is the order of rows in a stack."""

    grid: Grid
    """Covers the mask's grid; it may be a column or row larger than a raster of the tile."""
    row: NDArray[np.int32]
    """(n_runs,) grid row of each run; ascending."""
    c0: NDArray[np.int32]
    """(n_runs,) first column of each run."""
    c1: NDArray[np.int32]
    """(n_runs,) column after the last one; a run ends where the next cell is not kept."""
    start: NDArray[np.int64] = field(init=False)
    """(n_runs,) stack row of the first cell of each run."""
    row_offsets: NDArray[np.int64] = field(init=False)
    """(height + 1,) number of the first run of each grid row."""
    n_cells: int = field(init=False)
    """Number of cells, which is the number of rows of a stack."""

    def __post_init__(self) -> None:
        lengths = self.c1 - self.c0
        ends = np.cumsum(lengths, dtype=np.int64)
        object.__setattr__(self, "start", ends - lengths)
        object.__setattr__(self, "row_offsets", np.searchsorted(self.row, np.arange(self.grid.height + 1)))
        object.__setattr__(self, "n_cells", int(ends[-1]) if ends.size else 0)

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """First row and column of any cell, and those after the last."""
        if not self.row.size:
            return 0, 0, 0, 0
        return int(self.row[0]), int(self.c0.min()), int(self.row[-1]) + 1, int(self.c1.max())

    def stack_rows(
        self, row: NDArray[np.integer], column: NDArray[np.integer], length: NDArray[np.integer] | int = 1
    ) -> NDArray[np.int64]:
        """Stack row of each cell, -1 for a cell that is not kept.

        Parameters
        ----------
        row, column : (n,) place in ``grid``; may lie outside of it
        length : cells side by side to the east that have to be kept as well, for their stack rows follow on
        """
        end = np.asarray(column + length, dtype=np.int32)
        return _places(
            row.astype(np.int32, copy=False),
            column.astype(np.int32, copy=False),
            end,
            self.row_offsets,
            self.c0,
            self.c1,
            self.start,
        )


@kernel
def _places(
    row: NDArray[np.int32],
    begin: NDArray[np.int32],
    end: NDArray[np.int32],
    row_offsets: NDArray[np.int64],
    c0: NDArray[np.int32],
    c1: NDArray[np.int32],
    start: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Stack row of the cell ``begin``, -1 where no run of kept cells holds all of ``begin`` to ``end - 1``."""
    found = np.full(row.size, -1, np.int64)
    for k in range(row.size):
        if 0 <= row[k] < row_offsets.size - 1:
            first = low = row_offsets[row[k]]
            high = row_offsets[row[k] + 1]
            while low < high:
                middle = (low + high) // 2
                if c0[middle] <= begin[k]:
                    low = middle + 1
                else:
                    high = middle
            if low > first and end[k] <= c1[low - 1]:
                found[k] = start[low - 1] + begin[k] - c0[low - 1]
    return found


@dataclass(frozen=True, eq=False)
class Mask:
    """The farmland of a tile: runs of 20 m cells."""

    tile: str
    base: Grid
    """The tile's 20 m grid."""
    row: NDArray[np.int32]
    """(n_runs,) grid row of each run; ascending, then by column."""
    c0: NDArray[np.int32]
    c1: NDArray[np.int32]
    """(n_runs,) column after the last one."""
    ring_m: float
    """Width of the ring around the parcels that is kept as well, in metres."""
    parcels_key: str
    """Input key of the parcels that it was made for."""
    _made: dict[int, Cells] = field(default_factory=dict, init=False, repr=False)
    """Cells that were asked for before, by pixel size in metres."""

    @property
    def n_cells(self) -> int:
        """Number of 20 m cells."""
        return int(np.sum(self.c1.astype(np.int64) - self.c0))

    def cells(self, grid: Grid) -> Cells:
        """Cells of another grid of this tile: children at 10 m; at 30 and 60 m every pixel that a cell touches.

        Only the lattice of ``grid`` counts, not its extent: stacks of a tile have the same rows whatever a product
        covers. A run is as long as can be.

        Raises
        ------
        InputError
            If the pixels of ``grid`` do not fall on the tile's (or at 30 m on Landsat's), or are of another size.
        """
        own = self.grid(grid.res_m) if is_landsat(grid.res_m) else self.base
        pixel_shift(grid, own, f"tile {self.tile}")
        if not is_landsat(grid.res_m) and not is_family(grid.res_m):
            raise InputError(
                f"foreign grid: pixels of {grid.res_m:g} m do not nest with those of 10, 20 and 60 m",
                where=f"tile {self.tile}",
                hint="warp the product to 10, 20 or 60 m first",
            )
        res_m = round(grid.res_m)
        if res_m not in self._made:
            self._made[res_m] = _cells(self, res_m)
        return self._made[res_m]

    def grid(self, res_m: float) -> Grid:
        """Grid of another pixel size that covers the mask's."""
        base = self.base
        width_m, height_m = base.width * base.res_m, base.height * base.res_m
        tile = Tile(id=self.tile, crs=base.crs, ulx=base.ulx, uly=base.uly, width_m=width_m, height_m=height_m)
        return tile.grid(res_m)


def _cells(mask: Mask, res_m: int) -> Cells:
    grid, base_m = mask.grid(float(res_m)), int(mask.base.res_m)
    if is_landsat(res_m):
        return _touching(mask, grid)
    if res_m <= base_m:
        return _children(mask, grid, base_m // res_m)
    return _parents(mask, grid, res_m // base_m)


def _children(mask: Mask, grid: Grid, factor: int) -> Cells:
    """Every base row becomes ``factor`` rows, every column ``factor`` columns."""
    first = np.searchsorted(mask.row, np.arange(mask.base.height + 1))
    n_runs = np.repeat(np.diff(first), factor)  # of every fine row
    source = np.arange(int(n_runs.sum())) - np.repeat(np.cumsum(n_runs) - n_runs, n_runs)
    source += np.repeat(np.repeat(first[:-1], factor), n_runs)
    return Cells(
        grid=grid,
        row=np.repeat(np.arange(grid.height, dtype=np.int32), n_runs),
        c0=mask.c0[source] * np.int32(factor),
        c1=mask.c1[source] * np.int32(factor),
    )


def _parents(mask: Mask, grid: Grid, factor: int) -> Cells:
    """Union of the parents of every base row, one band of ``factor`` base rows at a time."""
    row = mask.row // factor
    c0, c1 = mask.c0 // factor, -(-mask.c1 // factor)
    return Cells(grid, *merged_runs(row, c0, c1))


def _touching(mask: Mask, grid: Grid) -> Cells:
    """Pixels of a foreign grid that share land with a kept cell, however little."""
    north, r1 = _span(mask.row, mask.row + 1, grid.uly - mask.base.uly, mask.base.res_m, grid.res_m)
    c0, c1 = _span(mask.c0, mask.c1, mask.base.ulx - grid.ulx, mask.base.res_m, grid.res_m)
    # A cell of 20 m lies in one row of pixels of 30 m or in two.
    two = r1 - north > 1
    row = np.concatenate([north, north[two] + np.int32(1)])
    return Cells(grid, *merged_runs(row, np.r_[c0, c0[two]], np.r_[c1, c1[two]]))


def _span(
    first: NDArray[np.int32], end: NDArray[np.int32], shift_m: float, base_m: float, res_m: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First pixel and the one after the last that share a length with cells ``first`` to ``end - 1`` of a line.

    Parameters
    ----------
    shift_m : from the first pixel's edge to the first cell's
    """
    # A thousandth of a millimetre is no length: corners are sums of rounded numbers.
    begins = np.floor((first * base_m + shift_m) / res_m + 1e-7).astype(np.int32)
    ends = np.ceil((end * base_m + shift_m) / res_m - 1e-7).astype(np.int32)
    return begins, ends


def merged_runs(
    row: NDArray[np.int32], c0: NDArray[np.int32], c1: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Union of runs that may overlap or touch, row by row, in order.

    Parameters
    ----------
    row, c0, c1 : (n,) runs in any order
    """
    order = np.lexsort((c0, row))
    row, c0, c1 = row[order], c0[order], c1[order]
    if not row.size:
        return row, c0, c1
    # The furthest end so far within a grid row: shift every row beyond all columns of the one before.
    shift = row.astype(np.int64) * (int(c1.max()) + 2)
    reach = np.maximum.accumulate(shift + c1)
    opens = np.r_[True, shift[1:] + c0[1:] > reach[:-1]]
    closes = np.r_[opens[1:], True]
    return row[opens], c0[opens], (reach[closes] - shift[closes]).astype(np.int32)
