"""The compiled loops over time: from observations of pixels to a value for each period, without gaps.

All work on a *piece*: (n_dates, n) stored values of a band, pixels side by side, so that a loop over pixels is one of
neighbours in memory. What depends on when a pixel was seen, and not on a band, is found once for all bands.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel

_TILE: Final = 512
"""Pixels worked on at a time: all their periods stay in the cache of a core (52 periods of 4 bytes are 106 KB)."""

_FAR: Final = np.float32(1 << 20)
"""Periods to an observation that there is none of."""

_NEVER: Final = np.int64(1 << 40)
"""Day of an observation that there is none of."""

_FORWARD: Final = True
_FROM_BEHIND: Final = False
"""Whether a later look at a day replaces an earlier one: its last observation counts either way."""

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
def bridge(counts: NDArray[np.uint8], max_gap: int, share: NDArray[np.float32]) -> None:
    """How a period is to be filled from the observed ones around: the weight of the next one, NaN for not at all.

    Parameters
    ----------
    counts : (n_periods, n) observations
    max_gap : most empty periods in a row that are filled, also before the first and after the last observed one, as in
        ``fill``
    share : (n_periods, n) to be filled; where there is nothing before or nothing after, the weight does not matter
    """
    n_periods, n = counts.shape
    most = np.float32(max_gap)
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
                part = before[i] / max(before[i] + row[i], _ONE)
                # Beyond the first and the last observation, empty periods reach to the end of the season.
                low = np.float32(k) if before[i] >= _FAR else before[i]
                high = np.float32(n_periods - 1 - k) if row[i] >= _FAR else row[i]
                is_end = before[i] >= _FAR or row[i] >= _FAR
                n_empty = low + high + (_ZERO if is_end else -_ONE)
                row[i] = part if n_empty <= most else _NONE


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


@helper
def _between(low: int, low_day: int, high: int, high_day: int, day: int) -> float:
    """Value at a day between two observations; one that is not there has a day of -+ ``_NEVER``."""
    if low_day == -_NEVER and high_day == _NEVER:
        return np.nan
    if high_day == _NEVER or low_day == day:
        return np.float64(low)
    if low_day == -_NEVER:
        return np.float64(high)
    total = low * (high_day - day) + high * (day - low_day)
    length = high_day - low_day
    return np.float64(total // length if total >= 0 else -((-total) // length))


@helper
def _see(
    valid: NDArray[np.uint8],
    stored: NDArray[np.int64],
    day: int,
    replaces: bool,
    when: NDArray[np.int64],
    value: NDArray[np.int64],
) -> None:
    """Take what was observed on a day as the nearest observation, also instead of one of the same day or not."""
    for i in range(valid.size):
        if valid[i] and (replaces or when[i] != day):
            value[i], when[i] = stored[i], day


@helper
def _as_whole(stored: Any, scale: float, offset: float) -> int:
    """In whole 1/10000."""
    return int(np.rint((np.float64(stored) * scale + offset) * 10000.0))


@kernel
def interpolate_whole(
    stored: NDArray[Any],
    valid: NDArray[np.uint8],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    day: NDArray[np.int64],
    at: NDArray[np.int64],
    filled: NDArray[np.float32],
) -> None:
    """Values at given days as whole numbers of 1/10000, as Sen4CAP's L4A makes them.

    Linear between the nearest observations before and after, however far; the nearest one beyond the first and the
    last; truncated towards zero, in whole numbers throughout, so that no rounding decides. Of several observations of a
    day the last one counts.

    Parameters
    ----------
    stored, valid, scale, offset : see ``composite``
    day : (n_dates,) days of the observations, ascending
    at : (n_at,) days of the values, ascending
    filled : (n_at, n) to be filled; NaN for a pixel that was never seen
    """
    n_dates, n = stored.shape
    n_at = at.size
    low, low_day = np.empty((n_at, _TILE), np.int64), np.empty((n_at, _TILE), np.int64)
    value, when = np.empty(_TILE, np.int64), np.empty(_TILE, np.int64)
    whole = np.empty((n_dates, _TILE), np.int64)
    for start in range(0, n, _TILE):
        m = min(_TILE, n - start)
        for t in range(n_dates):
            a, b = np.float64(scale[t]), np.float64(offset[t])
            for i in range(m):
                whole[t, i] = _as_whole(stored[t, start + i], a, b) if valid[t, start + i] else 0
        value[:], when[:] = 0, -_NEVER
        t = 0
        for k in range(n_at):
            while t < n_dates and day[t] <= at[k]:
                _see(valid[t, start : start + m], whole[t], day[t], _FORWARD, when, value)
                t += 1
            low[k, :m], low_day[k, :m] = value[:m], when[:m]
        value[:], when[:] = 0, _NEVER
        t = n_dates - 1
        for k in range(n_at - 1, -1, -1):
            while t >= 0 and day[t] >= at[k]:
                _see(valid[t, start : start + m], whole[t], day[t], _FROM_BEHIND, when, value)
                t -= 1
            for i in range(m):
                filled[k, start + i] = _between(low[k, i], low_day[k, i], value[i], when[i], at[k])
