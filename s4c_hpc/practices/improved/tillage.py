"""Tillage after the harvest: coherence of bare ground falls, before anything green comes up.

Rain lowers coherence as well: a fall counts whole if it lasts, half if the next value is back, and less in doubt.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Flags, Floats
from s4c_hpc.practices.improved.event import Event
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season


class TillageLimits(NamedTuple):
    """Thresholds, as numbers that kernels take."""

    vegetation: float
    fall: float
    weight: float
    bare_weight: float
    doubt_share: float


Result = tuple[Days, Days, Floats, NDArray[np.uint8], NDArray[np.float32], Flags]


def tillage(
    season: Season, radar: Radar, after: Days, until: Days, rules: PracticeRules, improved: ImprovedRules
) -> Event:
    """The first tillage of n parcels.

    Parameters
    ----------
    after : (n,) day on which the harvest was surely over; negative where there is none, and nothing is looked for
    until : (n,) last day that is looked at
    """
    limits = TillageLimits(
        vegetation=float(rules.ndvi_vegetation),
        fall=improved.tillage_fall,
        weight=improved.weight_coherence,
        bare_weight=improved.weight_bare,
        doubt_share=improved.doubt_share,
    )
    seen = season.seen
    result = Event.nothing(len(seen.ndvi))
    _tillage(
        (after, until, season.n_orbits),
        (seen.ndvi_day, np.ascontiguousarray(seen.ndvi)),
        (seen.coherence_day, season.coherence_orbit, np.ascontiguousarray(seen.coherence), radar.level),
        np.ascontiguousarray(season.doubts.flags),
        limits,
        (result.start, result.end, result.confidence, result.doubts, result.values, result.green_first),
    )
    return result


@kernel
def _tillage(
    period: tuple[Days, Days, int],
    optical: tuple[Days, Floats],
    pairs: tuple[Days, Days, Floats, Floats],
    flags: NDArray[np.uint8],
    limits: TillageLimits,
    result: Result,
) -> None:
    """Fill an ``Event``."""
    after, until, n_orbits = period
    look_day, ndvi = optical
    day, orbit, coherence, level = pairs
    start, end, confidence, doubts, values, green_first = result
    for p in range(len(after)):
        if after[p] < 0:
            continue
        green, bare = _first_green(look_day, ndvi[p], after[p], until[p], limits.vegetation)
        left = 1.0
        n_seen = n_agree = 0
        for o in range(n_orbits):
            span = after[p], min(until[p], green - 1), limits.fall
            before, at, own_seen = _first_fall(day, orbit, coherence[p], level[p], o, span)
            n_seen += own_seen
            if at < 0:
                continue
            own = limits.weight * (1.0 if _lasts(orbit, coherence[p], level[p, at], at, limits.fall) else 0.5)
            left *= 1.0 - own * (limits.doubt_share if flags[p, at] else 1.0)
            doubts[p] |= flags[p, at]
            if n_agree == 0 or day[at] < end[p]:
                start[p], end[p] = day[before], day[at]
                values[p, 2], values[p, 3] = level[p, at], coherence[p, at]
            n_agree += 1
        values[p, 1], values[p, 4] = bare, n_agree
        green_first[p] = green <= until[p] and n_agree == 0
        if n_agree > 0:
            confidence[p] = 1.0 - left * (1.0 if np.isnan(bare) else 1.0 - limits.bare_weight)
        elif n_seen > 0 or green_first[p]:
            confidence[p] = 0.0


@helper
def _first_green(day: Days, ndvi: Floats, after: int, until: int, vegetation: float) -> tuple[int, float]:
    """Day on which new vegetation is seen, one after the last if it is not; NDVI of the bare ground before."""
    bare = np.nan
    for i in range(day.size):
        if np.isnan(ndvi[i]) or day[i] <= after or day[i] > until:
            continue
        if ndvi[i] > vegetation + 1e-8:
            return day[i], bare
        bare = ndvi[i]
    return until + 1, bare


@helper
def _first_fall(
    day: Days, orbit: Days, coherence: Floats, level: Floats, own: int, span: tuple[int, int, float]
) -> tuple[int, int, int]:
    """Places of the first fall of an orbit and of the value before, -1 if there is none; how many values were seen.

    Both are of the field after the harvest.
    """
    after, until, fall = span
    n_seen = 0
    previous = last = -1
    for i in range(day.size):
        if orbit[i] != own or np.isnan(coherence[i]):
            continue
        previous, last = last, i
        if previous < 0 or day[previous] <= after or day[i] > until or np.isnan(level[i]):
            continue
        n_seen += 1
        if level[i] - coherence[i] >= fall - 1e-8:
            return previous, i, n_seen
    return -1, -1, n_seen


@helper
def _lasts(orbit: Days, coherence: Floats, level: float, at: int, fall: float) -> bool:
    """Whether the next value of the orbit is still low; without one, nothing speaks against."""
    for i in range(at + 1, orbit.size):
        if orbit[i] == orbit[at] and not np.isnan(coherence[i]):
            return bool(level - coherence[i] >= 0.5 * fall)
    return True
