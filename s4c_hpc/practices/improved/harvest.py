"""The harvest: the week in which strands of evidence together say most, and how sure it is.

Strands are NDVI, and of every orbit coherence and backscatter. Markers of a harvest may lie ``tolerance_weeks`` apart: a
pair whose coherence rises ends a week after the field was cleared, so what belongs to a week is what was seen from it on.
NDVI that shows that nothing was lost leaves little of radar; radar that shows nothing takes a part of NDVI alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.codes import NO_DAY, Codes, Seen
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.optical import Loss
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season

OPTICAL: Final = 1
COHERENCE: Final = 2
BACKSCATTER: Final = 4
AGAINST: Final = 8
"""NDVI shows that nothing was lost."""
SILENT: Final = 16
"""Radar was there and shows nothing."""

VALUES: Final = (
    "ndvi_before",
    "ndvi_after",
    "ndvi_limit",
    "coherence_before",
    "coherence_after",
    "coherence_rise",
    "pair_days",
    "ratio_rise_db",
    "orbits",
    "rain_mm",
    "common_rise",
)
"""Evidence of a harvest, in the order of ``Harvest.values``; NDVI in thousandths."""

_N_VALUES: Final = len(VALUES)


class HarvestLimits(NamedTuple):
    """Thresholds and weights, as numbers that kernels take."""

    tolerance_days: int
    ripening_days: int
    rise: float
    rise_high: float
    level: float
    optical: float
    coherence: float
    backscatter: float
    doubt_share: float
    against_share: float
    silent_share: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """Of n parcels."""

    week: Days
    """(n,) Monday of the week that most speaks for; ``NO_DAY`` if nothing does."""
    confidence: Floats
    """(n,) of that week; NaN where nothing was observed when it may be harvested."""
    strands: NDArray[np.int8]
    """(n,) bits: which strands speak for it, and which against."""
    doubts: NDArray[np.uint8]
    """(n,) bits of ``Doubt`` of the rise of coherence that counts most."""
    markers: Codes
    """(n, 5) M1 to M5 of that week."""
    start: Days
    """(n,) last observation before the event."""
    end: Days
    """(n,) first one after it."""
    week_s1: Days
    """(n,) Monday of the week that radar alone finds; ``NO_DAY``."""
    values: NDArray[np.float32]
    """(n, VALUES)"""
    found: NDArray[np.bool_]
    """(n,) whether the confidence is enough."""


def harvest_limits(rules: PracticeRules, improved: ImprovedRules) -> HarvestLimits:
    """Thresholds of a harvest."""
    return HarvestLimits(
        tolerance_days=7 * improved.tolerance_weeks,
        ripening_days=improved.ripening_days,
        rise=rules.coherence_rise,
        rise_high=rules.coherence_rise_high,
        level=rules.coherence_level,
        optical=improved.weight_optical,
        coherence=improved.weight_coherence,
        backscatter=improved.weight_backscatter,
        doubt_share=improved.doubt_share,
        against_share=improved.against_share,
        silent_share=improved.silent_share,
        least=improved.least_confidence,
    )


def harvest(season: Season, loss: Loss, radar: Radar, declared: Declared, limits: HarvestLimits) -> Harvest:
    """The harvest of n parcels."""
    seen = season.seen
    n = len(seen.ndvi)
    week, start, end, week_s1 = (np.full(n, NO_DAY) for _ in range(4))
    confidence, values = np.full(n, np.nan), np.full((n, _N_VALUES), np.float32(np.nan))
    strands, doubts, markers = np.zeros(n, np.int8), np.zeros(n, np.uint8), np.full((n, 5), np.int8(-1))
    _harvests(
        (loss.calendar, declared.harvest_from, monday(declared.h_end)),
        (
            seen.ndvi_day,
            np.ascontiguousarray(seen.ndvi),
            loss.vegetation,
            loss.vegetation_day,
            loss.limit,
            loss.state,
            loss.look_before,
            loss.look_after,
        ),
        (
            seen.coherence_day,
            season.coherence_orbit,
            np.ascontiguousarray(seen.coherence),
            radar.rise,
            radar.level,
            radar.pair_before,
            radar.highest,
        ),
        (
            np.ascontiguousarray(season.doubts.flags),
            np.ascontiguousarray(season.doubts.rain_mm),
            np.ascontiguousarray(season.doubts.common),
        ),
        (
            seen.amplitude_day,
            season.amplitude_orbit,
            radar.step_db,
            radar.step_limit_db,
            radar.deviation_db,
            radar.present,
            radar.ratio_before,
        ),
        limits,
        (week, confidence, strands, doubts, markers, start, end, week_s1, values),
    )
    # Looks that show no vegetation at all leave nothing that could be harvested.
    bare = loss.vegetation == 0
    confidence[bare] = 0.0
    markers[bare] = (Seen.FALSE, Seen.NR, Seen.NR, Seen.NR, Seen.NR)
    return Harvest(
        week=week,
        confidence=confidence,
        strands=strands,
        doubts=doubts,
        markers=markers,
        start=start,
        end=end,
        week_s1=week_s1,
        values=values,
        found=confidence >= limits.least - 1e-9,
    )


@helper
def _graded(value: float, half: float, whole: float) -> float:
    """Share of a weight: half of it at one threshold, all of it at another, which is higher."""
    if whole <= half:
        return 1.0
    return 0.5 + 0.5 * min(max((value - half) / (whole - half), 0.0), 1.0)


@helper
def _coherence_weight(
    value: float, rise: float, highest: float, flags: int, limits: HarvestLimits
) -> tuple[float, float]:
    """Weight of a value of coherence, and its marker: 1, 0, or -1 if it tells nothing.

    Where coherence never reaches the level, being near its highest tells nothing: on fields of low coherence it always is.
    """
    if rise >= limits.rise - 1e-8:
        weight = limits.coherence * _graded(rise, limits.rise, limits.rise_high)
        return (weight * limits.doubt_share if flags else weight), 1.0
    if value >= limits.level - 1e-8:
        return 0.5 * limits.coherence, 1.0
    if highest < limits.level - 1e-8 and value >= highest - limits.rise - 1e-8:
        return 0.0, -1.0
    if np.isnan(rise):
        return 0.0, -1.0
    return 0.0, 0.0


@helper
def _pair_window(
    day: Days, before: NDArray[np.int16], rise: Floats, least: float, p: int, i: int
) -> tuple[np.int64, np.int64]:
    """Days between which the event was that a rise of coherence shows; the same day twice if it shows none.

    The pair before still saw the event, this one does not: it lies between the first days of both. Pairs are as long as
    the days between their ends.
    """
    if i < 0 or before[p, i] < 0 or not rise[p, i] >= least - 1e-8:
        return np.int64(0), np.int64(0)
    earlier = day[before[p, i]]
    return earlier - (day[i] - earlier), earlier


@helper
def _narrowed(start: int, end: int, low: int, high: int) -> tuple[int, int]:
    """What two windows have in common; the first one if that is nothing, the second one if the first is empty."""
    if start >= end:
        return low, high
    if max(start, low) < min(end, high):
        return max(start, low), min(end, high)
    return start, end


@helper
def _week_of(day: int, first: int, last: int) -> int:
    """Its Monday, within limits."""
    return min(max(day - (day - 4) % 7, first), last)


@kernel
def _harvests(
    time: tuple[Days, Days, Days],
    optical: tuple[Days, Floats, Codes, Days, Floats, Codes, NDArray[np.int16], NDArray[np.int16]],
    coherence_of: tuple[Days, Days, Floats, Floats, Floats, NDArray[np.int16], Floats],
    doubted: tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]],
    backscatter_of: tuple[Days, Days, Floats, Floats, Floats, Codes, NDArray[np.int16]],
    limits: HarvestLimits,
    result: tuple[Days, Floats, Codes, NDArray[np.uint8], Codes, Days, Days, Days, NDArray[np.float32]],
) -> None:
    """Fill the arrays of ``Harvest``."""
    calendar, first_week, last_week = time
    look_day, ndvi, vegetation, vegetation_day, ndvi_limit, state, look_before, look_after = optical
    pair_day, pair_orbit, coherence, rise, level, pair_before, highest = coherence_of
    flags, rain, common = doubted
    day, orbit, step, step_limit, deviation, present, ratio_before = backscatter_of
    week, confidence, strands, doubts, markers, start, end, week_s1, values = result
    n, m = state.shape
    n_orbits = highest.shape[1]
    for p in range(n):
        best_s1 = 0.0
        c_from = a_from = 0
        for w in range(m):
            monday_w = calendar[w]
            if monday_w < first_week[p] or monday_w > last_week[p]:
                continue
            until = monday_w + 6 + limits.tolerance_days
            # Vegetation has to be there before it can be lost; without NDVI this is not known.
            if vegetation[p] == 0 or (vegetation[p] == 1 and vegetation_day[p] > monday_w + 6):
                continue
            m1 = np.int8(1) if vegetation[p] == 1 else np.int8(-1)

            # NDVI.
            o_weight = 0.0
            o_at = -1
            n_stays = n_known = 0
            for v in range(w, min(w + limits.tolerance_days // 7 + 1, m)):
                s = state[p, v]
                if s != 0:
                    n_known += 1
                if s == -1:
                    n_stays += 1
                own = 0.0
                if s == 2:
                    own = limits.optical
                elif s == 1 and v == w:
                    since = calendar[v] - look_day[look_after[p, v]]
                    own = limits.optical if since <= limits.ripening_days else 0.5 * limits.optical
                if own > o_weight:
                    o_weight, o_at = own, v
            is_against = o_weight == 0.0 and n_known > 0 and n_stays == n_known
            m2 = np.int8(1) if o_weight > 0.0 else (np.int8(0) if n_known > 0 else np.int8(-1))

            # Radar, orbit by orbit.
            left = 1.0
            n_agree = 0
            best_c = best_b = 0.0
            c_at = b_at = -1
            m3 = m4 = m5 = np.int8(-1)
            while c_from < pair_day.size and pair_day[c_from] < monday_w:
                c_from += 1
            while a_from < day.size and day[a_from] < monday_w:
                a_from += 1
            for o in range(n_orbits):
                c_weight = b_weight = 0.0
                for i in range(c_from, pair_day.size):
                    if pair_day[i] > until:
                        break
                    if pair_orbit[i] != o or np.isnan(coherence[p, i]):
                        continue
                    own, marker = _coherence_weight(coherence[p, i], rise[p, i], highest[p, o], flags[p, i], limits)
                    m5 = max(m5, np.int8(marker))
                    if own > c_weight:
                        c_weight = own
                        if own > best_c:
                            best_c, c_at = own, i
                for i in range(a_from, day.size):
                    if day[i] > until:
                        break
                    if orbit[i] != o or present[p, i] < 0:
                        continue
                    m4 = max(m4, present[p, i])
                    if np.isnan(step[p, i]):
                        continue
                    is_step = step[p, i] > step_limit[p, o] + 1e-8
                    m3 = max(m3, np.int8(is_step))
                    if is_step and present[p, i] == 1:
                        own = limits.backscatter * _graded(step[p, i], step_limit[p, o], deviation[p, o])
                        if own > b_weight:
                            b_weight = own
                            if own > best_b:
                                best_b, b_at = own, i
                left *= (1.0 - c_weight) * (1.0 - b_weight)
                if c_weight > 0.0 or b_weight > 0.0:
                    n_agree += 1

            of_radar = 1.0 - left
            c_start, c_end = _pair_window(pair_day, pair_before, rise, limits.rise, p, c_at)
            b_start, b_end = monday_w, monday_w
            if b_at >= 0 and ratio_before[p, b_at] >= 0:
                b_start, b_end = day[ratio_before[p, b_at]], day[b_at]
            if of_radar > best_s1 + 1e-12 and of_radar >= limits.least - 1e-9:
                best_s1 = of_radar
                _, r_end = _narrowed(c_start, c_end, b_start, b_end)
                week_s1[p] = _week_of(r_end if r_end > 0 else monday_w, first_week[p], last_week[p])
            if m2 == -1 and m3 == -1 and m5 == -1:
                continue
            total = 1.0 - (1.0 - o_weight) * left
            bits = 0
            if o_weight > 0.0:
                bits |= 1
            if best_c > 0.0:
                bits |= 2
            if best_b > 0.0:
                bits |= 4
            if is_against:
                total *= limits.against_share
                bits |= 8
            if o_weight > 0.0 and of_radar == 0.0 and (m5 == 0 or (m3 == 0 and m5 == -1)):
                total *= limits.silent_share
                bits |= 16
            if not np.isnan(confidence[p]) and total <= confidence[p] + 1e-12:
                continue

            confidence[p] = total
            strands[p] = bits
            markers[p, 0], markers[p, 1], markers[p, 2], markers[p, 3], markers[p, 4] = m1, m2, m3, m4, m5
            doubts[p] = 0
            for v in range(values.shape[1]):
                values[p, v] = np.nan
            values[p, 2] = ndvi_limit[p]
            values[p, 8] = n_agree
            begin, finish = np.int64(0), np.int64(0)
            # NDVI dates the event if it saw it, radar narrows that; a strand that does not overlap does not count.
            if o_at >= 0:
                h, i = look_before[p, o_at], look_after[p, o_at]
                values[p, 0], values[p, 1] = ndvi[p, h], ndvi[p, i]
                if state[p, o_at] == 2:
                    begin, finish = look_day[h], look_day[i]
            if c_at >= 0:
                values[p, 3], values[p, 4], values[p, 5] = level[p, c_at], coherence[p, c_at], rise[p, c_at]
                values[p, 9], values[p, 10] = rain[p, c_at], common[p, c_at]
                doubts[p] = flags[p, c_at]
                if pair_before[p, c_at] >= 0:
                    values[p, 6] = pair_day[c_at] - pair_day[pair_before[p, c_at]]
            if b_at >= 0:
                values[p, 7] = step[p, b_at]
            begin, finish = _narrowed(begin, finish, c_start, c_end)
            begin, finish = _narrowed(begin, finish, b_start, b_end)
            if begin >= finish:
                begin, finish = monday_w, until
            start[p], end[p] = begin, finish
            week[p] = _week_of(finish, first_week[p], last_week[p])
