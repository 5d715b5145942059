"""How a variable behaves in the weeks around known events: what a rule could see at all.

The statistics are those of JRC's SALMS (ec-jrc/cbm, scripts/SALMS, 2023): weekly means around each event, and the
change since the week before it, event by event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.int64]
Floats = NDArray[np.float64]

BASELINE: Final = -1
"""The week that others are compared with: the last one before that of the event."""

_MIN_PAIRS: Final = 3
"""Fewer differences have no interval worth the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekSignal:
    """The change of a variable since the week before the event."""

    week: int
    """After that of the event; 0 is its own."""
    n: int
    """Events that have a value in both weeks."""
    mean: float
    """Of the changes; NaN for none."""
    stdev: float
    """Of the changes (n - 1); NaN for fewer than two."""
    low: float
    """95 % interval of the mean, Student's t; NaN for fewer than three."""
    high: float
    p: float
    """Of no change, two-sided paired t-test; NaN for fewer than three."""


def weeks_around(day: Days, values: Floats, event: int, n_weeks: int) -> Floats:
    """Weekly means around an event.

    Parameters
    ----------
    day : (t,) days since 1970-01-01
    values : (t, k); NaN where there is none
    event : day of the event
    n_weeks : weeks before that of the event, and after it

    Returns
    -------
    (2 n_weeks + 1, k) by ISO weeks; NaN in a week without values
    """
    week = _monday(day) - _monday(np.int64(event))
    place = week // 7 + n_weeks
    means = np.full((2 * n_weeks + 1, values.shape[1]), np.nan)
    for i in np.unique(place[(place >= 0) & (place < len(means))]):
        own = values[place == i]
        seen = np.isfinite(own)
        n = seen.sum(axis=0)
        np.divide(np.where(seen, own, 0.0).sum(axis=0), n, out=means[i], where=n > 0)
    return means


def behaviour(around: Sequence[Floats]) -> list[WeekSignal]:
    """Change of one variable in each week.

    Parameters
    ----------
    around : of each event, (2 n_weeks + 1,) weekly means
    """
    from scipy import stats  # noqa: PLC0415 - half a second

    weeks = np.stack(around)
    n_weeks = weeks.shape[1] // 2
    change = weeks - weeks[:, [n_weeks + BASELINE]]
    found = []
    for i in range(weeks.shape[1]):
        own = change[:, i][np.isfinite(change[:, i])]
        low = high = p = np.nan
        if own.size >= _MIN_PAIRS and np.ptp(own) > 0:
            test = stats.ttest_1samp(own, 0.0)
            low, high = test.confidence_interval(0.95)
            p = test.pvalue
        found.append(
            WeekSignal(
                week=i - n_weeks,
                n=own.size,
                mean=float(own.mean()) if own.size else np.nan,
                stdev=float(own.std(ddof=1)) if own.size > 1 else np.nan,
                low=float(low),
                high=float(high),
                p=float(p),
            )
        )
    return found


def _monday(day: Days | np.int64) -> Days:
    """The day on which the ISO week begins; 1970-01-01 was a Thursday."""
    return np.asarray(day - (day + 3) % 7)
