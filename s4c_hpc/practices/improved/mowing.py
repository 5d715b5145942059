"""Cuts of a cover that stays: fallow land that is mown or mulched.

NDVI falls and grows again, and the ground is never bare in between: turned ground is no mowing. Coherence that rises at
the same time confirms it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.improved.event import Event
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season

_PAIR_DAYS = 12
"""A pair of coherence after a cut ends so much later than the look that sees it."""


class MowingLimits(NamedTuple):
    """Thresholds, as numbers that kernels take."""

    fall: float
    regrowth: float
    regrowth_days: int
    bare: float
    vegetation: float
    rise: float
    optical: float
    coherence: float
    doubt_share: float


Pairs = tuple[Days, Days, Floats, NDArray[np.uint8]]
Result = tuple[Days, Days, Floats, NDArray[np.uint8], NDArray[np.float32]]


def mowing(
    season: Season, radar: Radar, first: Days, last: Days, rules: PracticeRules, improved: ImprovedRules
) -> Event:
    """The cut of a cover of n parcels that is most sure, from a day to another (n,)."""
    limits = MowingLimits(
        fall=float(improved.mowing_fall),
        regrowth=float(improved.mowing_regrowth),
        regrowth_days=improved.mowing_regrowth_days,
        bare=float(improved.mowing_bare),
        vegetation=float(rules.ndvi_vegetation),
        rise=rules.coherence_rise,
        optical=improved.weight_optical,
        # Grass that is cut is not cleared: coherence rises less than at a harvest and says less.
        coherence=0.5 * improved.weight_coherence,
        doubt_share=improved.doubt_share,
    )
    seen = season.seen
    result = Event.nothing(len(seen.ndvi))
    _mowing(
        (first, last, season.n_orbits),
        (seen.ndvi_day, np.ascontiguousarray(seen.ndvi)),
        (seen.coherence_day, season.coherence_orbit, radar.rise, np.ascontiguousarray(season.doubts.flags)),
        (np.ascontiguousarray(seen.coherence), radar.level),
        limits,
        (result.start, result.end, result.confidence, result.doubts, result.values),
    )
    return result


@kernel
def _mowing(
    period: tuple[Days, Days, int],
    optical: tuple[Days, Floats],
    pairs: Pairs,
    levels: tuple[Floats, Floats],
    limits: MowingLimits,
    result: Result,
) -> None:
    """Fill an ``Event``."""
    first, last, n_orbits = period
    look_day, ndvi = optical
    coherence, level = levels
    start, end, confidence, doubts, values = result
    for p in range(len(first)):
        before = -1
        for i in range(look_day.size):
            if np.isnan(ndvi[p, i]) or look_day[i] < first[p] or look_day[i] > last[p]:
                continue
            h, before = before, i
            if h < 0:
                continue
            if np.isnan(confidence[p]):
                confidence[p] = 0.0
            if not _is_cut(look_day, ndvi[p], h, i, limits):
                continue
            left, n_agree, at, own = 1.0 - limits.optical, 0, -1, 0
            for o in range(n_orbits):
                weight, place = _risen(pairs, p, o, (look_day[h], look_day[i] + _PAIR_DAYS), limits)
                left *= 1.0 - weight
                if place >= 0:
                    n_agree, at = n_agree + 1, place
                    own |= pairs[3][p, place]
            if 1.0 - left > confidence[p] + 1e-12:
                confidence[p], doubts[p] = 1.0 - left, own
                start[p], end[p] = look_day[h], look_day[i]
                values[p, 0], values[p, 1], values[p, 4] = ndvi[p, h], ndvi[p, i], n_agree
                values[p, 2] = level[p, at] if at >= 0 else np.nan
                values[p, 3] = coherence[p, at] if at >= 0 else np.nan


@helper
def _is_cut(day: Days, ndvi: Floats, h: int, i: int, limits: MowingLimits) -> bool:
    """Whether vegetation of look h is cut at look i, not turned, and grows again."""
    if ndvi[h] <= limits.vegetation or ndvi[h] - ndvi[i] < limits.fall or ndvi[i] < limits.bare:
        return False
    for j in range(i + 1, day.size):
        if np.isnan(ndvi[j]):
            continue
        if day[j] - day[i] > limits.regrowth_days or ndvi[j] < limits.bare:
            return False
        if ndvi[j] - ndvi[i] >= limits.regrowth:
            return True
    return False


@helper
def _risen(pairs: Pairs, p: int, own: int, span: tuple[int, int], limits: MowingLimits) -> tuple[float, int]:
    """Weight and place of the rise of coherence of an orbit between two days that counts most; 0 and -1 without one."""
    day, orbit, rise, flags = pairs
    best, at = 0.0, -1
    for i in range(day.size):
        if orbit[i] != own or day[i] <= span[0] or day[i] > span[1] or not rise[p, i] >= limits.rise - 1e-8:
            continue
        weight = limits.coherence * (limits.doubt_share if flags[p, i] else 1.0)
        if weight > best:
            best, at = weight, i
    return best, at
