"""What is declared of parcels: their season, the time of their harvest and their practice."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.practices.codes import NO_DAY, Practice
from s4c_hpc.practices.days import Days, day_number, iso_week, monday


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Declarations of n parcels that have one practice in one country and year; days since 1970-01-01."""

    practice: Practice
    country: str
    """Three letters, or more that begin with them; empty if it is not known."""
    year: int
    veg_start: Days
    """(n,) first day of the crop's season."""
    h_start: Days
    """(n,) first day on which it may be harvested."""
    h_end: Days
    """(n,) last one."""
    p_type: NDArray[np.str_]
    """(n,) national kind of practice, ``CatchCrop_1``, ``PDJ``."""
    p_start: Days
    """(n,) first day of the practice; ``NO_DAY`` where none is given."""
    p_end: Days
    """(n,) last one; ``NO_DAY`` where none is given: that of a catch crop is then searched for."""

    def of(self, rows: NDArray[np.bool_]) -> Declared:
        """Those of some parcels."""
        names = ("veg_start", "h_start", "h_end", "p_type", "p_start", "p_end")
        chosen = {name: getattr(self, name)[rows] for name in names}
        return Declared(practice=self.practice, country=self.country, year=self.year, **chosen)

    @property
    def first_week(self) -> Days:
        """(n,) Monday with which the season begins."""
        return _not_week_one(self.veg_start)

    @property
    def harvest_from(self) -> Days:
        """(n,) Monday with which the time of harvest begins."""
        return _not_week_one(self.h_start)

    @property
    def is_whole(self) -> NDArray[np.bool_]:
        """(n,) whether the harvest can be looked for."""
        return (self.veg_start >= 0) & (self.h_start >= 0) & (self.h_end >= self.h_start)

    def day(self, day_of_year: str) -> int:
        """``07-15`` of the year; 29 February is 1 March where there is none."""
        month, day = (int(part) for part in day_of_year.split("-"))
        return day_number(dt.date(self.year, month, 1)) + day - 1


def without_practice(n: int, country: str, start: dt.date, end: dt.date) -> Declared:
    """Of n parcels nothing is declared: the harvest may be at any time of the season."""
    first, last, none = (np.full(n, day, np.int64) for day in (day_number(start), day_number(end), NO_DAY))
    return Declared(
        practice=Practice.NA,
        country=country,
        year=end.year,
        veg_start=first,
        h_start=first,
        h_end=last,
        p_type=np.full(n, ""),
        p_start=none,
        p_end=none,
    )


def _not_week_one(days: Days) -> Days:
    """Mondays; a day in ISO week 1 counts as one a week later, as in the reference."""
    moved: Days = monday(days) + np.where(iso_week(days) == 1, 7, 0)
    return moved
