"""Whether backscatter grows around a week: an ordinary regression of VV - VH on days over five weeks.

Source: the reference's TsaEfaAnalysisBase.cpp.
"""

from __future__ import annotations

import numpy as np

from s4c_hpc.practices.days import Days, iso_year, monday
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
    calendar, day = calendar_of(seen), seen.amplitude_day
    finite = np.isfinite(seen.ratio_db)
    # Days count from the Monday of the week in the middle: small numbers, whatever weeks other parcels have.
    x = (day - monday(day)).astype(np.float64)
    y = np.where(finite, seen.ratio_db, 0.0)
    is_in = finite.astype(np.float64)
    values = (is_in, is_in * x, is_in * x * x, y, x * y, y * y)
    own = np.stack([sums_of(one, day, calendar) for one in values])
    n, sx, sxx, sy, sxy, syy, n_weeks = _around(own, calendar)
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
    from scipy.special import stdtrit  # noqa: PLC0415 - heavy, and not needed to plan

    table = stdtrit(np.arange(-1.0, max(float(n.max(initial=0.0)), 2.0) - 1), 1 - SIGNIFICANCE / 2)
    result: Floats = table[n.astype(np.int64) - 1]
    return result


def _around(own: Floats, calendar: Days) -> Floats:
    """Sums over weeks that are near and of the same ISO year.

    Parameters
    ----------
    own : (6, n, m) number, sums of x, x squared, y, x y and y squared of each week, x from its Monday

    Returns
    -------
    (7, n, m) the same of all weeks that are near, x from the Monday of the middle one, and the number of these weeks
    """
    year = iso_year(calendar)
    result = np.concatenate([own, (own[:1] > 0).astype(np.float64)])
    for shift in range(1, min(REACH + 1, calendar.size)):
        same = year[shift:] == year[:-shift]
        # Of a pair of weeks, the later one gets the earlier one's values, and the other way round.
        for target, source, moved in ((shift, 0, -7 * shift), (0, shift, 7 * shift)):
            width = calendar.size - shift
            n, sx, sxx, sy, sxy, syy = own[:, :, source : source + width] * same
            into = result[:, :, target : target + width]
            parts = (n, sx + moved * n, sxx + 2 * moved * sx + moved**2 * n, sy, sxy + moved * sy, syy, n > 0)
            for total, part in zip(into, parts, strict=True):
                np.add(total, part, out=total)
    return result
