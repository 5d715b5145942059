"""What is done to a field that carries no crop: tillage after the harvest, cuts of a cover that stays.

Tillage lowers the coherence of bare ground, as rain does: a fall that lasts, or that no rain explains, says more. A cut
of a cover, mown or mulched, lowers NDVI, which grows again, and does not bare the ground: turned ground is no mowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import kernel
from s4c_hpc.practices.codes import NO_DAY
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of each of n parcels."""

    start: Days
    """(n,) last observation before it; ``NO_DAY`` if there is none."""
    end: Days
    """(n,) first one after it."""
    confidence: Floats
    """(n,) 0 where nothing was seen, NaN where nothing could be."""
    doubts: NDArray[np.uint8]
    """(n,) bits of ``Doubt``."""
    values: NDArray[np.float32]
    """(n, 5) NDVI before and after in thousandths, coherence before and after, orbits that agree."""
    green_first: NDArray[np.bool_]
    """(n,) whether new vegetation ended the search."""


class TillageLimits(NamedTuple):
    """Thresholds, as numbers that kernels take."""

    vegetation: float
    fall: float
    high: float
    weight: float
    doubt_share: float


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
        high=rules.tillage_coherence_rise,
        weight=improved.weight_coherence,
        doubt_share=improved.doubt_share,
    )
    seen = season.seen
    result = _nothing(len(seen.ndvi))
    _tillage(
        (after, until, season.n_orbits),
        (seen.ndvi_day, np.ascontiguousarray(seen.ndvi)),
        (seen.coherence_day, season.coherence_orbit, np.ascontiguousarray(seen.coherence), radar.level),
        np.ascontiguousarray(season.doubts.flags),
        limits,
        (result.start, result.end, result.confidence, result.doubts, result.values, result.green_first),
    )
    return result


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
        coherence=improved.weight_coherence,
        doubt_share=improved.doubt_share,
    )
    seen = season.seen
    result = _nothing(len(seen.ndvi))
    _mowing(
        (first, last, season.n_orbits),
        (seen.ndvi_day, np.ascontiguousarray(seen.ndvi)),
        (seen.coherence_day, season.coherence_orbit, np.ascontiguousarray(seen.coherence), radar.rise, radar.level),
        np.ascontiguousarray(season.doubts.flags),
        limits,
        (result.start, result.end, result.confidence, result.doubts, result.values),
    )
    return result


def _nothing(n: int) -> Event:
    return Event(
        start=np.full(n, NO_DAY),
        end=np.full(n, NO_DAY),
        confidence=np.full(n, np.nan),
        doubts=np.zeros(n, np.uint8),
        values=np.full((n, 5), np.float32(np.nan)),
        green_first=np.zeros(n, np.bool_),
    )


@kernel
def _tillage(
    period: tuple[Days, Days, int],
    optical: tuple[Days, Floats],
    pairs: tuple[Days, Days, Floats, Floats],
    flags: NDArray[np.uint8],
    limits: TillageLimits,
    result: tuple[Days, Days, Floats, NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]],
) -> None:
    """Fill an ``Event``."""
    after, until, n_orbits = period
    look_day, ndvi = optical
    day, orbit, coherence, level = pairs
    start, end, confidence, doubts, values, green_first = result
    n = ndvi.shape[0]
    for p in range(n):
        if after[p] < 0:
            continue
        green = until[p] + 1
        was = np.nan
        for i in range(look_day.size):
            if np.isnan(ndvi[p, i]) or look_day[i] <= after[p] or look_day[i] > until[p]:
                continue
            if ndvi[p, i] > limits.vegetation + 1e-8:
                green = look_day[i]
                break
            was = ndvi[p, i]
        left = 1.0
        n_seen = n_agree = 0
        for o in range(n_orbits):
            last = -1
            for i in range(day.size):
                if orbit[i] != o or np.isnan(coherence[p, i]):
                    continue
                previous, last = last, i
                # Both the value before and this one are of the field after the harvest.
                if previous < 0 or day[previous] <= after[p] or day[i] > until[p] or day[i] >= green:
                    continue
                if np.isnan(level[p, i]):
                    continue
                n_seen += 1
                if level[p, i] - coherence[p, i] < limits.fall - 1e-8:
                    continue
                stays = True
                for j in range(i + 1, day.size):
                    if orbit[j] == o and not np.isnan(coherence[p, j]):
                        stays = level[p, i] - coherence[p, j] >= 0.5 * limits.fall
                        break
                own = limits.weight if stays else 0.5 * limits.weight
                if flags[p, i]:
                    own *= limits.doubt_share
                if n_agree == 0 or day[i] < end[p]:
                    start[p], end[p] = day[previous], day[i]
                    values[p, 2], values[p, 3] = level[p, i], coherence[p, i]
                doubts[p] |= flags[p, i]
                left *= 1.0 - own
                n_agree += 1
                break
        values[p, 1], values[p, 4] = was, n_agree
        green_first[p] = green <= until[p] and n_agree == 0
        if n_agree > 0 or n_seen > 0 or green_first[p]:
            # Bare ground before and after is what NDVI has to say to it.
            confidence[p] = 0.0 if n_agree == 0 else 1.0 - left * (1.0 if np.isnan(was) else 0.75)


@kernel
def _mowing(
    period: tuple[Days, Days, int],
    optical: tuple[Days, Floats],
    pairs: tuple[Days, Days, Floats, Floats, Floats],
    flags: NDArray[np.uint8],
    limits: MowingLimits,
    result: tuple[Days, Days, Floats, NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    """Fill an ``Event``."""
    first, last, n_orbits = period
    look_day, ndvi = optical
    day, orbit, coherence, rise, level = pairs
    start, end, confidence, doubts, values = result
    n, d = ndvi.shape
    for p in range(n):
        before = -1
        for i in range(d):
            if np.isnan(ndvi[p, i]) or look_day[i] < first[p] or look_day[i] > last[p]:
                continue
            h, before = before, i
            if h < 0:
                continue
            if np.isnan(confidence[p]):
                confidence[p] = 0.0
            value, was = ndvi[p, i], ndvi[p, h]
            if was <= limits.vegetation or was - value < limits.fall or value < limits.bare:
                continue
            regrown = False
            for j in range(i + 1, d):
                if look_day[j] - look_day[i] > limits.regrowth_days:
                    break
                if not np.isnan(ndvi[p, j]) and ndvi[p, j] - value >= limits.regrowth:
                    regrown = True
                    # Bare in between: turned and sown, not mown.
                    break
                if not np.isnan(ndvi[p, j]) and ndvi[p, j] < limits.bare:
                    break
            if not regrown:
                continue
            left = 1.0 - limits.optical
            n_agree = 0
            c_before = c_after = np.nan
            own_flags = 0
            for o in range(n_orbits):
                best = 0.0
                for j in range(day.size):
                    if orbit[j] != o or day[j] <= look_day[h] or day[j] > look_day[i] + 12:
                        continue
                    if rise[p, j] >= limits.rise - 1e-8:
                        own = 0.5 * limits.coherence * (limits.doubt_share if flags[p, j] else 1.0)
                        if own > best:
                            best = own
                            c_before, c_after = level[p, j], coherence[p, j]
                            own_flags |= flags[p, j]
                if best > 0.0:
                    n_agree += 1
                    left *= 1.0 - best
            if 1.0 - left > confidence[p] + 1e-12:
                confidence[p] = 1.0 - left
                start[p], end[p] = look_day[h], look_day[i]
                doubts[p] = own_flags
                values[p, 0], values[p, 1] = was, value
                values[p, 2], values[p, 3], values[p, 4] = c_before, c_after, n_agree
