"""Values of pixels anywhere in a stack, from something that can only give them for ranges of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import kernel
from s4c_hpc.extract.ranges import PAGE_SHIFT, RowRanges

SPAN_ROWS: Final = 1 << 18
"""Stack rows read at a time."""

Reader = Callable[[RowRanges], NDArray[Any]]
"""Values of ranges of stack rows, (ranges.n_rows,)."""


def fill_by_spans(row: NDArray[np.uint32], targets: Sequence[NDArray[Any]], readers: Sequence[Reader]) -> None:
    """Take pixels from readers, which are asked in the order of stack rows.

    Parameters
    ----------
    row : (n,) stack row of each pixel, in any order
    targets : (n,) arrays to be filled
    readers : one a target

    Notes
    -----
    Memory: what one reader returns for ``SPAN_ROWS`` rows.
    """
    for span in _ranges(row).split(SPAN_ROWS):
        first_page, shifts = span.pages()
        for target, read in zip(targets, readers, strict=True):
            _take(read(span), first_page, shifts, row, target)


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
