"""Whether mowings keep the rules of a crop, with the codes of the reference."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.mowing import CropRule
from s4c_hpc.mowing.windows import Windows
from s4c_hpc.series.looks import Floats

_EPOCH = dt.date(1970, 1, 1)


class Compliance(IntEnum):
    """The reference's ``compl``."""

    NO_RULE = -1
    """The crop has no rule."""
    NOT_ASSESSED = 0
    MOWN = 1
    """A mowing overlaps a period."""
    NOT_MOWN = 2
    """Assessed, and none does."""
    MOWN_BOTH = 3
    """With rule 1: mowings in and outside of the periods."""


def compliance(
    windows: Windows, assessed: NDArray[np.bool_], crops: Sequence[str], rules: Sequence[CropRule], year: int
) -> NDArray[np.int8]:
    """(n,) codes.

    Parameters
    ----------
    windows : events of n parcels
    assessed : (n,) whether a parcel had enough data
    crops : (n,) codes of the declaration
    rules : of a crop with several, the first counts
    year : of the season; a period that ends before it begins goes on into the next one
    """
    codes = np.full(len(crops), Compliance.NO_RULE, np.int8)
    names = np.asarray(crops, dtype=np.str_)
    for rule in reversed(rules):
        rows = np.flatnonzero(np.isin(names, rule.crops))
        inside = np.zeros((rows.size, windows.confidence.shape[1]), bool)
        for first, last in rule.periods:
            begin, end = period_days(first, last, year)
            with np.errstate(invalid="ignore"):
                inside |= (windows.end[rows] >= begin) & (windows.start[rows] <= end)
        outside = windows.there[rows] & ~inside
        code = np.where(inside.any(axis=1), Compliance.MOWN, Compliance.NOT_MOWN)
        if rule.rule == 1:
            code[inside.any(axis=1) & outside.any(axis=1)] = Compliance.MOWN_BOTH
        codes[rows] = np.where(assessed[rows], code, Compliance.NOT_ASSESSED)
    return codes


def period_days(first: str, last: str, year: int) -> tuple[float, float]:
    """Days since 1970 of a period given as month and day."""
    begin, end = day_of(first, year), day_of(last, year)
    return begin, end if end >= begin else day_of(last, year + 1)


def day_of(text: str, year: int) -> float:
    """Days since 1970 of a month and day; 29 February is 1 March where there is none."""
    month, day = (int(part) for part in text.split("-"))
    return float((dt.date(year, month, 1) - _EPOCH).days + day - 1)


def days_since_1970(days: Sequence[dt.date]) -> Floats:
    """(t,) as numbers."""
    return np.array([(day - _EPOCH).days for day in days], np.float64)
