"""Markers M1 to M5 of each week and the harvest: the first week in which all of them are seen.

Source of the rules: the reference's TsaHarvestOnlyAnalysisHandler.cpp, in the order in which it computes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import NO_DAY, Codes, Seen, is_true, seen
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Flags, Floats, above, any_week, below
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.loss import buffer, coherence_marker, drop_limit
from s4c_hpc.practices.weeks import FAR, Weeks, before, first_monday, from_here


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """Harvest of n parcels."""

    m1: Codes
    """(n, w) vegetation was seen."""
    m2: Codes
    """(n, w) its loss, in NDVI."""
    m3: Codes
    """(n, w) its loss, in backscatter."""
    m4: Codes
    """(n, w) it may be bare, in backscatter."""
    m5: Codes
    """(n, w) its loss, in coherence."""
    vegetation: Flags
    """(n,) whether there was any."""
    dropped: Flags
    """(n, w) NDVI fell to a low value in the season."""
    ndvi_next: Floats
    """(n, w) NDVI of the week, else of the next one that has some."""
    week: Days
    """(n,) Monday of the harvest; ``NO_DAY`` if there is none."""
    week_s1: Days
    """(n,) the same, of radar alone."""
    limit: Floats
    """(n,) NDVI below which vegetation is lost."""
    widened: Floats
    """(n,) by how much more it may be."""

    @property
    def all_seen(self) -> Flags:
        """(n, w) weeks with all five."""
        return is_true(self.m1) & is_true(self.m2) & is_true(self.m3) & is_true(self.m4) & is_true(self.m5)

    @property
    def found(self) -> Flags:
        """(n,) whether there is a harvest."""
        return self.week >= 0


def harvest(weeks: Weeks, declared: Declared, rules: PracticeRules) -> Harvest:
    """Markers of each week and the harvest of n parcels; thresholds as in ``rules``."""
    first, start, end = declared.first_week, declared.harvest_from, _last_week(weeks, declared.h_end)
    in_season = weeks.there & (weeks.monday >= first[:, None]) & (weeks.monday <= end[:, None])
    since = weeks.there & (weeks.monday >= first[:, None])
    ndvi = np.where(since, weeks.ndvi, np.nan)
    green = above(ndvi, rules.ndvi_vegetation) & in_season
    vegetation = any_week(green)
    m1 = np.logical_or.accumulate(green, axis=1) & in_season
    observed = np.isfinite(ndvi)
    previous = before(ndvi, observed)
    previous = np.where(np.isnan(previous), ndvi, previous)
    following = np.where(since, from_here(ndvi, observed), np.nan)

    in_season_ndvi = np.where(in_season, ndvi, np.nan)
    earlier = before(in_season_ndvi, np.isfinite(in_season_ndvi))
    dropped = below(in_season_ndvi, earlier) & below(in_season_ndvi, rules.ndvi_up) & m1
    limit = drop_limit(in_season_ndvi, dropped, down=rules.ndvi_down, up=rules.ndvi_up, step=rules.ndvi_step)[:, -1]
    highest = np.where(np.isfinite(in_season_ndvi), in_season_ndvi, -np.inf).max(axis=1, initial=-np.inf)
    is_several = (m1 & np.isfinite(in_season_ndvi)).sum(axis=1) > 1
    widened = np.where(is_several, buffer(highest, limit, rules.ndvi_buffer_divisor), 0.0)

    low = (limit + widened)[:, None]
    from_start = weeks.there & (weeks.monday >= start[:, None])
    falls = below(following, low) & above(previous, limit[:, None]) & above(previous, following)
    begins = first_monday(weeks, falls & from_start)
    begins = np.where(begins < FAR, begins, start)
    m2 = (
        (below(following, low) | below(previous, low))
        & above(previous, rules.ndvi_before_loss)
        & (weeks.monday >= begins[:, None])
        & above(previous + rules.ndvi_down, following)
        & any_week(dropped)[:, None]
        & weeks.there
    )
    m5 = coherence_marker(weeks, rules.coherence_rise, rules.coherence_level)
    m3 = backscatter_loss(weeks, rules)
    m4 = _backscatter_presence(weeks, rules) | (above(weeks.coherence_rise, rules.coherence_rise_high) & m1 & m2 & m3)

    radar = m1 & m3 & m4 & m5 & from_start & vegetation[:, None]
    nr = np.int8(Seen.NR)

    def relevant(flags: Flags) -> Codes:
        return np.where(vegetation[:, None], seen(flags), nr).astype(np.int8)

    return Harvest(
        m1=np.where(vegetation[:, None], seen(m1, in_season), np.int8(Seen.FALSE)).astype(np.int8),
        m2=relevant(m2),
        m3=relevant(m3),
        m4=relevant(m4),
        m5=relevant(m5),
        vegetation=vegetation,
        dropped=dropped,
        ndvi_next=following,
        week=_found(first_monday(weeks, radar & m2)),
        week_s1=_found(first_monday(weeks, radar)),
        limit=limit,
        widened=widened,
    )


def backscatter_loss(weeks: Weeks, rules: PracticeRules) -> Flags:
    """(n, w) M3: the ratio grows by more than its weeks vary, or coherence grows much beside such a week."""
    limit = np.fmax(weeks.ratio_stdev_db / rules.backscatter_loss_divisor, rules.backscatter_loss_db)
    own = above(weeks.amplitude_rise_db, limit[:, None]) & weeks.there
    beside = np.zeros_like(own)
    # The first and the last week have neighbours on one side only and are left as they are.
    has_next = weeks.there[:, 2:]
    beside[:, 1:-1] = (own[:, :-2] | own[:, 1:-1] | own[:, 2:]) & has_next
    return own | (beside & above(weeks.coherence_rise, rules.coherence_rise_high))


def _backscatter_presence(weeks: Weeks, rules: PracticeRules) -> Flags:
    below_mean = (
        weeks.ratio_stdev_db / rules.backscatter_presence_divisor if rules.backscatter_presence_deviation else 0
    )
    return above(weeks.amplitude_max_db, (weeks.ratio_mean_db - below_mean)[:, None]) & weeks.there


def _last_week(weeks: Weeks, day: Days) -> Days:
    """(n,) Monday of the last week that counts: if that of the day is not there, the last of all."""
    wanted = monday(day)
    is_there = (weeks.monday == wanted[:, None]).any(axis=1)
    return np.where(is_there, wanted, weeks.last)


def _found(monday_or_far: Days) -> Days:
    return np.where(monday_or_far < FAR, monday_or_far, NO_DAY)
