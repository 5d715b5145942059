"""Changes of radar from one acquisition of an orbit to the next one: rises of coherence, growth of VV - VH.

Every orbit is compared with itself only, so that neither its geometry nor its time of the day looks like an event, and
several orbits are several witnesses.

A rise of coherence counts against what the orbit had before: the last value, or the median of the last three if that is
more. One wet pair in between, from which coherence only comes back, is then no rise. The days between two values are
those that there are: 6 with two satellites, 12 with one or where a value is missing. Changes by chance grow with the
root of time (a random walk), so a rise over more days counts for less by that; it is never set to nothing.

A harvest lasts: of a rise, and of a growth of VV - VH, counts what the median of the value and the next two confirms,
so that one lucky value is none, and one that rain or tillage lowers for once is. And it is more than what is usual on
the parcel, changes from one value to the next by their median: without that, speckle makes a harvest a season.
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
    rise: float
    usual_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Radar:
    """Changes of n parcels; NaN where there is nothing to compare with."""

    rise: Floats
    """(n, c) rise of coherence, scaled by the days it took; 0 where it fell."""
    lasting: Floats
    """(n, c) the same of what the next two values confirm."""
    rise_limit: Floats
    """(n, o) lasting rise from which M5 is TRUE."""
    level: Floats
    """(n, c) coherence before, that the rise counts from."""
    pair_before: NDArray[np.int16]
    """(n, c) place of the value before on the orbit; -1 if it is too far away."""
    highest: Floats
    """(n, o) highest coherence of each orbit."""
    step_db: Floats
    """(n, t) growth of VV - VH over the last value and the mean of the last three, that the next two confirm."""
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
        rise=rules.coherence_rise,
        usual_share=improved.usual_share,
    )


def radar_changes(season: Season, limits: RadarLimits) -> Radar:
    """Changes of every orbit of n parcels."""
    seen = season.seen
    n, c, t, n_orbits = len(seen.ndvi), seen.coherence_day.size, seen.amplitude_day.size, season.n_orbits
    rise, lasting, level = (np.full((n, c), np.nan) for _ in range(3))
    pair_before, ratio_before = np.full((n, c), NO), np.full((n, t), NO)
    highest, deviation, step_limit, rise_limit = (np.full((n, n_orbits), np.nan) for _ in range(4))
    step, present = np.full((n, t), np.nan), np.full((n, t), -1, np.int8)
    coherence = np.ascontiguousarray(seen.coherence)
    _coherence(
        (seen.coherence_day, season.coherence_orbit, coherence),
        limits,
        (rise, lasting, level, pair_before),
        (highest, rise_limit),
    )
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
        lasting=lasting,
        rise_limit=rise_limit,
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
    seen: tuple[NDArray[np.int64], NDArray[np.int64], Floats],
    limits: RadarLimits,
    changes: tuple[Floats, Floats, Floats, NDArray[np.int16]],
    of_orbit: tuple[Floats, Floats],
) -> None:
    """Fill rises, levels and places before (n, c), the highest value and the limit of each orbit (n, o)."""
    day, orbit, coherence = seen
    rise, lasting, level, before = changes
    highest, rise_limit = of_orbit
    n, c = coherence.shape
    at = np.empty(c, np.int64)
    for p in range(n):
        for o in range(highest.shape[1]):
            k = 0
            for i in range(c):
                if orbit[i] == o and not np.isnan(coherence[p, i]):
                    at[k] = i
                    k += 1
                    if np.isnan(highest[p, o]) or coherence[p, i] > highest[p, o]:
                        highest[p, o] = coherence[p, i]
            own = coherence[p]
            rise_limit[p, o] = max(limits.rise, limits.usual_share * _usual(own, at[:k]))
            since = 0
            for j in range(k):
                i = at[j]
                if j == 0 or day[i] - day[at[j - 1]] > limits.max_days:
                    since = j  # after a long gap nothing is known of what was before
                    continue
                usual = own[at[j - 1]]
                if j - since >= 3:
                    usual = max(usual, _median_of_three(usual, own[at[j - 2]], own[at[j - 3]]))
                elif j - since == 2:
                    usual = max(usual, 0.5 * (usual + own[at[j - 2]]))
                days = float(day[i] - day[at[j - 1]])
                slower = max(days / limits.pair_days, 1.0) ** limits.exponent
                rise[p, i] = max(own[i] - usual, 0.0) / slower
                lasting[p, i] = max(_confirmed(own, at[:k], j) - usual, 0.0) / slower
                level[p, i] = usual
                before[p, i] = at[j - 1]


@helper
def _confirmed(values: Floats, at: NDArray[np.int64], j: int) -> float:
    """What of a value the next two confirm: the median of the three if that is less; with one next, the lower."""
    own = values[at[j]]
    if j + 2 < at.size:
        return float(min(own, _median_of_three(own, values[at[j + 1]], values[at[j + 2]])))
    return float(min(own, values[at[j + 1]]) if j + 1 < at.size else own)


@helper
def _usual(values: Floats, at: NDArray[np.int64]) -> float:
    """Standard deviation of changes from one value to the next, by their median; 0 of fewer than five."""
    if at.size < 6:
        return 0.0
    return float(np.median(np.abs(values[at[1:]] - values[at[:-1]])) / 0.6745)


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
            usual = limits.usual_share * _usual(ratio[p], at[:k])
            step_limit[p, o] = max(spread / limits.loss_divisor, limits.loss_db, usual)
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
                    earlier = (ratio[p, at[j - 3]] + ratio[p, at[j - 2]] + ratio[p, at[j - 1]]) / 3.0
                    # Once it has grown, the next acquisition has not grown again.
                    step[p, i] = _confirmed(ratio[p], at[:k], j) - max(earlier, ratio[p, at[j - 1]])


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
