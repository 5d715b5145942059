"""Windows of time in which parcels may have been mown, and the choice among those that exclude each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.series.looks import Flags, Floats

S1: Final = 1
S2: Final = 2
FUSED: Final = 3
"""Sources of a window; as in the reference, a fusion of two of S1 is one of S1."""

SOURCES: Final = {S1: "S1", S2: "S2", FUSED: "S2/S1"}
"""What they are called (in the reference's columns m1_mis ...)."""

Conflict = Callable[[Floats, Floats, Floats, Floats], Flags]
"""Whether windows are one event: starts and ends of two (each (n, 1) or (n, m))."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Of n parcels up to m windows each; all are (n, m), days are since 1970, NaN where there is no window."""

    start: Floats
    end: Floats
    confidence: Floats
    source: NDArray[np.uint8]

    @property
    def there(self) -> Flags:
        """(n, m) whether there is a window."""
        return np.isfinite(self.confidence)

    def taken(self, columns: NDArray[np.intp]) -> Windows:
        """Windows (n, k) of each row by their columns; -1 for none."""
        return Windows(
            picked(self.start, columns),
            picked(self.end, columns),
            picked(self.confidence, columns),
            np.nan_to_num(picked(self.source.astype(np.float64), columns)).astype(np.uint8),
        )


def picked(matrix: Floats, columns: NDArray[np.intp]) -> Floats:
    """Values (n, k) of each row of a matrix (n, m) by their columns; NaN for -1."""
    if not matrix.shape[1]:
        return np.full(columns.shape, np.nan)
    return np.where(columns >= 0, np.take_along_axis(matrix, np.maximum(columns, 0), axis=1), np.nan)


def windows_of(start: Floats, end: Floats, confidence: Floats, source: int) -> Windows:
    """Windows where ``confidence`` is a number."""
    there = np.isfinite(confidence)
    return Windows(
        np.where(there, start, np.nan),
        np.where(there, end, np.nan),
        confidence,
        np.where(there, source, 0).astype(np.uint8),
    )


def beside(first: Windows, second: Windows) -> Windows:
    """The windows of both."""
    return Windows(
        np.concatenate([first.start, second.start], axis=1),
        np.concatenate([first.end, second.end], axis=1),
        np.concatenate([first.confidence, second.confidence], axis=1),
        np.concatenate([first.source, second.source], axis=1),
    )


def squeezed(windows: Windows) -> Windows:
    """The same with no more columns than the fullest row needs, in the same order."""
    there = windows.there
    order = np.argsort(~there, axis=1, kind="stable")[:, : int(there.sum(axis=1).max(initial=0))]
    return windows.taken(np.where(np.take_along_axis(there, order, axis=1), order, -1))


def spans_less(days: float) -> Conflict:
    """Conflict of windows that together span less than ``days`` from the start of one to the end of the other."""

    def conflict(start: Floats, end: Floats, starts: Floats, ends: Floats) -> Flags:
        longer: Flags = np.maximum(end - starts, ends - start) < days
        return longer

    return conflict


def ends_within(days: float) -> Conflict:
    """Conflict of windows whose ends are less than ``days`` apart."""

    def conflict(start: Floats, end: Floats, starts: Floats, ends: Floats) -> Flags:  # noqa: ARG001 - one form of all
        near: Flags = np.abs(end - ends) < days
        return near

    return conflict


def middles_within(days: float) -> Conflict:
    """Conflict of windows whose middles are less than ``days`` apart."""

    def conflict(start: Floats, end: Floats, starts: Floats, ends: Floats) -> Flags:
        near: Flags = np.abs((start + end) / 2 - (starts + ends) / 2) < days
        return near

    return conflict


def chosen(windows: Windows, conflict: Conflict, most: int) -> NDArray[np.intp]:
    """Columns (n, most) of the windows that are kept, by time; -1 where there are fewer.

    The most confident one of a row is kept, those that conflict with it are out, and so on; of equals the first.
    """
    n = windows.confidence.shape[0]
    columns = np.full((n, most), -1, np.intp)
    if not windows.confidence.size:
        return columns
    left = np.where(windows.there, windows.confidence, -np.inf)
    starts = np.full((n, most), np.inf)
    rows = np.arange(n)
    for k in range(most):
        best = left[rows].argmax(axis=1)
        found = left[rows, best] > -np.inf
        rows, best = rows[found], best[found]
        if not rows.size:
            break
        columns[rows, k] = best
        start, end = windows.start[rows, best][:, None], windows.end[rows, best][:, None]
        starts[rows, k] = start[:, 0]
        with np.errstate(invalid="ignore"):
            out = conflict(start, end, windows.start[rows], windows.end[rows])
        left[rows] = np.where(out, -np.inf, left[rows])
        left[rows, best] = -np.inf
    return np.take_along_axis(columns, np.argsort(starts, axis=1, kind="stable"), axis=1)
