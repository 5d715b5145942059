"""Days as numbers since 1970-01-01, the Mondays of their weeks, and ISO weeks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.int64]

_MONDAY = 4
"""1970-01-05 was one."""


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - dt.date(1970, 1, 1).toordinal()


def day_numbers(days: Sequence[dt.date]) -> Days:
    """Days since 1970-01-01."""
    return np.array([day_number(day) for day in days], np.int64)


def monday(days: Any) -> Any:
    """The Monday on or before days."""
    return days - (days - _MONDAY) % 7


def iso_week(days: Any) -> Days:
    """ISO number of the week that days are in."""
    thursday = monday(np.asarray(days, np.int64)) + 3
    week: Days = (thursday - _first_of_year(thursday)) // 7 + 1
    return week


def iso_year(days: Any) -> Days:
    """ISO year of the week that days are in."""
    thursday = monday(np.asarray(days, np.int64)) + 3
    year: Days = thursday.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    return year


def as_yyyymmdd(days: Days) -> NDArray[np.int32]:
    """Days as numbers for people, 20210726; negative codes stay."""
    day = np.where(days < 0, 0, days).astype("datetime64[D]")
    month, year = day.astype("datetime64[M]"), day.astype("datetime64[Y]")
    number = (
        (year.astype(np.int64) + 1970) * 10000
        + (month.astype(np.int64) % 12 + 1) * 100
        + (day - month).astype(np.int64)
        + 1
    )
    return np.where(days < 0, days, number).astype(np.int32)


def _first_of_year(days: Days) -> Days:
    return days.astype("datetime64[D]").astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
