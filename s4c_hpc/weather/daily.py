"""From accumulations of precipitation to totals of days."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.weather.field import NEGLIGIBLE_MM, Field, Tally

_HOURS: Final = 24
_SHARE: Final = 0.01
"""Of the changes from hour to hour: so few falls are packing."""


class Accumulation(StrEnum):
    """What a value stands for."""

    AUTO = "auto"
    """One a day: ``day``. Several: ``midnight`` if they never fall within a day, else ``hour``."""
    DAY = "day"
    """The total of its date."""
    HOUR = "hour"
    """What fell in the hour that ends at its time, as ERA5 has it (ECMWF, "ERA5: data documentation")."""
    MIDNIGHT = "midnight"
    """What fell since midnight UTC, as ERA5-Land has it: 00:00 is the total of the day before (ECMWF, "ERA5-Land")."""


def told(found: Field) -> Accumulation:
    """What the values of a field stand for, as far as they tell."""
    if np.unique(found.hour // _HOURS).size == found.hour.size:
        return Accumulation.DAY
    same_day = np.diff((found.hour - 1) // _HOURS) == 0
    with np.errstate(invalid="ignore"):
        change = np.diff(found.mm, axis=1)[:, same_day]
        falls, rises = int((change < -NEGLIGIBLE_MM).sum()), int((change > NEGLIGIBLE_MM).sum())
    return Accumulation.MIDNIGHT if falls <= _SHARE * (falls + rises) else Accumulation.HOUR


def daily(found: Field, accumulation: Accumulation, tally: Tally) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Totals of days.

    Returns
    -------
    (d,) days since 1970 from the first to the last one without a gap, and (c, d) mm; NaN where a value is missing:
    the total of a day of which some hours are not known is not known.

    Raises
    ------
    InputError
        If there are several values a day that are said to be totals of days.
    """
    if accumulation is Accumulation.HOUR:
        return _of_hours(found, tally)
    if accumulation is Accumulation.MIDNIGHT:
        whole = found.hour % _HOURS == 0
        day, mm = found.hour[whole] // _HOURS - 1, found.mm[:, whole]
    else:
        day, mm = found.hour // _HOURS, found.mm
        if np.unique(day).size < day.size:
            raise InputError(
                "there are several values a day, which cannot all be its total",
                where="--accumulation day",
                hint="say 'hour' or 'midnight'",
            )
    days, out = _without_gap(day, found.lon.size)
    if day.size:
        out[:, day - days[0]] = mm
    return days, out


def _of_hours(found: Field, tally: Tally) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The hour that ends at 00:00 is the last one of the day before."""
    day = (found.hour - 1) // _HOURS
    days, out = _without_gap(day, found.lon.size)
    partial: list[str] = []
    n_partial = 0
    begins = np.searchsorted(day, days)
    ends = np.searchsorted(day, days, side="right")
    for column, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        part = found.mm[:, begin:end]
        if end - begin == _HOURS:
            out[:, column] = part.sum(axis=1)  # NaN if an hour is
        some = np.isfinite(part).any(axis=1) & ~np.isfinite(out[:, column])
        if some.any():
            n_partial += int(some.sum())
            partial.append(str(np.datetime64(int(days[column]), "D")))
    tally.add("days of cells of which hours are missing", n_partial, partial)
    return days, out


def _without_gap(day: NDArray[np.int64], n_cells: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    days = np.arange(day[0], day[-1] + 1) if day.size else np.empty(0, np.int64)
    return days, np.full((n_cells, days.size), np.nan, np.float32)
