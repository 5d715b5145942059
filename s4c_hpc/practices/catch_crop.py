"""Catch crops: when one stood, if that is not declared, and whether it was there and stayed.

Source: the reference's TsaCatchCropAnalysisHandler.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import Codes, Index, Seen, all_true, is_true, seen
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import above, any_week, below
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.harvest import Harvest
from s4c_hpc.practices.judged import Judged, choose
from s4c_hpc.practices.period import PeriodMarkers, period_markers
from s4c_hpc.practices.weeks import FAR, Observations, Weeks, first_monday, last_monday

EMERGED_DAYS = 21
"""After these M7 counts: the crop has come up."""

SETTLED_DAYS = 14
"""After these M10 counts: sowing moves the soil and raises coherence, too."""

_LEAST_RISE = 10
"""Thousandths of NDVI by which it may lie above its lowest, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Period:
    first: Days
    last: Days


def catch_crop(
    observed: Observations, weeks: Weeks, found: Harvest, declared: Declared, rules: PracticeRules
) -> Judged:
    """Judge the catch crops of n parcels; a period without end is searched for."""
    period = _searched(weeks, found, declared, rules)
    markers = period_markers(observed, period.first, period.last, rules, with_slope=True)
    week_a = monday(period.first)
    undersown = np.isin(declared.p_type, rules.undersown_types)
    has_drop = any_week(found.dropped & (weeks.monday <= week_a[:, None]))
    m6, m7, m8, m9, m10 = values = _of_period(markers, week_a)
    judged = Judged(
        p_start=period.first,
        p_end=period.last,
        m6=m6,
        m7=m7,
        m8=m8,
        m9=m9,
        m10=m10,
        index=_by_count(values),
        without_harvest=np.zeros(len(week_a), bool),
    )
    is_poor = ~undersown & ((~found.found & ~has_drop) | (found.found & (found.week > week_a)))
    judged = judged.where(is_poor, Seen.NR, Index.POOR)
    return judged.where((weeks.last <= week_a) | ~found.vegetation, Seen.NR, Index.NR)


def _searched(weeks: Weeks, found: Harvest, declared: Declared, rules: PracticeRules) -> _Period:
    """The declared period, or the earliest one that the latest loss of vegetation before sowing allows."""
    days = rules.catch_crop_days
    if days is None:
        return _Period(first=declared.p_start, last=declared.p_end)
    latest = declared.p_start
    latest_week = monday(latest)[:, None]
    no_earlier = np.int64(-FAR) if rules.catch_crop_from is None else np.int64(declared.day(rules.catch_crop_from))
    complete = last_monday(weeks, found.all_seen & (weeks.monday <= latest_week))
    begins = np.where(found.found, np.where(complete > -FAR, complete, found.week), latest)
    begins = np.maximum(begins, no_earlier)
    is_covered = weeks.last - begins >= days - 1

    inside = weeks.there & (weeks.monday >= begins[:, None]) & (weeks.monday <= (latest + days - 1)[:, None])
    low = _lowest(weeks, inside, rules) + _allowed(weeks, inside, rules)
    lost_m2 = first_monday(weeks, is_true(found.m2))
    bare_from = np.where(found.found, found.week, np.where(lost_m2 < FAR, lost_m2, begins))
    breaks = (
        weeks.there
        & (weeks.monday >= bare_from[:, None])
        & (weeks.monday <= latest_week)
        & (weeks.monday >= monday(no_earlier))
        & below(found.ndvi_next, low[:, None])
        & is_true(found.m3)
        & is_true(found.m5)
    )
    at = _last_before_gap(weeks, breaks, days)
    start = np.maximum(np.where(at > -FAR, at, bare_from), no_earlier)
    start = np.where(is_covered, start, latest)
    is_given = declared.p_end >= 0
    return _Period(
        first=np.where(is_given, declared.p_start, start),
        last=np.where(is_given, declared.p_end, start + days - 1),
    )


def _lowest(weeks: Weeks, inside: NDArray[np.bool_], rules: PracticeRules) -> NDArray[np.float64]:
    """(n,) lowest NDVI, within limits."""
    up = rules.ndvi_up if rules.practice_ndvi_up is None else rules.practice_ndvi_up
    down = rules.ndvi_down if rules.practice_ndvi_down is None else rules.practice_ndvi_down
    lowest = np.where(inside & np.isfinite(weeks.ndvi), weeks.ndvi, np.inf).min(axis=1, initial=np.inf)
    clipped = np.where(above(lowest, rules.ndvi_up), up, np.fmax(lowest, down))
    return np.where(np.isfinite(lowest), clipped, down)


def _allowed(weeks: Weeks, inside: NDArray[np.bool_], rules: PracticeRules) -> NDArray[np.float64]:
    """(n,) by how much NDVI may lie above the lowest."""
    down = rules.ndvi_down if rules.practice_ndvi_down is None else rules.practice_ndvi_down
    highest = np.where(inside & np.isfinite(weeks.ndvi), weeks.ndvi, -np.inf).max(axis=1, initial=-np.inf)
    highest = np.where(np.isfinite(highest), highest, down)
    return np.fmax((highest - _lowest(weeks, inside, rules)) * rules.catch_crop_share, _LEAST_RISE)


def _last_before_gap(weeks: Weeks, breaks: NDArray[np.bool_], days: int) -> Days:
    """(n,) the last break; of breaks further apart than a catch crop stands, the one before the last such gap."""
    at = np.where(breaks, weeks.monday, -FAR)
    latest = np.maximum.accumulate(at, axis=1)
    before = np.concatenate([np.full((len(at), 1), -FAR), latest[:, :-1]], axis=1)
    is_gap = breaks & (before > -FAR) & (weeks.monday - before >= days)
    before_gap = np.where(is_gap, before, -FAR).max(axis=1, initial=-FAR)
    return np.where(before_gap > -FAR, before_gap, latest[:, -1])


def _of_period(markers: PeriodMarkers, week_a: Days) -> tuple[Codes, Codes, Codes, Codes, Codes]:
    """Markers of whole periods."""
    there = markers.weeks.there
    emerged = markers.since(week_a + EMERGED_DAYS)
    is_green = any_week(is_true(markers.m6))
    is_observed = any_week(emerged & (markers.m6 != Seen.NA))
    m6 = seen(is_green, is_green | is_observed)
    unknown = m6 == Seen.NA
    na = np.int8(Seen.NA)
    return (
        m6,
        np.where(unknown, na, all_true(markers.m7, emerged)),
        np.where(unknown, na, all_true(markers.m8, there)),
        all_true(markers.m9, there),
        all_true(markers.m10, markers.since(week_a + SETTLED_DAYS)),
    )


def _by_count(values: tuple[Codes, ...]) -> Codes:
    """(n,) the index by the number of markers that are FALSE."""
    n_false = np.sum([one == Seen.FALSE for one in values], axis=0)
    is_without_ndvi = np.all([one == Seen.NA for one in values[:3]], axis=0)
    return choose(
        len(n_false),
        (is_without_ndvi & (n_false == 0), Index.MODERATE),
        (is_without_ndvi, Index.WEAK),
        (n_false == 0, Index.STRONG),
        (n_false == 1, Index.MODERATE),
        (n_false == 2, Index.WEAK),
        default=Index.POOR,
    )
