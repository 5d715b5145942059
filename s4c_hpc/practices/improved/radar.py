"""Changes of radar from one acquisition of an orbit to the next one: rises of coherence, growth of VV - VH.

Every orbit is compared with itself only, so that neither its geometry nor its time of the day looks like an event, and
several orbits are several witnesses.

A rise of coherence counts against what the orbit had before: the last value, or the median of the last three if that is
more. One wet pair in between, from which coherence only comes back, is then no rise. The days between two values are
those that there are: 6 with two satellites, 12 with one or where a value is missing. Changes by chance grow with the
root of time (a random walk), so a rise over more days counts for less by that; it is never set to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.improved.season import Season

NO = np.int16(-1)
"""Place of an acquisition that there is none of."""


class RadarLimits(NamedTuple):
    """Thresholds, as numbers that kernels take."""

    max_days: float
    pair_days: float
    exponent: float
    max_vv_db: float
    loss_db: float
    loss_divisor: float
    presence_divisor: float
    presence_deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Radar:
    """Changes of n parcels; NaN where there is nothing to compare with."""

    rise: Floats
    """(n, c) rise of coherence, scaled by the days it took; 0 where it fell."""
    level: Floats
    """(n, c) coherence before, that the rise counts from."""
    pair_before: NDArray[np.int16]
    """(n, c) place of the value before on the orbit; -1 if it is too far away."""
    highest: Floats
    """(n, o) highest coherence of each orbit."""
    step_db: Floats
    """(n, t) growth of VV - VH over the mean of the three values before that the next value confirms."""
    step_limit_db: Floats
    """(n, o) growth from which M3 is TRUE."""
    deviation_db: Floats
    """(n, o) standard deviation of VV - VH of each orbit."""
    present: NDArray[np.int8]
    """(n, t) M4: 1 if VV - VH may be that of bare ground, 0 if not, -1 if there is none."""
    ratio_before: NDArray[np.int16]
    """(n, t) place of the value before on the orbit; -1 if it is too far away."""


def radar_limits(rules: PracticeRules, improved: ImprovedRules) -> RadarLimits:
    """Thresholds of changes."""
    return RadarLimits(
        max_days=float(improved.max_pair_days),
        pair_days=improved.pair_days,
        exponent=improved.pair_exponent,
        max_vv_db=rules.max_vv_db,
        loss_db=rules.backscatter_loss_db,
        loss_divisor=rules.backscatter_loss_divisor,
        presence_divisor=rules.backscatter_presence_divisor,
        presence_deviation=float(rules.backscatter_presence_deviation),
    )


def radar_changes(season: Season, limits: RadarLimits) -> Radar:
    """Changes of every orbit of n parcels."""
    seen = season.seen
    n, c, t, n_orbits = len(seen.ndvi), seen.coherence_day.size, seen.amplitude_day.size, season.n_orbits
    rise, level = np.full((n, c), np.nan), np.full((n, c), np.nan)
    pair_before, ratio_before = np.full((n, c), NO), np.full((n, t), NO)
    highest, deviation, step_limit = (np.full((n, n_orbits), np.nan) for _ in range(3))
    step, present = np.full((n, t), np.nan), np.full((n, t), -1, np.int8)
    coherence = np.ascontiguousarray(seen.coherence)
    _coherence(seen.coherence_day, season.coherence_orbit, coherence, limits, rise, level, pair_before, highest)
    ratio, vv = np.ascontiguousarray(seen.ratio_db), np.ascontiguousarray(seen.vv_db)
    _backscatter(
        seen.amplitude_day,
        season.amplitude_orbit,
        ratio,
        vv,
        limits,
        step,
        step_limit,
        deviation,
        present,
        ratio_before,
    )
    return Radar(
        rise=rise,
        level=level,
        pair_before=pair_before,
        highest=highest,
        step_db=step,
        step_limit_db=step_limit,
        deviation_db=deviation,
        present=present,
        ratio_before=ratio_before,
    )


@helper
def _median_of_three(a: float, b: float, c: float) -> float:
    return max(min(a, b), min(max(a, b), c))


@kernel
def _coherence(
    day: NDArray[np.int64],
    orbit: NDArray[np.int64],
    coherence: Floats,
    limits: RadarLimits,
    rise: Floats,
    level: Floats,
    before: NDArray[np.int16],
    highest: Floats,
) -> None:
    """Fill rise, level and place before (n, c), and the highest value of each orbit (n, o)."""
    n, c = coherence.shape
    n_orbits = highest.shape[1]
    for p in range(n):
        for o in range(n_orbits):
            last = -1
            one = two = three = np.nan
            for i in range(c):
                value = coherence[p, i]
                if orbit[i] != o or np.isnan(value):
                    continue
                if last < 0 or day[i] - day[last] > limits.max_days:
                    # After a long gap nothing is known of what was before.
                    two = three = np.nan
                else:
                    days = float(day[i] - day[last])
                    usual = one
                    if not np.isnan(three):
                        usual = max(one, _median_of_three(one, two, three))
                    elif not np.isnan(two):
                        usual = max(one, 0.5 * (one + two))
                    slower = max(days / limits.pair_days, 1.0) ** limits.exponent
                    rise[p, i] = max(value - usual, 0.0) / slower
                    level[p, i] = usual
                    before[p, i] = last
                    three, two = two, one
                if np.isnan(highest[p, o]) or value > highest[p, o]:
                    highest[p, o] = value
                one = value
                last = i


@kernel
def _backscatter(
    day: NDArray[np.int64],
    orbit: NDArray[np.int64],
    ratio: Floats,
    vv: Floats,
    limits: RadarLimits,
    step: Floats,
    step_limit: Floats,
    deviation: Floats,
    present: NDArray[np.int8],
    before: NDArray[np.int16],
) -> None:
    """Fill steps, presence and place before (n, t), and limits of each orbit (n, o)."""
    n, t = ratio.shape
    at = np.empty(t, np.int64)
    for p in range(n):
        for o in range(step_limit.shape[1]):
            k = 0
            for i in range(t):
                if orbit[i] == o and not np.isnan(ratio[p, i]):
                    at[k] = i
                    k += 1
            mean, spread = _moments(ratio[p], vv[p], at[:k], limits.max_vv_db)
            if np.isnan(spread):
                continue
            deviation[p, o] = spread
            step_limit[p, o] = max(spread / limits.loss_divisor, limits.loss_db)
            bare = mean - limits.presence_deviation * spread / limits.presence_divisor
            since = 0
            for j in range(k):
                i = at[j]
                present[p, i] = ratio[p, i] > bare + 1e-8
                if j == 0 or day[i] - day[at[j - 1]] > limits.max_days:
                    since = j  # after a long gap, what was before does not tell when it changed
                    continue
                before[p, i] = at[j - 1]
                if j - since >= 3:
                    lasting = min(ratio[p, i], ratio[p, at[min(j + 1, k - 1)]])
                    step[p, i] = lasting - (ratio[p, at[j - 3]] + ratio[p, at[j - 2]] + ratio[p, at[j - 1]]) / 3.0


@helper
def _moments(ratio: Floats, vv: Floats, at: NDArray[np.int64], max_vv_db: float) -> tuple[float, float]:
    """Mean and sample standard deviation of what is no outlier; NaN of fewer than two values."""
    total, n = 0.0, 0
    for i in at:
        if vv[i] <= max_vv_db:
            total += ratio[i]
            n += 1
    if n < 2:
        return np.nan, np.nan
    mean, squares = total / n, 0.0
    for i in at:
        if vv[i] <= max_vv_db:
            squares += (ratio[i] - mean) ** 2
    return mean, np.sqrt(squares / (n - 1))
