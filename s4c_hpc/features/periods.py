"""Periods of a season: a fixed list, whatever was observed in it.

Sen4CAP counts its periods from the first product of the site, so that an earlier product shifts them all, and keeps
those weeks only that every tile has. Here they follow from the season alone: the same names each time and everywhere.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Days that belong together, the first and the last one inclusive."""

    first: dt.date
    last: dt.date

    @property
    def n_days(self) -> int:
        """Days in it, at least one."""
        return (self.last - self.first).days + 1

    @property
    def week(self) -> str:
        """``201809``: year and number of the ISO week of its first day."""
        year, week, _ = self.first.isocalendar()
        return f"{year:04d}{week:02d}"

    @property
    def month(self) -> str:
        """``201803``: month of its first day."""
        return f"{self.first:%Y%m}"


def periods(season_start: dt.date, season_end: dt.date, every_days: int) -> tuple[Period, ...]:
    """Periods of ``every_days`` days from ``season_start`` on; the last one ends with the season and may be shorter."""
    step = dt.timedelta(days=every_days)
    n = -(-((season_end - season_start).days + 1) // every_days)
    starts = [season_start + i * step for i in range(n)]
    return tuple(Period(first, min(first + step - _DAY, season_end)) for first in starts)


def weeks(season_start: dt.date, season_end: dt.date) -> tuple[Period, ...]:
    """Weeks from Monday to Sunday that the season touches, the first and the last one cut to the season.

    Weeks are those of ISO 8601. Sen4CAP's are numbered by ``strftime %W``, and those that two years share are cut in
    two and counted to week 1 and 52; in 2018 both are the same.
    """
    begins = [season_start]
    monday = season_start - season_start.weekday() * _DAY + 7 * _DAY
    while monday <= season_end:
        begins.append(monday)
        monday += 7 * _DAY
    return _until(begins, season_end)


def months(season_start: dt.date, season_end: dt.date, n: int) -> tuple[Period, ...]:
    """Periods of ``n`` calendar months from that of ``season_start`` on, the first and the last cut to the season."""
    begins = [season_start]
    count = season_start.year * 12 + season_start.month - 1 + n
    while (first := dt.date(count // 12, count % 12 + 1, 1)) <= season_end:
        begins.append(first)
        count += n
    return _until(begins, season_end)


def place_of(days: Sequence[dt.date], of: Sequence[Period]) -> NDArray[np.int64]:
    """(n,) number of the period that each day lies in, -1 for a day in none.

    Parameters
    ----------
    of : ascending and apart; a part (a week) is counted to the whole (months) that has its first day
    """
    if not of or not days:
        return np.full(len(days), -1, np.int64)
    wanted = np.array(days, dtype="datetime64[D]")
    first = np.array([period.first for period in of], dtype="datetime64[D]")
    last = np.array([period.last for period in of], dtype="datetime64[D]")
    place = np.searchsorted(first, wanted, side="right") - 1
    inside = (place >= 0) & (wanted <= last[np.maximum(place, 0)])
    return np.where(inside, place, -1).astype(np.int64)


def _until(begins: Sequence[dt.date], season_end: dt.date) -> tuple[Period, ...]:
    lasts = [*(first - _DAY for first in begins[1:]), season_end]
    return tuple(Period(first, last) for first, last in zip(begins, lasts, strict=True))
