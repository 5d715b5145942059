"""The rows of a stack that a parcel block needs, as few long ranges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PAGE_SHIFT: Final = 12
"""Ranges are unions of pages of 2**12 stack rows: longer pages read more, shorter ones read in smaller pieces."""


@dataclass(frozen=True, eq=False)
class RowRanges:
    """Disjoint ranges of stack rows in ascending order; laid end to end they are the *local* rows.

    A block of neighbouring parcels has one range. A parcel with parts at both ends of a tile has two short ones
    instead of the whole tile, so that memory follows pixels and not extents.
    """

    start: NDArray[np.int64]
    """(n,) first stack row of each range."""
    stop: NDArray[np.int64]
    """(n,) stack row after the last one."""

    @classmethod
    def single(cls, start: int, stop: int) -> RowRanges:
        """One range."""
        return cls(np.array([start], dtype=np.int64), np.array([stop], dtype=np.int64))

    @classmethod
    def covering(cls, rows: NDArray[np.integer], lengths: NDArray[np.integer] | None = None) -> RowRanges:
        """Ranges that cover runs of rows.

        Parameters
        ----------
        rows : (n,) first stack row of each run, in any order
        lengths : (n,) rows of each run, at least one; ones if not given
        """
        if not rows.size:
            return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        first = rows.astype(np.int64)
        last = first if lengths is None else first + lengths - 1
        lowest, end = int(first.min()), int(last.max()) + 1
        base = lowest >> PAGE_SHIFT
        n_pages = (end >> PAGE_SHIFT) - base + 2
        # Each run opens at its first page and closes after its last one: a running sum tells the pages in use.
        depth = np.bincount((first >> PAGE_SHIFT) - base, minlength=n_pages)
        depth -= np.bincount((last >> PAGE_SHIFT) - base + 1, minlength=n_pages)
        edges = np.diff(np.r_[False, np.cumsum(depth) > 0].astype(np.int8))
        start = (np.flatnonzero(edges == 1) + base) << PAGE_SHIFT
        stop = (np.flatnonzero(edges == -1) + base) << PAGE_SHIFT
        return cls(np.maximum(start, lowest), np.minimum(stop, end))

    @property
    def n_rows(self) -> int:
        """Number of local rows."""
        return int(np.sum(self.stop - self.start))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.start.tolist(), self.stop.tolist(), strict=True)

    def local(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Local row of each stack row; all of them must lie in the ranges."""
        wanted = rows.astype(np.int64)
        length = self.stop - self.start
        shift = self.start - (np.cumsum(length) - length)
        if shift.size > 1:
            shift = shift[np.searchsorted(self.start, wanted, side="right") - 1]
        found: NDArray[np.int64] = wanted - shift if shift.size else wanted
        return found
