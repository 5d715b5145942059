"""The compiled loops over time: from observations of pixels to a value for each period, without gaps.

All work on a *piece*: (n_dates, n) stored values of a band, pixels side by side, so that a loop over pixels is one of
neighbours in memory. What depends on when a pixel was seen, and not on a band, is found once for all bands.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import kernel

_TILE: Final = 512
"""Pixels worked on at a time: all their periods stay in the cache of a core (52 periods of 4 bytes are 106 KB)."""

_FAR: Final = np.float32(1 << 20)
"""Periods to an observation that there is none of."""

_NONE: Final = np.float32(np.nan)
_ZERO: Final = np.float32(0.0)
_ONE: Final = np.float32(1.0)


@kernel
def count_observations(valid: NDArray[np.uint8], period: NDArray[np.int64], counts: NDArray[np.uint8]) -> None:
    """Count the observations of each period and pixel, up to 255.

    Parameters
    ----------
    valid : (n_dates, n) 1 where an observation counts, else 0
    period : (n_dates,) number of the period of each date
    counts : (n_periods, n) to be filled
    """
    n_dates, n = valid.shape
    counts[:] = 0
    for t in range(n_dates):
        target, source = counts[period[t]], valid[t]
        for i in range(n):
            target[i] = min(target[i] + source[i], 255)


@kernel
def bridge(counts: NDArray[np.uint8], longest: float, share: NDArray[np.float32]) -> None:
    """How a period is to be filled from the observed ones around: the weight of the next one, NaN for not at all.

    Parameters
    ----------
    counts : (n_periods, n) observations
    longest : most periods from one observed period to the next one, and from an end to the nearest one
    share : (n_periods, n) to be filled; where there is nothing before or nothing after, the weight does not matter
    """
    n_periods, n = counts.shape
    most = np.float32(longest)
    after = np.empty(_TILE, np.float32)
    before = np.empty(_TILE, np.float32)
    for start in range(0, n, _TILE):
        m = min(_TILE, n - start)
        after[:m] = _FAR
        for k in range(n_periods - 1, -1, -1):
            row, seen = share[k, start : start + m], counts[k, start : start + m]
            for i in range(m):
                after[i] = _ZERO if seen[i] > 0 else after[i] + _ONE
                row[i] = after[i]
        before[:m] = _FAR
        for k in range(n_periods):
            row, seen = share[k, start : start + m], counts[k, start : start + m]
            for i in range(m):
                before[i] = _ZERO if seen[i] > 0 else before[i] + _ONE
                # At an end only one of the two is near: its distance alone counts.
                is_end = max(before[i], row[i]) >= _FAR
                gap = min(before[i], row[i]) if is_end else before[i] + row[i]
                part = before[i] / max(gap, _ONE)
                row[i] = part if gap <= most else _NONE


@kernel
def composite(
    stored: NDArray[Any],
    valid: NDArray[np.uint8],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    period: NDArray[np.int64],
    counts: NDArray[np.uint8],
    share: NDArray[np.float32],
    filled: NDArray[np.float32],
) -> None:
    """Mean of the observations of each period and pixel, gaps filled linearly.

    Parameters
    ----------
    stored : (n_dates, n) of a band
    valid : (n_dates, n) 1 where an observation counts, else 0
    scale, offset : (n_dates,) physical value = stored * scale + offset
    period : (n_dates,) number of the period of each date
    counts : (n_periods, n), see ``count_observations``
    share : (n_periods, n), see ``bridge``
    filled : (n_periods, n) to be filled, in physical units; NaN where a gap is too long
    """
    n_dates, n = stored.shape
    n_periods = filled.shape[0]
    following = np.empty((n_periods, _TILE), np.float32)
    last = np.empty(_TILE, np.float32)
    for start in range(0, n, _TILE):
        m = min(_TILE, n - start)
        for k in range(n_periods):
            filled[k, start : start + m] = _ZERO
        for t in range(n_dates):
            target = filled[period[t], start : start + m]
            values, counted, a, b = stored[t, start : start + m], valid[t, start : start + m], scale[t], offset[t]
            for i in range(m):
                value = np.float32(values[i]) * a + b
                target[i] += value if counted[i] else _ZERO
        last[:m] = _NONE
        for k in range(n_periods - 1, -1, -1):
            total, seen, row = filled[k, start : start + m], counts[k, start : start + m], following[k, :m]
            for i in range(m):
                mean = total[i] / np.float32(seen[i])
                last[i] = mean if seen[i] > 0 else last[i]
                row[i] = last[i]
        last[:m] = _NONE
        for k in range(n_periods):
            out, seen, row, part = (
                filled[k, start : start + m],
                counts[k, start : start + m],
                following[k, :m],
                share[k, start : start + m],
            )
            for i in range(m):
                last[i] = row[i] if seen[i] > 0 else last[i]
                low = row[i] if np.isnan(last[i]) else last[i]
                high = last[i] if np.isnan(row[i]) else row[i]
                out[i] = low + (high - low) * part[i]
