"""Our mowing detector: what it takes for a mowing, what it does not, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s4c_hpc.config.mowing import ImprovedRules
from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.mowing.detector import Detected, detected
from s4c_hpc.mowing.reference import Orbit
from s4c_hpc.mowing.windows import FUSED, S2
from s4c_hpc.series.looks import dips, looks_of

DAYS = np.arange(100.0, 300.0, 5.0)
SEASON = (91.0, 304.0)
RULES = ImprovedRules()
CUTS = (150, 220)


def meadow(*cuts: int, days: NDArray[np.float64] = DAYS) -> NDArray[np.float64]:
    """(1, t) NDVI of .85 that falls to .45 at each cut and is back after 40 days."""
    ndvi = np.full(days.size, 0.85)
    for cut in cuts:
        after = days >= cut
        ndvi[after] = np.minimum(ndvi[after], 0.45 + 0.01 * (days[after] - cut))
    return ndvi[None]


def found(ndvi: NDArray[np.float64], orbits: tuple[Orbit, ...] = (), rules: ImprovedRules = RULES) -> Detected:
    return detected(ndvi, DAYS, orbits, SEASON, rules)


def spans(made: Detected) -> list[tuple[float, float]]:
    there = made.windows.there[0]
    return list(zip(made.windows.start[0][there].tolist(), made.windows.end[0][there].tolist(), strict=True))


def test_cuts_are_found_between_the_looks_around_them() -> None:
    assert spans(found(meadow(*CUTS))) == [(145, 150), (215, 220)]


def test_an_uncut_meadow_and_one_that_dries_out_have_none() -> None:
    assert spans(found(meadow())) == []
    drying = 0.85 - 0.45 * (DAYS - DAYS[0])[None] / (DAYS[-1] - DAYS[0])
    assert spans(found(drying)) == []


@pytest.mark.parametrize("depth", [0.2, 0.4, 0.6])
def test_a_cloud_of_one_date_is_no_mowing(depth: float) -> None:
    ndvi = meadow()
    ndvi[0, 12] -= depth
    assert spans(found(ndvi)) == []
    assert dips(looks_of(ndvi, DAYS), RULES)[0].nonzero()[0].tolist() == [12]


def test_a_cut_that_regrows_quickly_is_no_cloud() -> None:
    # A real one (SALMS, parcel 2 of 2020): .82, .53 five days later, .72 after ten more: .019 a day.
    days, ndvi = np.array([153.0, 163.0, 168.0, 178.0, 188.0]), np.array([[0.81, 0.82, 0.53, 0.72, 0.81]])
    assert not dips(looks_of(ndvi, days), RULES).any()
    assert dips(looks_of(ndvi, days), RULES.model_copy(update={"dip_rate": 0.0})).any()
    made = detected(ndvi, days, (), SEASON, RULES)
    assert spans(made) == [(163, 168)]


def test_a_low_look_that_nobody_followed_for_two_weeks_is_no_cloud() -> None:
    days = np.array([150.0, 155.0, 160.0, 175.0, 180.0])
    ndvi = np.array([[0.85, 0.85, 0.25, 0.85, 0.85]])
    assert not dips(looks_of(ndvi, days), RULES).any()
    assert dips(looks_of(ndvi, np.array([150.0, 155.0, 160.0, 172.0, 180.0])), RULES).any()


def test_of_two_looks_on_a_day_the_first_one_that_has_a_value_counts() -> None:
    days = np.array([150.0, 155.0, 155.0, 160.0])
    looks = looks_of(np.array([[0.8, 0.7, 0.3, 0.6], [0.8, np.nan, 0.3, 0.6]]), days)
    np.testing.assert_array_equal(looks.values, [[0.8, 0.7, 0.6], [0.8, 0.3, 0.6]])
    np.testing.assert_array_equal(looks.days, [[150, 155, 160]] * 2)


def test_a_cloud_beside_a_mowing_does_not_hide_it() -> None:
    ndvi = meadow(150)
    ndvi[0, 7] -= 0.5
    assert spans(found(ndvi)) == [(145, 150)]


def test_a_mowing_without_a_later_look_is_reported_with_less_confidence() -> None:
    ndvi = meadow(150)
    whole = found(ndvi)
    ndvi[0, DAYS > 155] = np.nan
    cut = found(ndvi)
    assert spans(cut) == [(145, 150)]
    assert cut.windows.confidence[0, 0] < whole.windows.confidence[0, 0]
    assert np.isnan(cut.evidence["ndvi_regrowth"][0, 0])


def test_evidence_is_what_was_seen() -> None:
    made = found(meadow(150))
    seen = {name: round(float(values[0, 0]), 3) for name, values in made.evidence.items()}
    assert {
        name: seen[name] for name in ("ndvi_before", "ndvi_after", "ndvi_reference", "ndvi_low", "ndvi_regrowth")
    } == {
        "ndvi_before": 0.85,
        "ndvi_after": 0.45,
        "ndvi_reference": 0.85,
        "ndvi_low": 0.45,
        "ndvi_regrowth": 0.85,
    }
    assert np.isnan(seen["coherence_before"])
    assert made.windows.source[0, 0] == S2


def test_the_confidence_is_the_logistic_of_its_evidence() -> None:
    made = found(meadow(150))
    odds = RULES.intercept + RULES.fall_weight * 0.4 + RULES.reference_weight * 0.85 + RULES.regrowth_weight * 0.4
    odds += 0.0  # no coherence: the usual rise stands in for it, and moves nothing
    assert made.windows.confidence[0, 0] == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-9)


def test_coherence_that_rises_lends_confidence_and_alone_finds_nothing() -> None:
    pairs = np.arange(100.0, 300.0, 6.0)
    rising = Orbit(pairs, np.where(pairs > 150, 0.7, 0.3)[None])
    falling = Orbit(pairs, np.where(pairs > 150, 0.3, 0.7)[None])
    up, down = found(meadow(150), (rising,)), found(meadow(150), (falling,))
    assert up.windows.source[0, 0] == FUSED
    assert up.evidence["coherence_after"][0, 0] == pytest.approx(0.7)
    assert up.evidence["coherence_before"][0, 0] == pytest.approx(0.3)
    assert up.windows.confidence[0, 0] > down.windows.confidence[0, 0]
    assert spans(found(meadow(), (rising,))) == []


def test_a_pair_that_spans_the_cut_tells_nothing() -> None:
    pairs = np.array([138.0, 144.0, 150.0, 156.0, 162.0])
    orbit = Orbit(pairs, np.array([[0.4, 0.4, 0.0, 0.6, 0.6]]))
    made = found(meadow(150), (orbit,))
    assert made.evidence["coherence_before"][0, 0] == pytest.approx(0.4)
    assert made.evidence["coherence_after"][0, 0] == pytest.approx(0.6)


def test_two_falls_within_four_weeks_are_one_event() -> None:
    assert len(spans(found(meadow(150, 165)))) == 1
    assert len(spans(found(meadow(150, 200)))) == 2


def test_a_parcel_with_few_looks_has_none_and_says_how_many() -> None:
    ndvi = np.full((1, DAYS.size), np.nan)
    ndvi[0, [8, 9, 10, 11]] = [0.85, 0.85, 0.4, 0.42]
    made = found(ndvi)
    assert spans(made) == []
    assert made.looks.tolist() == [4]
    assert len(spans(found(ndvi, rules=RULES.model_copy(update={"min_looks": 4})))) == 1


def test_parcels_do_not_know_of_each_other() -> None:
    rng = np.random.default_rng(1)
    many = np.concatenate([meadow(*CUTS), meadow(), meadow(180), rng.uniform(0, 1, (5, DAYS.size))])
    many[rng.random(many.shape) < 0.3] = np.nan
    pairs = np.arange(100.0, 300.0, 6.0)
    coherence = rng.uniform(0.1, 0.9, (len(many), pairs.size))
    together = found(many, (Orbit(pairs, coherence),))
    for i in range(len(many)):
        alone = found(many[i : i + 1], (Orbit(pairs, coherence[i : i + 1]),))
        there = together.windows.there[i]
        assert spans(alone) == list(zip(together.windows.start[i][there], together.windows.end[i][there], strict=True))
        np.testing.assert_array_equal(alone.windows.confidence[0], together.windows.confidence[i][there])


def test_nothing_seen_is_nothing_found() -> None:
    made = detected(np.empty((2, 0)), np.empty(0), (), SEASON, RULES)
    assert made.windows.confidence.shape == (2, 0)
    assert made.looks.tolist() == [0, 0]


def test_pieces_of_one_pass_are_one_pair() -> None:
    # A tile at a seam has two products of a pass; a field lies in one of them, or in the other.
    pairs = np.arange(102.0, 300.0, 6.0)
    coherence = np.where((pairs > 154) & (pairs < 170), 0.6, 0.3)[None]
    flags, rain = np.full(coherence.shape, Doubt.WET, np.uint8), np.full(coherence.shape, 9.0)
    whole = Orbit(pairs, coherence, doubts=flags, rain_mm=rain)
    halves = np.stack([coherence, np.full_like(coherence, np.nan)], axis=2).reshape(1, -1)
    halves[:, 2::4], halves[:, 3::4] = halves[:, 3::4].copy(), halves[:, 2::4].copy()
    both = Orbit(np.repeat(pairs, 2), halves, doubts=np.repeat(flags, 2, axis=1), rain_mm=np.repeat(rain, 2, axis=1))
    one, two = (found(meadow(*CUTS), (orbit,)) for orbit in (whole, both))
    assert (one.doubts > 0).any()
    np.testing.assert_array_equal(two.windows.confidence, one.windows.confidence)
    np.testing.assert_array_equal(two.doubts, one.doubts)


def test_a_doubt_is_heeded_where_the_pair_before_is_missing() -> None:
    pairs = np.arange(102.0, 300.0, 6.0)
    coherence = np.where((pairs > 154) & (pairs < 170), 0.6, 0.3)[None]
    coherence[0, np.flatnonzero(pairs > 154)[0] - 1] = np.nan
    flags, rain = np.full(coherence.shape, Doubt.WET, np.uint8), np.full(coherence.shape, 9.0)
    made = found(meadow(*CUTS), (Orbit(pairs, coherence, doubts=flags, rain_mm=rain),))
    assert made.doubts[0, 0] == Doubt.WET
