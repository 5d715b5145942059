"""The pixels of a few parcels as short arrays, wherever they lie in the stacks of a product."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.extract.index import IndexBlock
from s4c_hpc.extract.jit import kernel
from s4c_hpc.extract.ranges import PAGE_SHIFT, RowRanges

PIECE_PIXELS: Final = 1 << 18
"""Pixels worked on at a time. A single parcel with more than that is a piece of its own."""

SPAN_ROWS: Final = 1 << 18
"""Stack rows read at a time."""


Reader = Callable[[RowRanges], NDArray[Any]]
"""Values of ranges of stack rows, (ranges.n_rows,)."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Neighbouring parcels of a block and their pixels, laid end to end.

    Whole pixels of all parcels come first, then edge pixels, each in the order of the index; a pixel that two parcels
    share is there twice.
    """

    block: IndexBlock
    """The parcels, their rows being places in the arrays of this piece instead of stack rows."""
    places: RowRanges
    """All places, 0 to ``n_pixels``."""
    row: NDArray[np.uint32]
    """(n_pixels,) stack row of each pixel, by place."""
    ranges: RowRanges
    """Stack rows that hold them all."""

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return int(self.row.size)

    def fill(
        self,
        targets: Sequence[NDArray[Any]],
        readers: Sequence[Reader],
    ) -> None:
        """Take the pixels out of stacks, which are read in the order of their rows.

        Parameters
        ----------
        targets : (n_pixels,) arrays to be filled, by place
        readers : one a target

        Notes
        -----
        Memory: what one reader returns for ``SPAN_ROWS`` rows.
        """
        for span in self.ranges.split(SPAN_ROWS):
            first_page, shifts = span.pages()
            for target, read in zip(targets, readers, strict=True):
                _take(read(span), first_page, shifts, self.row, target)


def pieces(block: IndexBlock, limit: int = PIECE_PIXELS) -> Iterator[Piece]:
    """Cut a block into pieces of at most ``limit`` pixels, or of one parcel; every parcel is in exactly one."""
    run_ends = np.r_[0, np.cumsum(block.run_length, dtype=np.int64)]
    total, first = 0, 0
    for parcel, n in enumerate(block.n_pixels.tolist()):
        if parcel > first and total + n > limit:
            yield _piece(block, run_ends, first, parcel)
            total, first = 0, parcel
        total += n
    if block.n_parcels:
        yield _piece(block, run_ends, first, block.n_parcels)


def _piece(block: IndexBlock, run_ends: NDArray[np.int64], first: int, last: int) -> Piece:
    runs = slice(int(block.run_offsets[first]), int(block.run_offsets[last]))
    edges = slice(int(block.edge_offsets[first]), int(block.edge_offsets[last]))
    run_start, run_length, edge_row = block.run_start[runs], block.run_length[runs], block.edge_row[edges]
    n_whole = int(run_ends[runs.stop] - run_ends[runs.start])
    row = np.empty(n_whole + edge_row.size, dtype=np.uint32)
    _lay_out(run_start, run_length, row)
    row[n_whole:] = edge_row
    # All whole pixels of a parcel are one run here.
    ends = run_ends[block.run_offsets[first : last + 1]] - run_ends[runs.start]
    local = IndexBlock(
        new_id=block.new_id[first:last],
        block=block.block,
        run_offsets=np.arange(last - first + 1, dtype=np.int64),
        run_start=ends[:-1].astype(np.uint32),
        run_length=np.diff(ends).astype(np.int32),
        edge_offsets=block.edge_offsets[first : last + 1] - block.edge_offsets[first],
        edge_row=np.arange(n_whole, row.size, dtype=np.uint32),
        edge_fraction=block.edge_fraction[edges],
    )
    return Piece(local, RowRanges.single(0, row.size), row, _ranges(row))


def _ranges(row: NDArray[np.uint32]) -> RowRanges:
    """The pages that hold these rows."""
    if not row.size:
        return RowRanges.covering(row)
    lowest, highest = int(row.min()), int(row.max())
    used = np.zeros((highest >> PAGE_SHIFT) + 1, dtype=np.bool_)
    _mark(row, used)
    return RowRanges.of_pages(np.flatnonzero(used), lowest, highest + 1)


@kernel
def _mark(row: NDArray[np.uint32], used: NDArray[np.bool_]) -> None:
    """Say which pages have rows."""
    for place in range(row.size):
        used[row[place] >> PAGE_SHIFT] = True


@kernel
def _lay_out(start: NDArray[np.uint32], length: NDArray[np.int32], row: NDArray[np.uint32]) -> None:
    """Write the rows of runs one after the other."""
    place = 0
    for run in range(start.size):
        for i in range(length[run]):
            row[place] = start[run] + i
            place += 1


@kernel
def _take(
    values: NDArray[Any],
    first_page: int,
    shifts: NDArray[np.int64],
    row: NDArray[np.uint32],
    target: NDArray[Any],
) -> None:
    """Copy the values of those pixels whose stack rows are among the ones read; see ``RowRanges.pages``."""
    for place in range(row.size):
        page = (row[place] >> PAGE_SHIFT) - first_page
        if 0 <= page < shifts.size:
            local = np.int64(row[place]) - shifts[page]
            if local >= 0:
                target[place] = values[local]
