"""Markers M6 to M10 of each week in the period of a practice. Source: the reference's TsaEfaAnalysisBase.cpp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import Codes, Seen, seen
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Flags, at_least, at_most, below
from s4c_hpc.practices.loss import drop_limit
from s4c_hpc.practices.slope import grows
from s4c_hpc.practices.weeks import Observations, Weeks, before, weekly

_BEYOND_DAYS = 7
"""Backscatter is taken for so many days after the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodMarkers:
    """Markers of n parcels in the weeks of their periods, each (n, w)."""

    weeks: Weeks
    m6: Codes
    """NDVI of vegetation; NA without NDVI."""
    m7: Codes
    """NDVI of vegetation, or of what does not fall."""
    m8: Codes
    """No loss in NDVI."""
    m9: Codes
    """No loss in backscatter."""
    m10: Codes
    """No loss in coherence."""

    def since(self, day: Days) -> Flags:
        """(n, w) weeks whose Monday is not before a day (n,)."""
        return self.weeks.there & (self.weeks.monday >= day[:, None])


def period_markers(
    observed: Observations, first: Days, last: Days, rules: PracticeRules, *, with_slope: bool = False
) -> PeriodMarkers:
    """Markers of each week; what was observed outside the period is as if it had not been.

    Parameters
    ----------
    first, last : (n,) the period
    with_slope : whether M9 is wanted, which costs as much as all the others; else it is NA
    """
    inside = observed.within(first, last, _BEYOND_DAYS)
    weeks = weekly(inside, rules.max_vv_db)
    up = rules.ndvi_up if rules.practice_ndvi_up is None else rules.practice_ndvi_up
    down = rules.ndvi_down if rules.practice_ndvi_down is None else rules.practice_ndvi_down
    ndvi, has_ndvi = weeks.ndvi, np.isfinite(weeks.ndvi)
    previous = before(ndvi, has_ndvi)
    has_drop = np.isfinite(previous) & has_ndvi
    drop = below(ndvi, previous) & below(ndvi, up)
    m6 = at_least(ndvi, rules.practice_ndvi)
    m7 = (m6 | (has_drop & ~drop)) & at_least(ndvi, rules.practice_ndvi_least)
    limit = drop_limit(ndvi, drop, down=down, up=up, step=rules.ndvi_step)
    m8 = ~(drop & at_most(ndvi, limit))
    m9 = np.full(ndvi.shape, Seen.NA, np.int8)
    if with_slope:
        flags = grows(inside, rules.practice_backscatter_slope_db)
        growing, known = (np.take_along_axis(one, weeks.order, axis=1) for one in flags)
        m9 = seen(~growing, known & _inner(weeks))
    rise = rules.coherence_rise_high if rules.practice_coherence_rise is None else rules.practice_coherence_rise
    level = rules.coherence_level if rules.practice_coherence_level is None else rules.practice_coherence_level
    m10 = ~(at_least(weeks.coherence_rise, rise) | at_least(weeks.coherence, level))
    return PeriodMarkers(
        weeks=weeks,
        m6=seen(m6, has_ndvi),
        m7=seen(m7, has_ndvi),
        m8=seen(m8, has_drop),
        m9=m9,
        m10=seen(m10, weeks.there),
    )


def any_vegetation(markers: PeriodMarkers) -> Codes:
    """(n,) M6 of a whole period: NA without NDVI."""
    return seen((markers.m6 == Seen.TRUE).any(axis=1), (markers.m6 != Seen.NA).any(axis=1))


def _inner(weeks: Weeks) -> Flags:
    """(n, w) weeks that are neither the first nor the last one."""
    inner = weeks.there.copy()
    inner[:, 0] = False
    inner[:, :-1] &= weeks.there[:, 1:]
    inner[:, -1] = False
    return inner
