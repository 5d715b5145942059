"""Cover, tillage and mowing by the improved rules against the same in plain loops; fallow land of two countries."""

from __future__ import annotations

import math
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.improved import WEIGHTS, random_improved, said
from support.practices import LOOSE, NDVI, Parcel, random_declared, rules

from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.practices.codes import Index, Practice, Seen
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.improved.cover import Cover, CoverLimits, cover, cover_limits
from s4c_hpc.practices.improved.mowing import mowing
from s4c_hpc.practices.improved.radar import Radar, radar_changes, radar_limits
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.improved.tillage import tillage

SEEDS = st.integers(0, 10_000)
N = 25
LIMITS = cover_limits(LOOSE)


def changes(season: Season) -> Radar:
    return radar_changes(season, radar_limits(LOOSE, WEIGHTS))


def looks_of(season: Season, p: int) -> list[tuple[int, float]]:
    """NDVI of a parcel."""
    seen = season.seen
    return [(int(d), float(v)) for d, v in zip(seen.ndvi_day, seen.ndvi[p], strict=True) if not np.isnan(v)]


def pairs_of(season: Season, radar: Radar, p: int, orbit: int) -> list[tuple[int, float, float, float, int]]:
    """Day, coherence, rise, level before and flags of an orbit."""
    seen = season.seen
    return [
        (
            int(seen.coherence_day[i]),
            float(seen.coherence[p, i]),
            float(radar.rise[p, i]),
            float(radar.level[p, i]),
            int(season.doubts.flags[p, i]),
        )
        for i in range(seen.coherence_day.size)
        if season.coherence_orbit[i] == orbit and not np.isnan(seen.coherence[p, i])
    ]


def together(codes: list[bool]) -> int:
    """One code of a period."""
    return int(all(codes)) if codes else -1


def optical_codes(
    looks: list[tuple[int, float]], first: int, last: int, emerged: int, limits: CoverLimits
) -> list[int]:
    """M6 to M8."""
    inside = [look for look in looks if first <= look[0] <= last]
    m6, m7, m8 = [value >= limits.green for _, value in inside], [], []
    drops: list[float] = []
    for k, (day, value) in enumerate(inside):
        before = inside[k - 1][1] if k else None
        drop = before is not None and value < min(before, limits.up)
        if drop:
            drops.append(value)
        if day >= first + emerged:
            m7.append((value >= limits.green or (before is not None and not drop)) and value >= limits.least)
        if before is not None:
            bare = limits.up
            if max(v for _, v in inside[: k + 1]) < limits.down or (drops and min(drops) < limits.down):
                bare = limits.down
            elif drops:
                bare = limits.step * math.ceil(min(drops) / limits.step)
            m8.append(not (drop and value <= bare))
    seen = -1 if not m6 else int(any(m6))
    if emerged and not m7 and seen == 0:
        seen = -1
    return [seen, together(m7), together(m8)]


def quiet_weeks(season: Season, radar: Radar, p: int, first: int, last: int, limits: CoverLimits) -> int:
    """Longest run of weeks with coherence and without a loss."""
    every = sorted(pair for orbit in (0, 1) for pair in pairs_of(season, radar, p, orbit) if first <= pair[0] <= last)
    weeks = []
    for _, own in groupby(every, key=lambda pair: (pair[0] - 4) // 7):
        weeks.append(not any((r >= limits.rise and not f) or c >= limits.level for _, c, r, _, f in own))
    return max((len(list(run)) for calm, run in groupby(weeks) if calm), default=0)


def cover_of(season: Season, radar: Radar, first: Days, last: Days) -> Cover:
    return cover(season, radar, first, last, LIMITS, emerged=21, settled=14)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, missing=st.sampled_from([0.1, 0.5, 0.9]))
def test_cover_equals_the_rules_in_plain_loops(seed: int, missing: float) -> None:
    season, declared = random_improved(N, seed, missing=missing), random_declared(N, seed, Practice.FALLOW, "")
    radar, first, last = changes(season), declared.p_start, declared.p_end
    found = cover_of(season, radar, first, last)
    for p in range(N):
        a, b = int(first[p]), int(last[p])
        looks = looks_of(season, p)
        assert [found.m6[p], found.m7[p], found.m8[p]] == optical_codes(looks, a, b, 21, LIMITS)
        settled = [[q for q in pairs_of(season, radar, p, o) if a + 14 <= q[0] <= b] for o in (0, 1)]
        lost = [any((r >= LIMITS.rise and not f) or c >= LIMITS.level for _, c, r, _, f in own) for own in settled]
        assert found.m10[p] == together([not x for own, x in zip(settled, lost, strict=True) if own])
        watched = [x for own, x in zip(settled, lost, strict=True) if len(own) >= 3]
        assert (found.orbits[p], found.orbits_with_loss[p]) == (len(watched), sum(watched))
        assert found.quiet_weeks[p] == quiet_weeks(season, radar, p, a, b, LIMITS)
        assert found.m9[p] == m9_of(season, p, a, b)


def m9_of(season: Season, p: int, first: int, last: int) -> int:
    """M9 by SciPy's regression around every acquisition of every orbit."""
    seen, known = season.seen, []
    for orbit in (0, 1):
        own = [
            (int(d), float(v))
            for d, v, o in zip(seen.amplitude_day, seen.ratio_db[p], season.amplitude_orbit, strict=True)
            if o == orbit and not np.isnan(v) and first <= d <= last + 7
        ]
        for day, _ in own:
            near = [one for one in own if abs(one[0] - day) <= 17]
            if len(near) >= 3:
                fit = stats.linregress(*zip(*near, strict=True))
                known.append(not (fit.slope >= LIMITS.slope_db and fit.pvalue < 0.05))
    return together(known)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_tillage_equals_the_rules_in_plain_loops(seed: int) -> None:
    season = random_improved(N, seed)
    radar = changes(season)
    rng = np.random.default_rng(seed)
    after = 18750 + rng.integers(0, 100, N)
    after[0] = -1
    until = np.full(N, 18960)
    found = tillage(season, radar, after, until, LOOSE, WEIGHTS)
    assert np.isnan(found.confidence[0])
    for p in range(1, N):
        looks = [look for look in looks_of(season, p) if after[p] < look[0] <= until[p]]
        green = next((day for day, value in looks if value > LOOSE.ndvi_vegetation), int(until[p]) + 1)
        is_bare = any(day < green for day, _ in looks)
        left, falls, n_seen = 1.0, [], 0
        for orbit in (0, 1):
            own = pairs_of(season, radar, p, orbit)
            for k, (a, b) in enumerate(pairwise(own)):
                if a[0] <= after[p] or b[0] >= green or b[0] > until[p] or np.isnan(b[3]):
                    continue
                n_seen += 1
                if b[3] - b[1] >= WEIGHTS.tillage_fall - 1e-8:
                    lasts = k + 2 >= len(own) or b[3] - own[k + 2][1] >= WEIGHTS.tillage_fall / 2
                    weight = WEIGHTS.weight_coherence * (1 if lasts else 0.5) * (WEIGHTS.doubt_share if b[4] else 1)
                    left *= 1 - weight
                    falls.append((b[0], a[0]))
                    break
        if falls:
            end, start = min(falls)
            assert found.confidence[p] == pytest.approx(1 - left * (1 - WEIGHTS.weight_bare if is_bare else 1))
            assert found.end[p] == end
            assert start <= found.start[p] < end or len(falls) > 1
        elif n_seen or green <= until[p]:
            assert found.confidence[p] == 0
            assert found.green_first[p] == (green <= until[p])
        else:
            assert np.isnan(found.confidence[p])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_mowing_equals_the_rules_in_plain_loops(seed: int) -> None:
    season = random_improved(N, seed)
    radar = changes(season)
    rng = np.random.default_rng(seed)
    # Meadows go up and down more often than the crops of these seasons.
    season.seen.ndvi[:] = np.where(np.isnan(season.seen.ndvi), np.nan, rng.integers(200, 800, season.seen.ndvi.shape))
    first, last = np.full(N, 18740), np.full(N, 18900)
    found = mowing(season, radar, first, last, LOOSE, WEIGHTS)
    for p in range(N):
        looks = looks_of(season, p)
        cuts = []
        inside = [look for look in looks if first[p] <= look[0] <= last[p]]
        for a, b in pairwise(inside):
            later = [look for look in looks if b[0] < look[0] <= b[0] + WEIGHTS.mowing_regrowth_days]
            back = next((k for k, look in enumerate(later) if look[1] - b[1] >= WEIGHTS.mowing_regrowth), None)
            is_cut = a[1] > LOOSE.ndvi_vegetation and a[1] - b[1] >= WEIGHTS.mowing_fall and b[1] >= WEIGHTS.mowing_bare
            if not is_cut or back is None or any(v < WEIGHTS.mowing_bare for _, v in later[:back]):
                continue
            left = 1 - WEIGHTS.weight_optical
            for orbit in (0, 1):
                own = [q for q in pairs_of(season, radar, p, orbit) if a[0] < q[0] <= b[0] + 12]
                rises = [WEIGHTS.doubt_share if q[4] else 1 for q in own if q[2] >= LOOSE.coherence_rise - 1e-8]
                left *= 1 - WEIGHTS.weight_coherence / 2 * max(rises, default=0)
            cuts.append((1 - left, a[0], b[0]))
        if cuts:
            best = max(cuts, key=lambda cut: round(cut[0], 9))
            assert found.confidence[p] == pytest.approx(best[0])
            assert (found.start[p], found.end[p]) == best[1:]
        else:
            assert found.confidence[p] == 0 if len(inside) > 1 else np.isnan(found.confidence[p])


class TestFallowLandOfCountries:
    """The countries' decisions on better facts."""

    GREEN = Parcel(
        ratio=[8.0] * 22,
        coherence=[0.3] * 21,
        practice=Practice.FALLOW,
        country="CZE",
        p_start="05-03",
        p_end="08-25",
        ndvi={**NDVI, "07-22": 620, "07-30": 600, "08-10": 580, "08-25": 560},
    )
    CZECH = rules(practice_ndvi=400, loss_from="06-04", loss_to="08-31")

    def test_czech_cover_has_to_go(self) -> None:
        stays = said(self.GREEN, rules=self.CZECH)
        goes = said(self.GREEN.with_ndvi(d08_10=250, d08_25=200), rules=self.CZECH)
        assert (stays["M8"], goes["M8"]) == (Seen.TRUE, Seen.FALSE)
        assert stays["C_INDEX"] == Index.MODERATE
        assert goes["C_CONF"] > stays["C_CONF"] or goes.decisions["harvest"]["verdict"] == "found"
        assert goes.decisions["fallow"]["reason"].startswith("the cover went in its time")

    def test_without_cover_it_is_poor(self) -> None:
        found = said(self.GREEN.capped(390), rules=self.CZECH)
        assert found["C_INDEX"] == Index.POOR
        assert found.decisions["fallow"]["reason"] == "no cover was seen"

    def test_black_land_of_lithuania_has_to_be_worked(self) -> None:
        quiet = self.GREEN.but(country="LTU", p_type="PDJ")
        worked = list(quiet.coherence)
        worked[4] = worked[9] = worked[14] = 0.6
        left = said(quiet)
        done = said(quiet.but(coherence=worked))
        assert (left["M10"], done["M10"]) == (Seen.TRUE, Seen.FALSE)
        assert left["C_INDEX"] == Index.WEAK
        assert done["C_CONF"] > left["C_CONF"]
        assert left["M6"] == Seen.NR

    def test_rain_does_not_work_the_ground(self) -> None:
        quiet = self.GREEN.but(country="LTU", p_type="PDJ")
        wet = list(quiet.coherence)
        wet[4] = wet[9] = wet[14] = 0.6
        flags = [Doubt.COMMON if value == 0.6 else 0 for value in wet]
        assert said(quiet.but(coherence=wet), flags=flags)["M10"] == Seen.TRUE
