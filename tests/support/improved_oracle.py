"""The harvest of one parcel by the improved rules, in plain loops, written from their description."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.season import Season

EPSILON = 1e-8


@dataclass
class Pair:
    """A coherence and what it says."""

    day: int
    weight: float
    marker: int
    window: tuple[int, int] | None


@dataclass
class Step:
    """A backscatter and what it says."""

    day: int
    weight: float
    loss: int
    bare: int
    window: tuple[int, int] | None


@dataclass
class Week:
    """What is known of a week."""

    monday: int
    confidence: float
    markers: list[int]
    window: tuple[int, int] | None = None
    radar: float = 0.0


@dataclass
class Optical:
    """NDVI of a season."""

    looks: list[tuple[int, float]]
    bare: float = 0.0
    limit: float = 0.0
    first_green: int | None = None
    dropped: bool = False
    states: dict[int, tuple[int, tuple[int, int] | None]] = field(default_factory=dict)
    """By Monday: 2 falls, 1 low, -1 stays; days of the looks of the loss."""


def monday(day: int) -> int:
    return day - (day - 4) % 7


def graded(value: float, half: float, whole: float) -> float:
    return 1.0 if whole <= half else 0.5 + 0.5 * min(max((value - half) / (whole - half), 0), 1)


def usual_of(values: list[float]) -> float:
    """Standard deviation of changes by their median."""
    changes = [abs(b - a) for a, b in itertools.pairwise(values)]
    return statistics.median(changes) / 0.6745 if len(changes) > 4 else 0.0


def confirmed(values: list[float], k: int) -> float:
    """What the next two values confirm."""
    after = values[k : k + 3]
    return min(after[0], statistics.median(after) if len(after) == 3 else min(after))


def pairs_of(season: Season, p: int, orbit: int, rules: PracticeRules, w: ImprovedRules) -> list[Pair]:
    """What each coherence of an orbit says."""
    seen = season.seen
    columns = [
        i
        for i in range(seen.coherence_day.size)
        if season.coherence_orbit[i] == orbit and not np.isnan(seen.coherence[p, i])
    ]
    values = [(int(seen.coherence_day[i]), float(seen.coherence[p, i])) for i in columns]
    highest = max((value for _, value in values), default=math.nan)
    least = max(rules.coherence_rise, w.usual_share * usual_of([value for _, value in values]))
    found = []
    since = 0
    for k, (day, value) in enumerate(values):
        rise, window = math.nan, None
        if k > 0 and day - values[k - 1][0] > w.max_pair_days:
            since = k
        elif k > 0:
            earlier = [v for _, v in values[max(since, k - 3) : k]]
            gap = day - values[k - 1][0]
            rise = max(confirmed([v for _, v in values], k) - max(earlier[-1], statistics.median(earlier)), 0)
            rise /= max(gap / w.pair_days, 1) ** w.pair_exponent
            window = (values[k - 1][0] - gap, day - min(gap, int(w.pair_days)))
        if rise >= least - EPSILON:
            weight = w.weight_coherence * graded(rise, least, max(rules.coherence_rise_high, 2 * least))
            weight *= w.doubt_share if season.doubts.flags[p, columns[k]] else 1
            found.append(Pair(day, weight, 1, window))
        elif value >= rules.coherence_level - EPSILON:
            found.append(Pair(day, w.weight_coherence / 2, 1, None))
        else:
            low = highest < rules.coherence_level - EPSILON and value >= highest - rules.coherence_rise - EPSILON
            found.append(Pair(day, 0, -1 if low or math.isnan(rise) else 0, None))
    return found


def steps_of(season: Season, p: int, orbit: int, rules: PracticeRules, w: ImprovedRules) -> list[Step]:
    """What each backscatter of an orbit says."""
    seen = season.seen
    values = [
        (int(seen.amplitude_day[i]), float(seen.ratio_db[p, i]), float(seen.vv_db[p, i]))
        for i in range(seen.amplitude_day.size)
        if season.amplitude_orbit[i] == orbit and not np.isnan(seen.ratio_db[p, i])
    ]
    quiet = [ratio for _, ratio, vv in values if vv <= rules.max_vv_db]
    if len(quiet) < 2:
        return []
    mean, spread = statistics.fmean(quiet), statistics.stdev(quiet)
    usual = w.usual_share * usual_of([ratio for _, ratio, _ in values])
    limit = max(spread / rules.backscatter_loss_divisor, rules.backscatter_loss_db, usual)
    level = mean - (spread / rules.backscatter_presence_divisor if rules.backscatter_presence_deviation else 0)
    found, since = [], 0
    for k, (day, ratio, _) in enumerate(values):
        bare = ratio > level + EPSILON
        loss, weight, window = -1, 0.0, None
        if k == 0 or day - values[k - 1][0] > w.max_pair_days:
            since = k
        else:
            window = (values[k - 1][0], day)
            if k - since >= 3:
                step = confirmed([one[1] for one in values], k) - max(
                    values[k - 1][1], statistics.fmean(one[1] for one in values[k - 3 : k])
                )
                loss = int(step > limit + EPSILON)
                if loss and bare:
                    weight = w.weight_backscatter * graded(step, limit, spread)
        found.append(Step(day, weight, loss, int(bare), window))
    return found


def limits_of(
    inside: list[tuple[int, float]], first_green: int | None, rules: PracticeRules
) -> tuple[float, float, bool]:
    """NDVI of bare ground, the same widened, and whether NDVI dropped to it."""
    green = [look for look in inside if first_green is not None and look[0] >= first_green]
    drops = [b[1] for a, b in itertools.pairwise(inside) if b[1] < min(a[1], rules.ndvi_up) and b in green]
    highest = max((value for _, value in inside), default=math.nan)
    bare: float = rules.ndvi_up
    if highest < rules.ndvi_down or (drops and min(drops) < rules.ndvi_down):
        bare = rules.ndvi_down
    elif drops:
        bare = rules.ndvi_step * math.ceil((min(drops) - EPSILON) / rules.ndvi_step)
    wider = max(math.floor((highest - bare) / rules.ndvi_buffer_divisor + 0.5), 0) if len(green) > 1 else 0
    return bare, bare + wider, bool(drops)


def optical_of(season: Season, p: int, declared: Declared, rules: PracticeRules, w: ImprovedRules) -> Optical:
    """Limits and states of weeks."""
    seen = season.seen
    begin, end = int(declared.first_week[p]), monday(int(declared.h_end[p])) + 6
    own = Optical(
        [
            (int(seen.ndvi_day[i]), float(seen.ndvi[p, i]))
            for i in range(seen.ndvi_day.size)
            if not np.isnan(seen.ndvi[p, i]) and seen.ndvi_day[i] >= begin
        ]
    )
    inside = [look for look in own.looks if look[0] <= end]
    own.first_green = next((day for day, value in inside if value > rules.ndvi_vegetation), None)
    own.bare, own.limit, own.dropped = limits_of(inside, own.first_green, rules)
    lost: tuple[int, int] | None = None
    for (a_day, a), (b_day, b) in itertools.pairwise(own.looks):
        can = own.dropped and own.first_green is not None and a_day >= own.first_green
        falls = lost is None and can and b_day >= declared.harvest_from[p]
        falls = falls and b < own.limit and a > own.bare and a > rules.ndvi_before_loss and a > b
        if falls:
            lost = (a_day, b_day)
        elif b >= own.limit:
            lost = None
        state = 2 if falls else 1 if lost else -1 if b_day - a_day <= 2 * w.near_days else 0
        for at in range(monday(a_day + 1), b_day + 1, 7):
            before = own.states.get(at, (0, None))
            if state > max(before[0], 0) or (state == -1 and before[0] == 0):
                own.states[at] = (state, lost)
    if lost and own.looks:
        latest = own.looks[-1][0]
        for at in range(monday(latest) + 7, monday(latest + w.near_days) + 1, 7):
            own.states[at] = (1, lost)
    return own


def narrowed(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    if one is None or other is None:
        return one or other
    both = max(one[0], other[0]), min(one[1], other[1])
    return both if both[0] < both[1] else one


def week_of(
    at: int,
    optical: Optical,
    pairs: list[list[Pair]],
    steps: list[list[Step]],
    w: ImprovedRules,
) -> Week | None:
    """Confidence, markers and window of a week; ``None`` where nothing was seen."""
    until = at + 6 + 7 * w.tolerance_weeks
    states = {v: optical.states.get(v, (0, None)) for v in range(at, until, 7)}
    o_weight, o_window = 0.0, None
    falls = [v for v, (state, _) in states.items() if state == 2]
    if falls:
        o_weight, o_window = w.weight_optical, states[falls[0]][1]
    elif states[at][0] == 1:
        lost = states[at][1]
        assert lost is not None
        o_weight = w.weight_optical * (1 if at - lost[1] <= w.ripening_days else 0.5)
    known = [state for state, _ in states.values() if state != 0]
    m2 = -1 if not known else int(o_weight > 0)
    near_pairs = [[one for one in orbit if at <= one.day <= until] for orbit in pairs]
    near_steps = [[one for one in orbit if at <= one.day <= until] for orbit in steps]
    m5 = max((one.marker for orbit in near_pairs for one in orbit), default=-1)
    m3 = max((one.loss for orbit in near_steps for one in orbit), default=-1)
    m4 = max((one.bare for orbit in near_steps for one in orbit), default=-1)
    left = 1.0
    for orbit in (*near_pairs, *near_steps):
        left *= 1 - max((one.weight for one in orbit), default=0.0)  # type: ignore[attr-defined]
    total = 1 - (1 - o_weight) * left
    if known and all(state == -1 for state in known):
        total *= w.against_share
    if o_weight > 0 and left == 1 and (m5 == 0 or (m5 == -1 and m3 == 0)):
        total *= w.silent_share

    def strongest(orbits: Any) -> tuple[int, int] | None:
        best, window = 0.0, None
        for one in sorted((one for orbit in orbits for one in orbit), key=lambda one: one.day):
            if one.weight > best:
                best, window = one.weight, one.window
        return window

    window = narrowed(o_window, narrowed(strongest(near_pairs), strongest(near_steps)))
    if m2 == m3 == m5 == -1:
        return None
    return Week(at, total, [m2, m3, m4, m5], window, 1 - left)


def harvest_of(season: Season, p: int, declared: Declared, rules: PracticeRules, w: ImprovedRules) -> Week | None:
    """The best week of a parcel; ``None`` where nothing was seen when it may be harvested."""
    optical = optical_of(season, p, declared, rules, w)
    pairs = [pairs_of(season, p, o, rules, w) for o in range(season.n_orbits)]
    steps = [steps_of(season, p, o, rules, w) for o in range(season.n_orbits)]
    first, last = int(declared.harvest_from[p]), monday(int(declared.h_end[p]))
    begin = int(declared.first_week[p])
    n_looks = sum(begin <= day <= last + 6 for day, _ in optical.looks)
    best: Week | None = None
    for at in range(first, last + 1, 7):
        if optical.first_green is None and n_looks >= w.least_looks:
            continue
        if optical.first_green is not None and optical.first_green > at + 6:
            continue
        found = week_of(at, optical, pairs, steps, w)
        if found is not None and (best is None or found.confidence > best.confidence + 5e-10):
            best = found
    if best is not None:
        best.markers = [-1 if optical.first_green is None else 1, *best.markers]
        best.window = best.window or (best.monday, best.monday + 6 + 7 * w.tolerance_weeks)
        best.monday = min(max(monday(best.window[1]), first), last)
    return best
