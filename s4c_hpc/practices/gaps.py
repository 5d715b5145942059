"""Weeks without radar: how many are missing where it matters. Source: the reference's TsaCSVWriter.cpp.

A gap ends and begins at the days of the interval as well as at weeks that are there, and counts in whole weeks.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.practices.days import Days
from s4c_hpc.practices.weeks import FAR

HARVEST_DAYS = 35
"""Days before the harvest's week in which gaps make it doubtful."""

MANY = 2
"""Weeks that are missing and make a decision doubtful."""


class HasWeeks(Protocol):
    """Weeks of n parcels, ascending."""

    @property
    def monday(self) -> Days:
        """(n, w) their Mondays."""

    @property
    def there(self) -> NDArray[np.bool_]:
        """(n, w) which of them have radar."""


def missing_weeks(weeks: HasWeeks, first: Days, last: Days, *, less: int = 1) -> Days:
    """(n,) weeks that are missing between two days.

    Parameters
    ----------
    first, last : (n,) an interval of each parcel; without days, if it ends before it begins
    less : taken from the weeks of each gap; the reference does so everywhere but before the harvest
    """
    inside = weeks.there & (weeks.monday >= first[:, None]) & (weeks.monday <= last[:, None])
    points = np.where(inside, weeks.monday, -FAR)
    points = np.concatenate([first[:, None], points, last[:, None]], axis=1)
    points = np.maximum.accumulate(points, axis=1)
    steps = np.diff(points, axis=1)
    missing = np.where(steps > 7, steps // 7 - less, 0).sum(axis=1)
    return np.where((first >= 0) & (last >= first), missing, 0).astype(np.int64)
