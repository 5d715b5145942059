"""The pixels of a few parcels as short arrays, wherever they lie in the stacks of a product."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.extract.index import IndexBlock
from s4c_hpc.extract.ranges import RowRanges

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
    order: NDArray[np.int64]
    """(n_pixels,) place of each pixel, by stack row."""
    row: NDArray[np.int64]
    """(n_pixels,) its stack row, ascending."""

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return int(self.row.size)

    def spans(self) -> Iterator[tuple[RowRanges, slice]]:
        """Ranges of at most ``SPAN_ROWS`` stack rows that hold the pixels, and which of ``order`` lie in each."""
        for first, last in RowRanges.covering(self.row):
            for start in range(first, last, SPAN_ROWS):
                stop = min(start + SPAN_ROWS, last)
                low, high = np.searchsorted(self.row, [start, stop])
                if low < high:
                    yield RowRanges.single(start, stop), slice(int(low), int(high))

    def fill(
        self,
        targets: Sequence[NDArray[Any]],
        readers: Sequence[Reader],
    ) -> None:
        """Take the pixels out of stacks.

        Parameters
        ----------
        targets : (n_pixels,) arrays to be filled, by place
        readers : one a target

        Notes
        -----
        Memory: what one reader returns for ``SPAN_ROWS`` rows.
        """
        for span, chosen in self.spans():
            place, local = self.order[chosen], self.row[chosen] - int(span.start[0])
            for target, read in zip(targets, readers, strict=True):
                target[place] = read(span)[local]


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
    length = block.run_length[runs].astype(np.int64)
    opens = run_ends[runs.start : runs.stop] - run_ends[runs.start]  # place of the first pixel of each run
    n_whole = int(length.sum())
    row = np.empty(n_whole + edges.stop - edges.start, dtype=np.int64)
    row[:n_whole] = np.repeat(block.run_start[runs].astype(np.int64) - opens, length) + np.arange(n_whole)
    row[n_whole:] = block.edge_row[edges]
    order = np.argsort(row, kind="stable")
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
    return Piece(local, RowRanges.single(0, row.size), order, row[order])
