"""Weights of the strands of evidence of a harvest, week by week: NDVI, and of each orbit coherence and backscatter.

Markers of a harvest may lie ``tolerance_weeks`` apart: a pair whose coherence rises ends a week after the field was
cleared. What belongs to a week is therefore what was seen from it on, for as long as that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.codes import Codes
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Flags, Floats
from s4c_hpc.practices.improved.optical import FALLS, LOW, STAYS, UNKNOWN, Loss, Places
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season


class StrandLimits(NamedTuple):
    """Thresholds and weights, as numbers that kernels take."""

    tolerance: int
    ripening_days: int
    rise: float
    rise_high: float
    level: float
    coherence: float
    backscatter: float
    doubt_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strands:
    """Of n parcels, m weeks and o orbits; weights are 0 where nothing speaks for a harvest."""

    optical: Floats
    """(n, m)"""
    optical_week: Places
    """(n, m) week of the loss that counts; -1 if there is none."""
    m2: Codes
    """(n, m)"""
    stays: Flags
    """(n, m) whether NDVI shows that nothing is lost."""
    coherence: Floats
    """(n, m, o)"""
    pair: Places
    """(n, m) place of the coherence that counts most; -1 if none does."""
    m5: Codes
    """(n, m)"""
    backscatter: Floats
    """(n, m, o)"""
    step: Places
    """(n, m) place of the backscatter that counts most; -1 if none does."""
    m3: Codes
    """(n, m)"""
    m4: Codes
    """(n, m)"""

    @property
    def radar(self) -> Floats:
        """(n, m) weight of all orbits together."""
        left: Floats = ((1.0 - self.coherence) * (1.0 - self.backscatter)).prod(axis=2)
        return 1.0 - left


def strand_limits(rules: PracticeRules, improved: ImprovedRules) -> StrandLimits:
    """Thresholds of strands."""
    return StrandLimits(
        tolerance=improved.tolerance_weeks,
        ripening_days=improved.ripening_days,
        rise=rules.coherence_rise,
        rise_high=rules.coherence_rise_high,
        level=rules.coherence_level,
        coherence=improved.weight_coherence,
        backscatter=improved.weight_backscatter,
        doubt_share=improved.doubt_share,
    )


def strands(season: Season, loss: Loss, radar: Radar, limits: StrandLimits) -> Strands:
    """Weights of n parcels."""
    seen, (n, m), o = season.seen, loss.state.shape, season.n_orbits
    optical, coherence, backscatter = np.zeros((n, m)), np.zeros((n, m, o)), np.zeros((n, m, o))
    optical_week, pair, step = (np.full((n, m), np.int16(-1)) for _ in range(3))
    m2, m3, m4, m5 = (np.full((n, m), np.int8(-1)) for _ in range(4))
    stays = np.zeros((n, m), np.bool_)
    since = np.where(
        loss.look_after >= 0, seen.ndvi_day[np.maximum(loss.look_after, 0)] if seen.ndvi_day.size else 0, 0
    )
    _optical((loss.calendar, loss.state, since, loss.weight), limits, (optical, optical_week, m2, stays))
    flags = np.ascontiguousarray(season.doubts.flags)
    _coherence(
        (loss.calendar[0], seen.coherence_day, season.coherence_orbit),
        (np.ascontiguousarray(seen.coherence), radar.lasting, radar.highest, radar.rise_limit, flags),
        limits,
        (coherence, pair, m5),
    )
    _backscatter(
        (loss.calendar[0], seen.amplitude_day, season.amplitude_orbit),
        (radar.step_db, radar.step_limit_db, radar.deviation_db, radar.present),
        limits,
        (backscatter, step, m3, m4),
    )
    return Strands(
        optical=optical,
        optical_week=optical_week,
        m2=m2,
        stays=stays,
        coherence=coherence,
        pair=pair,
        m5=m5,
        backscatter=backscatter,
        step=step,
        m3=m3,
        m4=m4,
    )


@helper
def _graded(value: float, half: float, whole: float) -> float:
    """Share of a weight: half of it at one threshold, all of it at another, which is higher."""
    if whole <= half:
        return 1.0
    return 0.5 + 0.5 * min(max((value - half) / (whole - half), 0.0), 1.0)


@kernel
def _optical(
    losses: tuple[Days, Codes, Days, Floats],
    limits: StrandLimits,
    result: tuple[Floats, Places, Codes, Flags],
) -> None:
    """Fill weights of NDVI: all of it while it falls and as long as a crop ripens after, then half of it."""
    calendar, state, since, whole = losses
    weight, place, m2, stays = result
    n, m = state.shape
    for p in range(n):
        for w in range(m):
            if state[p, w] == LOW:
                is_ripe = calendar[w] - since[p, w] <= limits.ripening_days
                weight[p, w], place[p, w] = (1.0 if is_ripe else 0.5) * whole[p], w
            n_known = n_stays = 0
            for v in range(min(w + limits.tolerance, m - 1), w - 1, -1):
                n_known += state[p, v] != UNKNOWN
                n_stays += state[p, v] == STAYS
                if state[p, v] == FALLS:
                    weight[p, w], place[p, w] = whole[p], v
            if n_known > 0:
                m2[p, w] = weight[p, w] > 0.0
            stays[p, w] = n_known > 0 and n_stays == n_known


@helper
def _pair_weight(
    value: float, rise: float, highest: float, least: float, flags: int, limits: StrandLimits
) -> tuple[float, int]:
    """Weight of a value of coherence, and its marker: 1, 0, or -1 if it tells nothing.

    Where coherence never reaches the level, being near its highest tells nothing: on fields of low coherence it is so
    all the time.
    """
    if rise >= least - 1e-8:
        weight = limits.coherence * _graded(rise, least, max(limits.rise_high, 2.0 * least))
        return (weight * limits.doubt_share if flags else weight), 1
    if value >= limits.level - 1e-8:
        return 0.5 * limits.coherence, 1
    is_always_low = highest < limits.level - 1e-8 and value >= highest - limits.rise - 1e-8
    return 0.0, (-1 if is_always_low or np.isnan(rise) else 0)


@kernel
def _coherence(
    acquired: tuple[int, Days, Days],
    values: tuple[Floats, Floats, Floats, Floats, NDArray[np.uint8]],
    limits: StrandLimits,
    result: tuple[Floats, Places, Codes],
) -> None:
    """Fill weights of coherence of each orbit."""
    begin, day, orbit = acquired
    coherence, rise, highest, least, flags = values
    weight, place, m5 = result
    n, c = coherence.shape
    best = np.empty(weight.shape[1])
    for p in range(n):
        best[:] = 0.0
        for i in range(c):
            if np.isnan(coherence[p, i]):
                continue
            o = orbit[i]
            own, marker = _pair_weight(coherence[p, i], rise[p, i], highest[p, o], least[p, o], flags[p, i], limits)
            last = (day[i] - begin) // 7
            for w in range(max(last - limits.tolerance, 0), last + 1):
                m5[p, w] = max(m5[p, w], marker)
                weight[p, w, o] = max(weight[p, w, o], own)
                if own > best[w]:
                    best[w], place[p, w] = own, i


@kernel
def _backscatter(
    acquired: tuple[int, Days, Days],
    values: tuple[Floats, Floats, Floats, Codes],
    limits: StrandLimits,
    result: tuple[Floats, Places, Codes, Codes],
) -> None:
    """Fill weights of backscatter of each orbit: it grows, lasts, and may be that of bare ground."""
    begin, day, orbit = acquired
    step, least, deviation, present = values
    weight, place, m3, m4 = result
    n, t = step.shape
    best = np.empty(weight.shape[1])
    for p in range(n):
        best[:] = 0.0
        for i in range(t):
            if present[p, i] < 0:
                continue
            o = orbit[i]
            grows = step[p, i] > least[p, o] + 1e-8
            own = 0.0
            if grows and present[p, i] == 1:
                own = limits.backscatter * _graded(step[p, i], least[p, o], deviation[p, o])
            last = (day[i] - begin) // 7
            for w in range(max(last - limits.tolerance, 0), last + 1):
                m4[p, w] = max(m4[p, w], present[p, i])
                if not np.isnan(step[p, i]):
                    m3[p, w] = max(m3[p, w], np.int8(grows))
                weight[p, w, o] = max(weight[p, w, o], own)
                if own > best[w]:
                    best[w], place[p, w] = own, i
