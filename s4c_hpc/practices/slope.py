"""Whether backscatter grows around a week: an ordinary regression of VV - VH on days over five weeks.

Source: the reference's TsaEfaAnalysisBase.cpp.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from s4c_hpc.practices.days import Days, iso_year
from s4c_hpc.practices.decimals import Flags, Floats, at_least
from s4c_hpc.practices.weeks import Observations, calendar_of, sums_of

REACH = 2
"""Weeks before and after that enter."""

MIN_WEEKS = 3
"""Weeks with backscatter that a regression needs."""

SIGNIFICANCE = 0.05


def grows(seen: Observations, slope_db: float) -> tuple[Flags, Flags]:
    """Whether the ratio grows around each week of the calendar of ``seen``.

    Parameters
    ----------
    slope_db : least growth, dB a day; it has to be significant as well

    Returns
    -------
    (n, m) whether it does; (n, m) whether there is enough to tell

    Notes
    -----
    The reference takes weeks by their ISO number, so that none of the year before or after enters.
    """
    calendar = calendar_of(seen)
    finite = np.isfinite(seen.ratio_db)
    x = (seen.amplitude_day - calendar[0]).astype(np.float64)
    y = np.where(finite, seen.ratio_db, 0.0)
    is_in = finite.astype(np.float64)
    day = seen.amplitude_day
    n = sums_of(is_in, day, calendar)
    parts = [
        n,
        *(sums_of(one, day, calendar) for one in (is_in * x, y, is_in * x * x, x * y, y * y)),
        (n > 0).astype(np.float64),
    ]
    n, sx, sy, sxx, sxy, syy, n_weeks = (_around(one, calendar) for one in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        xx, xy, yy = sxx - sx * sx / n, sxy - sx * sy / n, syy - sy * sy / n
        slope = xy / xx
        left = np.fmax(yy - slope * xy, 0.0)
        # Sums of squares of equal numbers leave dust.
        left = np.where(left < 1e-10 * np.fmax(syy, 1.0), 0.0, left)
        t = slope / np.sqrt(left / (n - 2) / xx)
        # F(1, n - 2) is the square of Student's t.
        is_significant = (n > 2) & (t > _critical(n))
    known = n_weeks >= MIN_WEEKS
    return at_least(slope, slope_db) & is_significant & known, known


def _critical(n: Floats) -> Floats:
    """Student's t that is exceeded with half the significance, for n values."""
    table = stdtrit(np.arange(-1.0, max(float(n.max(initial=0.0)), 2.0) - 1), 1 - SIGNIFICANCE / 2)
    result: Floats = table[n.astype(np.int64) - 1]
    return result


def _around(values: Floats, calendar: Days) -> Floats:
    """(n, m) sums over weeks that are near and of the same ISO year."""
    year = iso_year(calendar)
    result = values.copy()
    for shift in range(1, min(REACH + 1, calendar.size)):
        same = year[shift:] == year[:-shift]
        result[:, shift:] += values[:, :-shift] * same
        result[:, :-shift] += values[:, shift:] * same
    return result
