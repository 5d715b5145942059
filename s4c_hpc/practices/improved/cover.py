"""Cover in the period of a practice: markers M6 to M10, and how much stands behind each of them.

Thresholds are those of the reference. Looks at NDVI count one by one, whether there is radar in their week or not;
backscatter grows by the orbit; a rise of coherence that is in doubt (rain, or all fields around) is no loss of cover.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.codes import Codes
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.improved.bare import bare_limit
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.slope import SIGNIFICANCE

_REACH_DAYS = 17
"""Acquisitions so near enter a regression: two weeks before and after the week that they are in."""


@functools.cache
def _t_limit() -> Floats:
    """Student's t that is exceeded with half the significance, by number of values."""
    from scipy.special import stdtrit  # noqa: PLC0415 - heavy, and not needed to plan

    return np.append(np.full(3, np.inf), stdtrit(np.arange(1.0, 62.0), 1 - SIGNIFICANCE / 2))


class CoverLimits(NamedTuple):
    """Thresholds, as numbers that kernels take."""

    green: float
    up: float
    down: float
    least: float
    step: float
    rise: float
    level: float
    slope_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Of n parcels in their periods."""

    m6: Codes
    """NDVI of vegetation was seen."""
    m7: Codes
    """NDVI stays, once it has come up."""
    m8: Codes
    """NDVI is not lost."""
    m9: Codes
    """Backscatter does not grow."""
    m10: Codes
    """Coherence does not rise, nor is it high."""
    looks: NDArray[np.int16]
    """Looks at NDVI that count for M7, or all of the period where there are none such."""
    green: NDArray[np.int16]
    """How many of these have vegetation that stays."""
    orbits: NDArray[np.int16]
    """Orbits that were watched: three values of coherence or more."""
    orbits_with_loss: NDArray[np.int16]
    """How many of them show a loss of cover that is not in doubt."""
    doubts: NDArray[np.uint8]
    """Bits of ``Doubt`` of rises that were not counted."""
    quiet_weeks: NDArray[np.int16]
    """Longest run of weeks with coherence and without a loss of cover."""
    ndvi_low: NDArray[np.float32]
    """Lowest NDVI of the looks, in thousandths."""
    ndvi_high: NDArray[np.float32]
    """Highest."""
    coherence_high: NDArray[np.float32]
    """Highest coherence that counts for M10."""


def cover_limits(rules: PracticeRules) -> CoverLimits:
    """Thresholds of a period; where a country has none, those of the harvest."""
    up, down = rules.practice_ndvi_up, rules.practice_ndvi_down
    rise, level = rules.practice_coherence_rise, rules.practice_coherence_level
    return CoverLimits(
        green=float(rules.practice_ndvi),
        up=float(rules.ndvi_up if up is None else up),
        down=float(rules.ndvi_down if down is None else down),
        least=float(rules.practice_ndvi_least),
        step=float(rules.ndvi_step),
        rise=rules.coherence_rise_high if rise is None else rise,
        level=rules.coherence_level if level is None else level,
        slope_db=rules.practice_backscatter_slope_db,
    )


def cover(
    season: Season,
    radar: Radar,
    first: Days,
    last: Days,
    limits: CoverLimits,
    *,
    emerged: int = 0,
    settled: int = 0,
    watched: tuple[Days, Days] | None = None,
) -> Cover:
    """Markers of periods of n parcels.

    Parameters
    ----------
    first, last : (n,) the period
    emerged, settled : days after its begin from which NDVI has to stay, and coherence must not rise
    watched : (n,) and (n,) days in which M8 counts; without, all of the period
    """
    seen, n = season.seen, len(season.seen.ndvi)
    codes = np.full((n, 5), np.int8(-1))
    counts, doubts = np.zeros((n, 5), np.int16), np.zeros(n, np.uint8)
    values = np.full((n, 3), np.float32(np.nan))
    m8_from, m8_to = (first, last) if watched is None else watched
    _optical(
        seen.ndvi_day,
        np.ascontiguousarray(seen.ndvi),
        (first, last, m8_from, m8_to),
        emerged,
        limits,
        codes,
        counts,
        values,
    )
    _coherence(
        (seen.coherence_day, season.coherence_orbit),
        (np.ascontiguousarray(seen.coherence), radar.rise, np.ascontiguousarray(season.doubts.flags)),
        (first, last, season.n_orbits, settled),
        limits,
        (codes, counts, doubts, values),
    )
    _slopes(
        seen.amplitude_day,
        season.amplitude_orbit,
        np.ascontiguousarray(seen.ratio_db),
        (first, last, season.n_orbits),
        limits.slope_db,
        _t_limit(),
        codes,
    )
    m6, m7, m8, m9, m10 = (np.ascontiguousarray(codes[:, i]) for i in range(5))
    return Cover(
        m6=m6,
        m7=m7,
        m8=m8,
        m9=m9,
        m10=m10,
        looks=counts[:, 0],
        green=counts[:, 1],
        orbits=counts[:, 2],
        orbits_with_loss=counts[:, 3],
        quiet_weeks=counts[:, 4],
        doubts=doubts,
        ndvi_low=values[:, 0],
        ndvi_high=values[:, 1],
        coherence_high=values[:, 2],
    )


@kernel
def _optical(
    day: Days,
    ndvi: Floats,
    periods: tuple[Days, Days, Days, Days],
    emerged: int,
    limits: CoverLimits,
    codes: Codes,
    counts: NDArray[np.int16],
    values: NDArray[np.float32],
) -> None:
    """Fill M6 to M8, looks and NDVI."""
    first, last, m8_from, m8_to = periods
    n, d = ndvi.shape
    for p in range(n):
        previous = highest = lowest_drop = np.nan
        n_all = n_green = 0
        for i in range(d):
            value = ndvi[p, i]
            if np.isnan(value) or day[i] < first[p] or day[i] > last[p]:
                continue
            is_green = value >= limits.green - 1e-8
            is_drop = value < previous - 1e-8 and value < limits.up - 1e-8
            n_all += 1
            n_green += is_green
            codes[p, 0] = max(codes[p, 0], np.int8(is_green))
            highest = value if np.isnan(highest) else max(highest, value)
            if is_drop:
                lowest_drop = value if np.isnan(lowest_drop) else min(lowest_drop, value)
            values[p, 0] = value if np.isnan(values[p, 0]) else min(values[p, 0], value)
            values[p, 1] = highest
            if day[i] >= first[p] + emerged:
                is_held = is_green or (not np.isnan(previous) and not is_drop)
                stays = is_held and value >= limits.least - 1e-8
                counts[p, 0] += 1
                counts[p, 1] += stays
                codes[p, 1] = _all(codes[p, 1], stays)
            if not np.isnan(previous) and m8_from[p] <= day[i] <= m8_to[p]:
                kept = not (
                    is_drop and value <= bare_limit(highest, lowest_drop, limits.down, limits.up, limits.step) + 1e-8
                )
                codes[p, 2] = _all(codes[p, 2], kept)
            previous = value
        if counts[p, 0] == 0:
            # Nothing was seen once it had come up: vegetation may have been seen before, its absence tells nothing.
            counts[p, 0], counts[p, 1] = n_all, n_green
            if emerged > 0 and codes[p, 0] == 0:
                codes[p, 0] = -1


@helper
def _all(code: int, holds: bool) -> int:
    """The code of a period with one more look: FALSE stays FALSE."""
    return int(holds) if code == -1 else min(code, int(holds))


@kernel
def _coherence(
    acquired: tuple[Days, Days],
    seen: tuple[Floats, Floats, NDArray[np.uint8]],
    period: tuple[Days, Days, int, int],
    limits: CoverLimits,
    result: tuple[Codes, NDArray[np.int16], NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    """Fill M10, orbits, doubts and the run of quiet weeks."""
    day, orbit = acquired
    coherence, rise, flags = seen
    first, last, n_orbits, settled = period
    codes, counts, doubts, values = result
    n, c = coherence.shape
    for p in range(n):
        for o in range(n_orbits):
            n_seen = 0
            is_lost = False
            for i in range(c):
                value = coherence[p, i]
                if orbit[i] != o or np.isnan(value) or day[i] < first[p] + settled or day[i] > last[p]:
                    continue
                n_seen += 1
                values[p, 2] = value if np.isnan(values[p, 2]) else max(values[p, 2], value)
                rises = rise[p, i] >= limits.rise - 1e-8
                if rises:
                    doubts[p] |= flags[p, i]
                is_lost |= (rises and not flags[p, i]) or value >= limits.level - 1e-8
            if n_seen > 0:
                codes[p, 4] = _all(codes[p, 4], not is_lost)
            counts[p, 2] += n_seen >= 3
            counts[p, 3] += n_seen >= 3 and is_lost
        counts[p, 4] = _quiet_weeks(day, coherence[p], rise[p], flags[p], first[p], last[p], limits)


@helper
def _quiet_weeks(
    day: Days, coherence: Floats, rise: Floats, flags: NDArray[np.uint8], first: int, last: int, limits: CoverLimits
) -> int:
    """Longest run of weeks with coherence, none of which shows a loss; weeks without coherence do not end it."""
    longest = run = 0
    week = np.int64(-1)
    is_lost = False
    for i in range(day.size):
        if np.isnan(coherence[i]) or day[i] < first or day[i] > last:
            continue
        monday = day[i] - (day[i] - 4) % 7
        if monday != week:
            run = 0 if is_lost else run + int(week >= 0)
            longest = max(longest, run)
            week, is_lost = monday, False
        rises = rise[i] >= limits.rise - 1e-8 and not flags[i]
        is_lost = is_lost or rises or coherence[i] >= limits.level - 1e-8
    run = 0 if is_lost else run + int(week >= 0)
    return max(longest, run)


@kernel
def _slopes(
    day: Days,
    orbit: Days,
    ratio: Floats,
    period: tuple[Days, Days, int],
    slope_db: float,
    t_limit: Floats,
    codes: Codes,
) -> None:
    """Fill M9: FALSE where VV - VH of an orbit grows significantly over five weeks of the period."""
    first, last, n_orbits = period
    n, t = ratio.shape
    at = np.empty(t, np.int64)
    for p in range(n):
        for o in range(n_orbits):
            k = 0
            for i in range(t):
                if orbit[i] == o and day[i] >= first[p] and day[i] <= last[p] + 7 and not np.isnan(ratio[p, i]):
                    at[k] = i
                    k += 1
            low = 0
            for j in range(k):
                while day[at[j]] - day[at[low]] > _REACH_DAYS:
                    low += 1
                high = j
                while high + 1 < k and day[at[high + 1]] - day[at[j]] <= _REACH_DAYS:
                    high += 1
                if high - low >= 2:
                    slope, spread = _slope(day, ratio[p], at[low : high + 1], at[j])
                    critical = t_limit[min(high - low + 1, t_limit.size - 1)]
                    grows = slope >= slope_db - 1e-8 and slope > spread * critical
                    codes[p, 3] = _all(codes[p, 3], not grows)


@helper
def _slope(day: Days, ratio: Floats, at: Days, middle: int) -> tuple[float, float]:
    """Slope of an ordinary regression on days, and its standard error."""
    sx = sy = sxx = sxy = syy = 0.0
    for i in at:
        x, y = float(day[i] - day[middle]), ratio[i] - ratio[middle]
        sx += x
        sy += y
        sxx += x * x
        sxy += x * y
        syy += y * y
    size = at.size
    xx, xy, yy = sxx - sx * sx / size, sxy - sx * sy / size, syy - sy * sy / size
    slope = xy / xx
    rest = max(yy - slope * xy, 0.0)
    # Sums of squares of equal numbers leave dust.
    return slope, (np.sqrt(rest / (size - 2) / xx) if rest > 1e-10 * max(syy, 1.0) else 0.0)
