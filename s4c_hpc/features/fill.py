"""Empty periods between observed ones, filled linearly, and by the nearest one before the first and after the last."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Float = TypeVar("_Float", bound=np.floating[Any])


def longest_gap(max_gap_days: int | None, every_days: int) -> int | None:
    """Most empty periods in a row that are filled; ``None``: any number.

    Parameters
    ----------
    max_gap_days : longest time without an observation, in days
    every_days : length of a period, in days
    """
    return None if max_gap_days is None else max_gap_days // every_days


def fill(values: NDArray[_Float], max_gap: int | None) -> NDArray[_Float]:
    """Values of each row with its gaps filled, where these are not too long.

    Parameters
    ----------
    values : (n, k) ascending in time along the second axis; what is not finite was not observed
    max_gap : most empty periods in a row that are filled, also before the first and after the last observed one;
        ``None``: any number

    Returns
    -------
    (n, k) of the same type; NaN in gaps that are longer, and in rows in which nothing was observed

    Notes
    -----
    By index: periods count as equally long. Source: Sen4CAP, gapfill-statistics.cpp (there without a limit).
    Memory: some 60 bytes a value.
    """
    k = values.shape[1]
    if not k:
        return values.copy()
    seen = np.isfinite(values)
    index = np.arange(k, dtype=np.int32)
    before = np.maximum.accumulate(np.where(seen, index, np.int32(-1)), axis=1)
    after = np.minimum.accumulate(np.where(seen, index, np.int32(k))[:, ::-1], axis=1)[:, ::-1]
    # The neighbour that an end does not have is the other one: nearest.
    low = np.take_along_axis(values, np.where(before < 0, np.minimum(after, k - 1), before), 1).astype(np.float64)
    high = np.take_along_axis(values, np.where(after == k, np.maximum(before, 0), after), 1).astype(np.float64)
    length = after - before
    share = np.where(length > 0, (index - before) / np.maximum(length, 1), 0.0)
    n_empty = length - 1
    bridged = (before >= 0) | (after < k)
    if max_gap is not None:
        bridged &= n_empty <= max_gap
    return np.where(seen, values, np.where(bridged, low + (high - low) * share, np.nan)).astype(values.dtype)
