"""The rows of a stack that a parcel block needs, as few long ranges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PAGE_SHIFT: Final = 12
"""Ranges are unions of pages of 2**12 stack rows: longer pages read more, shorter ones read in smaller pieces."""

NOT_HERE: Final = np.int64(1 << 62)
"""Taken off any stack row it gives less than nothing."""


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

    @classmethod
    def of_pages(cls, pages: NDArray[np.int64], lowest: int, end: int) -> RowRanges:
        """Ranges of pages, given ascending and at least one, without the rows before ``lowest`` and from ``end`` on."""
        opens = np.r_[True, np.diff(pages) > 1]
        closes = np.r_[opens[1:], True]
        return cls(np.maximum(pages[opens] << PAGE_SHIFT, lowest), np.minimum((pages[closes] + 1) << PAGE_SHIFT, end))

    @property
    def n_rows(self) -> int:
        """Number of local rows."""
        return int(np.sum(self.stop - self.start))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.start.tolist(), self.stop.tolist(), strict=True)

    def split(self, n_rows: int) -> Iterator[RowRanges]:
        """Cut into parts of at most ``n_rows`` local rows (a multiple of a page), at the borders of pages."""
        first_page, last_page = self.start >> PAGE_SHIFT, (self.stop - 1) >> PAGE_SHIFT
        per_part = max(1, n_rows >> PAGE_SHIFT)
        length = last_page - first_page + 1
        pages = np.repeat(first_page - (np.cumsum(length) - length), length) + np.arange(length.sum())
        for begin in range(0, pages.size, per_part):
            yield RowRanges.of_pages(pages[begin : begin + per_part], int(self.start[0]), int(self.stop[-1]))

    def pages(self) -> tuple[int, NDArray[np.int64]]:
        """What leads from stack rows to local ones without a search.

        Returns
        -------
        The first page, and for every page from it to the last one what is to be taken off a stack row of that page;
        ``NOT_HERE`` for pages between ranges.
        """
        base = int(self.start[0]) >> PAGE_SHIFT
        first_page, last_page = self.start >> PAGE_SHIFT, (self.stop - 1) >> PAGE_SHIFT
        length = self.stop - self.start
        shifts = np.full(int(last_page[-1]) - base + 1, NOT_HERE)
        n_pages = last_page - first_page + 1
        each = np.repeat(np.arange(self.start.size), n_pages)
        place = np.arange(n_pages.sum()) - np.repeat(np.cumsum(n_pages) - n_pages, n_pages)
        shifts[first_page[each] - base + place] = (self.start - (np.cumsum(length) - length))[each]
        return base, shifts

    def local(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Local row of each stack row; all of them must lie in the ranges."""
        wanted = rows.astype(np.int64)
        length = self.stop - self.start
        shift = self.start - (np.cumsum(length) - length)
        if shift.size > 1:
            shift = shift[np.searchsorted(self.start, wanted, side="right") - 1]
        found: NDArray[np.int64] = wanted - shift if shift.size else wanted
        return found
