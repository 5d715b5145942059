"""Loss of vegetation in NDVI, look by look; no look is dropped because radar of its week is missing.

Thresholds are those of the reference's M1 and M2. A loss is a fall of NDVI between two looks across the limit of the
parcel's season. From then on NDVI is low, which a later sign of radar agrees with: crops ripen before they are
harvested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.codes import Codes
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Flags, Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.bare import bare_limit
from s4c_hpc.practices.improved.season import Season

Places = NDArray[np.int16]

FALLS: Final = np.int8(2)
"""Week in which NDVI is lost: between the last look before and the first one after."""
LOW: Final = np.int8(1)
"""NDVI was lost before and has not come back."""
UNKNOWN: Final = np.int8(0)
STAYS: Final = np.int8(-1)
"""NDVI near before and near after shows that it is not lost."""

NEVER: Final = np.int64(2**40)
"""Day on which vegetation that was not seen was seen."""


class OpticalLimits(NamedTuple):
    """Thresholds, as numbers that kernels take."""

    vegetation: float
    down: float
    up: float
    step: float
    least_before: float
    divisor: float
    near_days: int
    least_looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Of n parcels and the m weeks of a calendar."""

    calendar: Days
    """(m,) Mondays, without a gap."""
    vegetation: Codes
    """(n,) 1 if it was seen, 0 if enough looks show none, -1 if it is not known."""
    vegetation_day: Days
    """(n,) first look that shows it; ``NEVER``."""
    dropped: Flags
    """(n,) whether NDVI fell to a low value in the season."""
    limit: Floats
    """(n,) NDVI below which vegetation is lost, widened for the parcel."""
    weight: Floats
    """(n,) of a loss as a strand of evidence."""
    by_ground: Flags
    """(n,) whether indices of bare ground date the loss."""
    state: Codes
    """(n, m) FALLS, LOW, UNKNOWN or STAYS."""
    look_before: Places
    """(n, m) place of the look before the loss that a week belongs to; -1 if there is none."""
    look_after: Places
    """(n, m) place of the look after it."""


def optical_limits(rules: PracticeRules, improved: ImprovedRules) -> OpticalLimits:
    """Thresholds of a loss."""
    return OpticalLimits(
        vegetation=float(rules.ndvi_vegetation),
        down=float(rules.ndvi_down),
        up=float(rules.ndvi_up),
        step=float(rules.ndvi_step),
        least_before=float(rules.ndvi_before_loss),
        divisor=rules.ndvi_buffer_divisor,
        near_days=improved.near_days,
        least_looks=improved.least_looks,
    )


def weeks_of(season: Season, improved: ImprovedRules) -> Days:
    """(m,) Mondays of all weeks of which an observation may tell, whatever is declared."""
    seen = season.seen
    days = np.concatenate([seen.amplitude_day, seen.coherence_day, seen.ndvi_day])
    if not days.size:
        return np.zeros(1, np.int64)
    first, last = days.min() - 7 * improved.tolerance_weeks, days.max() + improved.near_days
    return np.arange(monday(first), monday(last) + 1, 7, dtype=np.int64)


def optical_loss(season: Season, declared: Declared, rules: PracticeRules, improved: ImprovedRules) -> Loss:
    """Weeks in which n parcels lose vegetation, are bare since, or keep it."""
    limits, day = optical_limits(rules, improved), season.seen.ndvi_day
    calendar, ndvi = weeks_of(season, improved), np.ascontiguousarray(season.seen.ndvi)
    n, m = len(ndvi), calendar.size
    vegetation, vegetation_day = np.full(n, -1, np.int8), np.full(n, NEVER)
    dropped, bare, limit = np.zeros(n, np.bool_), np.full(n, np.nan), np.full(n, np.nan)
    state = np.zeros((n, m), np.int8)
    look_before, look_after = np.full((n, m), np.int16(-1)), np.full((n, m), np.int16(-1))
    period = declared.first_week, monday(declared.h_end) + 6
    _seasons(day, ndvi, period, limits, (vegetation, vegetation_day, dropped, bare, limit))
    may_fall = np.where(dropped, vegetation_day, NEVER)
    _states(
        (day, ndvi, calendar),
        (declared.first_week, declared.harvest_from, may_fall),
        (bare, limit),
        limits,
        (state, look_before, look_after),
    )
    return Loss(
        calendar=calendar,
        vegetation=vegetation,
        vegetation_day=vegetation_day,
        dropped=dropped,
        limit=limit,
        weight=np.full(n, improved.weight_optical),
        by_ground=np.zeros(n, np.bool_),
        state=state,
        look_before=look_before,
        look_after=look_after,
    )


@kernel
def _seasons(
    day: Days,
    ndvi: Floats,
    period: tuple[Days, Days],
    limits: OpticalLimits,
    result: tuple[Codes, Days, Flags, Floats, Floats],
) -> None:
    """Fill vegetation and its first day, whether NDVI dropped, and the limits of bare ground, plain and widened."""
    first, last = period
    vegetation, vegetation_day, dropped, bare, limit = result
    n, d = ndvi.shape
    for p in range(n):
        n_looks = n_green = 0
        highest = lowest = previous = np.nan
        for i in range(d):
            value = ndvi[p, i]
            if np.isnan(value) or day[i] < first[p] or day[i] > last[p]:
                continue
            n_looks += 1
            if value > limits.vegetation + 1e-8 and n_green == 0:
                vegetation_day[p] = day[i]
            n_green += vegetation_day[p] <= day[i]
            if n_green > 0 and value < previous - 1e-8 and value < limits.up - 1e-8:
                lowest = value if np.isnan(lowest) else min(lowest, value)
            highest = value if np.isnan(highest) else max(highest, value)
            previous = value
        dropped[p] = not np.isnan(lowest)
        if n_green > 0:
            vegetation[p] = 1
        elif n_looks >= limits.least_looks:
            vegetation[p] = 0
        bare[p] = bare_limit(highest, lowest, limits.down, limits.up, limits.step)
        limit[p] = bare[p]
        if n_green > 1:
            limit[p] += max(np.floor((highest - bare[p]) / limits.divisor + 0.5), 0.0)


@kernel
def _states(
    seen: tuple[Days, Floats, Days],
    since: tuple[Days, Days, Days],
    bounds: tuple[Floats, Floats],
    limits: OpticalLimits,
    result: tuple[Codes, Places, Places],
) -> None:
    """Fill states of weeks and the looks that they go by."""
    day, ndvi, calendar = seen
    season_from, harvest_from, may_fall = since
    bare, limit = bounds
    state, look_before, look_after = result
    n, d = ndvi.shape
    for p in range(n):
        h = lost_before = lost_after = -1
        for i in range(d):
            value = ndvi[p, i]
            if np.isnan(value) or day[i] < season_from[p]:
                continue
            if h >= 0:
                was = ndvi[p, h]
                can_fall = lost_before < 0 and day[i] >= harvest_from[p] and day[h] >= may_fall[p]
                is_high = was > bare[p] + 1e-8 and was > limits.least_before and was > value + 1e-8
                own = 0
                if can_fall and is_high and value < limit[p] - 1e-8:
                    lost_before, lost_after, own = h, i, 2
                elif value >= limit[p] - 1e-8:
                    lost_before = lost_after = -1
                if own == 0 and lost_before >= 0:
                    own = 1
                elif own == 0 and day[i] - day[h] <= 2 * limits.near_days:
                    own = -1
                span = (day[h] + 1 - calendar[0]) // 7, (day[i] - calendar[0]) // 7
                _paint(state[p], look_before[p], look_after[p], span, own, (lost_before, lost_after))
            h = i
        if lost_before >= 0:
            # Nothing was seen since the last look: it is still low for a while.
            span = (day[h] - calendar[0]) // 7 + 1, (day[h] + limits.near_days - calendar[0]) // 7
            _paint(state[p], look_before[p], look_after[p], span, 1, (lost_before, lost_after))


@helper
def _paint(
    state: Codes, look_before: Places, look_after: Places, span: tuple[int, int], own: int, looks: tuple[int, int]
) -> None:
    """Set the state of weeks between two looks; of a week that several looks are in, that which says most."""
    if own == 0:
        return
    for w in range(max(span[0], 0), min(span[1] + 1, state.size)):
        if own > state[w]:
            state[w] = own
            if own > 0:
                look_before[w], look_after[w] = looks
        elif own == -1 and state[w] == 0:
            state[w] = own
