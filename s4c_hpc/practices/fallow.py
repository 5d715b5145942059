"""Fallow land: black, bare all season, or green, with a cover that is not harvested, as countries have it.

Source: the reference's TsaFallowAnalysisHandler.cpp.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import Codes, Index, Seen, is_true, seen
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import any_week
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.harvest import Harvest
from s4c_hpc.practices.judged import Judged, Reaped, choose
from s4c_hpc.practices.period import PeriodMarkers, any_vegetation, period_markers
from s4c_hpc.practices.weeks import Observations, Weeks, from_here

BARE_WEEKS = 9
"""Weeks in a row without loss in coherence, in Lithuania."""

_BLACK, _GREEN = "PDJ", "PDZ"
"""Lithuania's kinds."""

_EARLY_DAYS = 62
"""A harvest so long before the end of the period is too early, in Lithuania."""

_GRACE_DAYS = 7
"""A loss or harvest may be so much later than its time."""

_BESIDE_DAYS = 30
"""Markers of a loss are computed for so many days more on either side, in Czechia."""


def fallow(observed: Observations, weeks: Weeks, found: Harvest, declared: Declared, rules: PracticeRules) -> Judged:
    """Judge the fallow land of n parcels."""
    markers = period_markers(observed, declared.p_start, declared.p_end, rules)
    m6 = any_vegetation(markers)
    judged = replace(Judged.nothing(declared, Seen.NR, Index.NR), m6=m6)
    if declared.country == "CZE":
        judged = _green(judged, observed, found, declared, rules)
    elif declared.country == "LTU":
        judged = _lithuania(judged, markers, found, declared)
    else:
        judged = replace(judged, index=black_index(m6, found, declared, rules))
    return judged.where(weeks.last <= monday(declared.p_start), Seen.NR, Index.NR)


def black_index(m6: Codes, found: Reaped, declared: Declared, rules: PracticeRules) -> Codes:
    """(n,) C_INDEX of land that has to be bare, or at least not harvested in the period."""
    last = monday(declared.p_end)
    if declared.country.startswith("ITA") and rules.loss_from is not None:
        last = np.full(len(last), monday(declared.day(rules.loss_from)))
    return choose(
        len(last),
        (m6 == Seen.FALSE, Index.STRONG),
        (_harvested(found, monday(declared.p_start), last), Index.WEAK),
        default=Index.MODERATE,
    )


def green_index(m6: Codes, m8: Codes, found: Reaped, declared: Declared) -> Codes:
    """(n,) C_INDEX of a cover that has to go in its time (M8), and not by a harvest."""
    return choose(
        len(m8),
        (m6 == Seen.FALSE, Index.POOR),
        (_harvested(found, monday(declared.p_start), monday(declared.p_end)), Index.WEAK),
        (m8 == Seen.FALSE, Index.STRONG),
        default=Index.MODERATE,
    )


def loss_days(declared: Declared, rules: PracticeRules) -> tuple[Days, Days]:
    """(n,) and (n,) first and last day on which the vegetation of fallow land has to go."""
    n = len(declared.p_start)
    first = declared.p_start if rules.loss_from is None else np.full(n, declared.day(rules.loss_from))
    last = declared.p_end if rules.loss_to is None else np.full(n, declared.day(rules.loss_to))
    return first, last


def is_black(declared: Declared) -> NDArray[np.bool_]:
    """(n,) whether it is Lithuania's black fallow land."""
    found: NDArray[np.bool_] = declared.p_type == _BLACK
    return found


def lithuania_index(m6: Codes, is_kept: NDArray[np.bool_], found: Reaped, declared: Declared) -> Codes:
    """(n,) C_INDEX of Lithuania's kinds; ``is_kept``: (n,) whether the ground was left alone for long enough."""
    week, last = found.week, monday(declared.p_end)
    black = is_black(declared)
    green = choose(
        len(m6),
        (~is_kept | (m6 == Seen.FALSE), Index.WEAK),
        (~found.found | (week <= last - _EARLY_DAYS), Index.MODERATE),
        (week <= last + _GRACE_DAYS, Index.STRONG),
        default=Index.MODERATE,
    )
    return choose(len(m6), (black & ~is_kept, Index.STRONG), (black, Index.WEAK), (~black, green), default=Index.NR)


def _green(judged: Judged, observed: Observations, found: Harvest, declared: Declared, rules: PracticeRules) -> Judged:
    """Czechia: the cover has to go in its time, and not by a harvest."""
    m8 = _loss_in_time(observed, declared, rules)
    index = green_index(judged.m6, m8, found, declared)
    is_looked_at = (index == Index.STRONG) | (index == Index.MODERATE)
    return replace(judged, index=index, m8=np.where(is_looked_at, m8, np.int8(Seen.NR)))


def _loss_in_time(observed: Observations, declared: Declared, rules: PracticeRules) -> Codes:
    """(n,) M8 of the time in which vegetation has to go: FALSE if it went."""
    first, last = loss_days(declared, rules)
    markers = period_markers(observed, first - _BESIDE_DAYS, last + _BESIDE_DAYS, rules)
    # A week without NDVI has the marker of the next one with it.
    values = from_here(markers.m8.astype(np.float64), markers.m8 != Seen.NA)
    inside = markers.since(monday(first)) & (markers.weeks.monday <= (last + _GRACE_DAYS)[:, None])
    return seen(~any_week(inside & (values == 0)), any_week(inside & np.isfinite(values)))


def _lithuania(judged: Judged, markers: PeriodMarkers, found: Harvest, declared: Declared) -> Judged:
    m10 = seen(_has_run(markers, BARE_WEEKS))
    black, is_kept = is_black(declared), m10 == Seen.TRUE
    return replace(
        judged,
        m6=np.where(black, np.int8(Seen.NR), judged.m6),
        m10=m10,
        index=lithuania_index(judged.m6, is_kept, found, declared),
        without_harvest=black & ~is_kept,
    )


def _harvested(found: Reaped, first: Days, last: Days) -> NDArray[np.bool_]:
    """(n,) whether the harvest is after the first week and not after the last one."""
    inside: NDArray[np.bool_] = found.found & (found.week > first) & (found.week <= last)
    return inside


def _has_run(markers: PeriodMarkers, length: int) -> NDArray[np.bool_]:
    """(n,) whether M10 is TRUE in so many weeks in a row."""
    run = np.zeros(len(markers.m10), np.int64)
    longest = run.copy()
    for column in is_true(markers.m10).T:
        run = np.where(column, run + 1, 0)
        longest = np.maximum(longest, run)
    return longest >= length
