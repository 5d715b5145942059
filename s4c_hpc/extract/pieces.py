"""The pixels of a few parcels as short arrays, wherever they lie in the stacks of a product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import kernel
from s4c_hpc.extract.index import IndexBlock
from s4c_hpc.extract.ranges import RowRanges

PIECE_PIXELS: Final = 1 << 18
"""Pixels worked on at a time. A single parcel with more than that is a piece of its own."""


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

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return int(self.row.size)


def pieces(block: IndexBlock, limit: int = PIECE_PIXELS) -> Iterator[Piece]:
    """Cut a block into pieces of at most ``limit`` pixels, or of one parcel; every parcel is in exactly one."""
    n_whole = _whole_pixels(block.run_offsets, block.run_length)
    n_pixels = n_whole + np.diff(block.edge_offsets)
    total, first = 0, 0
    for parcel, n in enumerate(n_pixels.tolist()):
        if parcel > first and total + n > limit:
            yield _piece(block, n_whole, first, parcel)
            total, first = 0, parcel
        total += n
    if block.n_parcels:
        yield _piece(block, n_whole, first, block.n_parcels)


def _piece(block: IndexBlock, n_whole: NDArray[np.int64], first: int, last: int) -> Piece:
    runs = slice(int(block.run_offsets[first]), int(block.run_offsets[last]))
    edges = slice(int(block.edge_offsets[first]), int(block.edge_offsets[last]))
    edge_row = block.edge_row[edges]
    # All whole pixels of a parcel are one run here.
    length = n_whole[first:last]
    ends = np.cumsum(length)
    end = int(ends[-1])
    row = np.empty(end + edge_row.size, dtype=np.uint32)
    _lay_out(block.run_start[runs], block.run_length[runs], row)
    row[end:] = edge_row
    local = IndexBlock(
        new_id=block.new_id[first:last],
        block=block.block,
        run_offsets=np.arange(last - first + 1, dtype=np.int64),
        run_start=(ends - length).astype(np.uint32),
        run_length=length.astype(np.int32),
        edge_offsets=block.edge_offsets[first : last + 1] - block.edge_offsets[first],
        edge_row=np.arange(end, row.size, dtype=np.uint32),
        edge_fraction=block.edge_fraction[edges],
    )
    return Piece(local, RowRanges.single(0, row.size), row)


@kernel
def _whole_pixels(offsets: NDArray[np.int64], length: NDArray[np.int32]) -> NDArray[np.int64]:
    """Whole pixels of each parcel, (n,)."""
    n_whole = np.zeros(offsets.size - 1, np.int64)
    for parcel in range(n_whole.size):
        for run in range(offsets[parcel], offsets[parcel + 1]):
            n_whole[parcel] += length[run]
    return n_whole


@kernel
def _lay_out(start: NDArray[np.uint32], length: NDArray[np.int32], row: NDArray[np.uint32]) -> None:
    """Write the rows of runs one after the other."""
    place = 0
    for run in range(start.size):
        for i in range(length[run]):
            row[place] = start[run] + i
            place += 1
