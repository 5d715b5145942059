"""Loss of vegetation in NDVI, look by look; no look is dropped because radar of its week is missing.

Thresholds are those of the reference's M1 and M2. A loss is a fall of NDVI between two looks across the limit of the
parcel's season, unless the next look makes it good (a cloud that was not masked). From then on NDVI is low, which a later
sign of radar agrees with: crops ripen before they are harvested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import kernel
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.season import Season

FALLS: Final = np.int8(2)
"""Week of which NDVI is lost: between the last look before and the first one after."""
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
    near_days: float
    dip_days: float
    least_looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Of n parcels and the m weeks of a calendar."""

    calendar: Days
    """(m,) Mondays, without a gap."""
    vegetation: NDArray[np.int8]
    """(n,) 1 if it was seen, 0 if enough looks show none, -1 if it is not known."""
    vegetation_day: Days
    """(n,) first look that shows it; ``NEVER``."""
    dropped: NDArray[np.bool_]
    """(n,) whether NDVI fell to a low value in the season."""
    limit: Floats
    """(n,) NDVI below which vegetation is lost, widened for the parcel."""
    state: NDArray[np.int8]
    """(n, m) FALLS, LOW, UNKNOWN or STAYS."""
    look_before: NDArray[np.int16]
    """(n, m) place of the look before the loss that a week belongs to; -1 if there is none."""
    look_after: NDArray[np.int16]
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
        near_days=float(improved.near_days),
        dip_days=float(improved.dip_days),
        least_looks=improved.least_looks,
    )


def weeks_of(season: Season, declared: Declared) -> Days:
    """(m,) Mondays of all weeks that were observed or in which a harvest may be."""
    seen = season.seen
    known = [seen.amplitude_day, seen.coherence_day, seen.ndvi_day]
    known += [days[days >= 0] for days in (declared.h_start, declared.h_end)]
    days = np.concatenate(known)
    if not days.size:
        return np.zeros(1, np.int64)
    return np.arange(monday(days.min()), monday(days.max()) + 1, 7, dtype=np.int64)


def optical_loss(season: Season, declared: Declared, limits: OpticalLimits) -> Loss:
    """Weeks in which n parcels lose vegetation, are bare since, or keep it."""
    calendar, ndvi = weeks_of(season, declared), np.ascontiguousarray(season.seen.ndvi)
    n, m = len(ndvi), calendar.size
    vegetation, vegetation_day = np.full(n, -1, np.int8), np.full(n, NEVER)
    dropped, limit = np.zeros(n, np.bool_), np.full(n, np.nan)
    state = np.zeros((n, m), np.int8)
    look_before, look_after = np.full((n, m), np.int16(-1)), np.full((n, m), np.int16(-1))
    end = monday(declared.h_end) + 6
    _losses(
        season.seen.ndvi_day,
        ndvi,
        declared.first_week,
        declared.harvest_from,
        end,
        calendar,
        limits,
        vegetation,
        vegetation_day,
        dropped,
        limit,
        state,
        look_before,
        look_after,
    )
    return Loss(
        calendar=calendar,
        vegetation=vegetation,
        vegetation_day=vegetation_day,
        dropped=dropped,
        limit=limit,
        state=state,
        look_before=look_before,
        look_after=look_after,
    )


@kernel
def _losses(
    day: Days,
    ndvi: Floats,
    season_from: Days,
    harvest_from: Days,
    season_to: Days,
    calendar: Days,
    limits: OpticalLimits,
    vegetation: NDArray[np.int8],
    vegetation_day: Days,
    dropped: NDArray[np.bool_],
    limit: Floats,
    state: NDArray[np.int8],
    look_before: NDArray[np.int16],
    look_after: NDArray[np.int16],
) -> None:
    """Fill what ``Loss`` holds."""
    n, d = ndvi.shape
    m = calendar.size
    at = np.empty(d, np.int64)
    for p in range(n):
        # Looks of the season, and what its limit is made of.
        k = 0
        n_season = n_green = 0
        highest = lowest_drop = previous = np.nan
        for i in range(d):
            value = ndvi[p, i]
            if np.isnan(value) or day[i] < season_from[p]:
                continue
            at[k] = i
            k += 1
            if day[i] > season_to[p]:
                continue
            n_season += 1
            if value > limits.vegetation + 1e-8 and vegetation_day[p] > day[i]:
                vegetation_day[p] = day[i]
            if vegetation_day[p] <= day[i]:
                n_green += 1
                if value < previous - 1e-8 and value < limits.up - 1e-8:
                    dropped[p] = True
                    if np.isnan(lowest_drop) or value < lowest_drop:
                        lowest_drop = value
            if np.isnan(highest) or value > highest:
                highest = value
            previous = value
        if vegetation_day[p] <= season_to[p]:
            vegetation[p] = 1
        elif n_season >= limits.least_looks:
            vegetation[p] = 0
        if k == 0:
            continue
        bare = limits.up
        if highest < limits.down or lowest_drop < limits.down:
            bare = limits.down
        elif dropped[p]:
            bare = limits.step * np.ceil((lowest_drop - 1e-8) / limits.step)
        wider = 0.0
        if n_green > 1:
            wider = max(np.floor((highest - bare) / limits.divisor + 0.5), 0.0)
        low = bare + wider
        limit[p] = low
        # From one look to the next.
        lost_before = lost_after = -1
        for j in range(k):
            i = at[j]
            value = ndvi[p, i]
            is_loss = False
            if j > 0:
                h = at[j - 1]
                was = ndvi[p, h]
                is_loss = (
                    dropped[p]
                    and lost_before < 0
                    and day[i] >= harvest_from[p]
                    and vegetation_day[p] <= day[h]
                    and value < low - 1e-8
                    and was > bare + 1e-8
                    and was > limits.least_before
                    and value < was - 1e-8
                )
                if is_loss and j + 1 < k:
                    # Back to where it was, and soon: that was no loss.
                    later = at[j + 1]
                    is_loss = not (
                        day[later] - day[i] <= limits.dip_days and ndvi[p, later] > was - 0.25 * (was - value)
                    )
                if is_loss:
                    lost_before, lost_after = h, i
                elif lost_before >= 0 and value >= low:
                    lost_before = lost_after = -1
                is_near = day[i] - day[h] <= 2 * limits.near_days
                first = (day[h] + 1 - calendar[0]) // 7
                last = (day[i] - calendar[0]) // 7
                for w in range(max(first, 0), min(last + 1, m)):
                    if is_loss:
                        state[p, w] = 2
                        look_before[p, w], look_after[p, w] = h, i
                    elif state[p, w] == 2:
                        continue
                    elif lost_before >= 0:
                        state[p, w] = 1
                        look_before[p, w], look_after[p, w] = lost_before, lost_after
                    elif is_near and state[p, w] == 0:
                        state[p, w] = -1
        if lost_before >= 0 and k > 0:
            # Nothing was seen since the last look: it is still low for a while.
            last = (day[at[k - 1]] - calendar[0]) // 7
            until = (day[at[k - 1]] + np.int64(limits.near_days) - calendar[0]) // 7
            for w in range(last + 1, min(until + 1, m)):
                state[p, w] = 1
                look_before[p, w], look_after[p, w] = lost_before, lost_after
