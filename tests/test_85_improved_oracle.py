"""Harvests by the improved rules are those of the same rules in plain loops, and what has to hold of any of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.improved import WEIGHTS, judge_all, random_improved, weights
from support.improved_oracle import harvest_of
from support.practices import LOOSE, random_declared, rules

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.practices.codes import Practice
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.confidence import combined, grade
from s4c_hpc.practices.improved.harvest import Harvest, harvest
from s4c_hpc.practices.improved.optical import optical_loss
from s4c_hpc.practices.improved.radar import radar_changes, radar_limits
from s4c_hpc.practices.improved.season import Season

SEEDS = st.integers(0, 10_000)
N = 30


def found_in(
    season: Season, seed: int, own: PracticeRules = LOOSE, improved: ImprovedRules = WEIGHTS
) -> tuple[Harvest, Declared]:
    """Harvests of made parcels and what is declared of them."""
    declared = random_declared(len(season.seen.ndvi), seed, Practice.NA, "")
    radar = radar_changes(season, radar_limits(own, improved))
    loss = optical_loss(season, declared, own, improved)
    return harvest(season, loss, radar, declared, own, improved), declared


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, missing=st.sampled_from([0.0, 0.3, 0.7, 0.95]), tolerance=st.integers(0, 2))
def test_harvests_equal_the_rules_in_plain_loops(seed: int, missing: float, tolerance: int) -> None:
    season = random_improved(N, seed, missing=missing)
    own, improved = rules(backscatter_loss_divisor=3), weights(tolerance_weeks=tolerance)
    found, declared = found_in(season, seed, own, improved)
    for p in range(N):
        expected = harvest_of(season, p, declared, own, improved)
        if expected is None:
            assert np.isnan(found.confidence[p]) or found.confidence[p] == 0
            continue
        assert found.confidence[p] == pytest.approx(expected.confidence, abs=1e-9)
        assert found.week[p] == expected.monday
        assert (found.start[p], found.end[p]) == expected.window
        assert found.markers[p].tolist() == expected.markers


def test_made_seasons_have_harvests_and_fields_without() -> None:
    """What is compared above differs between parcels."""
    found, _ = found_in(random_improved(200, 1), 1)
    assert 50 < found.found.sum() < 200
    assert len(np.unique(np.round(found.confidence, 3))) > 20
    assert len(np.unique(found.strands)) > 5


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_doubts_never_make_it_surer(seed: int) -> None:
    season = random_improved(N, seed)
    clear = replace(season, doubts=replace(season.doubts, flags=np.zeros_like(season.doubts.flags)))
    doubtful = replace(season, doubts=replace(season.doubts, flags=np.full_like(season.doubts.flags, 2)))
    sure, less = found_in(clear, seed)[0], found_in(doubtful, seed)[0]
    known = ~np.isnan(sure.confidence)
    assert (less.confidence[known] <= sure.confidence[known] + 1e-9).all()
    assert (less.confidence[known & (sure.confidence > 0.2)] > 0).all(), "nothing is deleted"
    assert not sure.doubts.any()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_another_orbit_that_agrees_never_makes_it_less_sure(seed: int) -> None:
    season = random_improved(N, seed)
    one = np.zeros_like(season.amplitude_orbit)
    single = season.seen.coherence_day % 6 == season.seen.coherence_day[0] % 6
    seen = season.seen
    alone = replace(
        season,
        seen=replace(
            seen,
            ratio_db=np.where(single, seen.ratio_db, np.nan),
            coherence=np.where(single, seen.coherence, np.nan),
        ),
        amplitude_orbit=one,
        coherence_orbit=one,
    )
    # The same values again, as another orbit on the same days.
    shifted = (single[:-1] & ~single[1:]).nonzero()[0]
    ratio, coherence, flags = alone.seen.ratio_db.copy(), alone.seen.coherence.copy(), season.doubts.flags.copy()
    day, orbit = seen.coherence_day.copy(), one.copy()
    for i in shifted:
        ratio[:, i + 1], coherence[:, i + 1], flags[:, i + 1] = ratio[:, i], coherence[:, i], flags[:, i]
        day[i + 1], orbit[i + 1] = day[i], 1
    both = replace(
        alone,
        seen=replace(alone.seen, ratio_db=ratio, coherence=coherence, amplitude_day=day, coherence_day=day),
        amplitude_orbit=orbit,
        coherence_orbit=orbit,
        doubts=replace(season.doubts, flags=flags),
    )
    first, second = found_in(alone, seed)[0], found_in(both, seed)[0]
    known = ~np.isnan(first.confidence)
    assert (second.confidence[known] >= first.confidence[known] - 1e-9).all()


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, practice=st.sampled_from(list(Practice)), country=st.sampled_from(["", "CZE", "ESP", "LTU", "ROU"]))
def test_what_is_said_is_in_its_range_and_of_no_other_parcel(seed: int, practice: Practice, country: str) -> None:
    season, declared = random_improved(N, seed), random_declared(N, seed, practice, country)
    own = rules(tillage=True)
    columns, decisions = judge_all(season, declared, own)
    for name in ("H_CONF", "C_CONF", "MOW_CONF", "TL_CONF"):
        values = columns[name][np.isfinite(columns[name].astype(float))]
        assert ((values >= 0) & (values <= 1)).all()
    for one in decisions:
        undecided = one.verdict == "undecided"
        assert (np.isnan(one.confidence) == undecided).all()
        assert all(one.reason)
        dated = one.start >= 0
        assert (one.end[dated] >= one.start[dated]).all()
    start, end = (columns[name].astype(np.int64) for name in ("H_EVENT_START", "H_EVENT_END"))
    assert (start[start > 0] < end[start > 0]).all()
    assert ((start > 0) == (end > 0)).all()
    rows = np.arange(N) % 3 == seed % 3
    part, _ = judge_all(season.of(rows), declared.of(rows), own)
    for name, values in columns.items():
        np.testing.assert_array_equal(values[rows], part[name], err_msg=name)
        assert values.dtype == part[name].dtype


@given(st.lists(st.floats(0, 0.99), min_size=1, max_size=5))
def test_strands_together(given_weights: list[float]) -> None:
    found = float(combined(*[np.array(one) for one in given_weights]))
    assert max(given_weights) - 1e-12 <= found <= 1
    assert found == pytest.approx(float(combined(*[np.array(one) for one in reversed(given_weights)])))
    assert float(combined(np.array(np.nan), *[np.array(one) for one in given_weights])) == pytest.approx(found)


def test_strong_needs_two_orbits_or_one_and_ndvi() -> None:
    """The default weights keep what the grades promise."""
    orbit = combined(WEIGHTS.weight_coherence, WEIGHTS.weight_backscatter)
    single = np.array([WEIGHTS.weight_optical, float(orbit), float(combined(WEIGHTS.weight_coherence))])
    assert (single < WEIGHTS.strong_confidence).all()
    double = np.array([combined(orbit, orbit), combined(WEIGHTS.weight_optical, orbit)])
    assert (double >= WEIGHTS.strong_confidence).all()
    assert grade(np.array([0.7, 0.5, 0.3, 0.29, np.nan]), WEIGHTS).tolist() == [4, 3, 2, 1, -3]
