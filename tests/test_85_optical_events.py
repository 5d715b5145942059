"""Harvest and catch crop in optical series: real fields with logged harvests, the rule in loops, and what must hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.optical_events import (
    HARVEST,
    RULES,
    Season,
    catch_crop_of_parcel,
    cereal,
    freising,
    harvest_of_parcel,
    made,
    number,
)

from s4c_hpc.practices.codes import NO_DAY
from s4c_hpc.practices.optical_events import OpticalHarvest

SEEDS = st.integers(0, 10_000)
WITH, WITHOUT = ("Grafenfeld", "Krohberg", "Sieblerfeld"), "Radarstation"


def window(found: OpticalHarvest, i: int = 0) -> tuple[int, int]:
    return int(found.start[i]), int(found.end[i])


def same(a: OpticalHarvest, b: OpticalHarvest, shift: int = 0) -> bool:
    """Whether two are equal, the second one's days being later by ``shift``."""
    moved = [np.where(days == NO_DAY, NO_DAY, days + shift) for days in (a.start, a.end)]
    return (
        np.array_equal(moved[0], b.start)
        and np.array_equal(moved[1], b.end)
        and np.array_equal(a.confidence, b.confidence)
        and all(np.array_equal(a.evidence[name], b.evidence[name], equal_nan=True) for name in b.evidence)
    )


def right(found: OpticalHarvest, truth: list[dict[str, str]]) -> list[str]:
    """Fields whose window contains a logged day."""
    return [
        row["parcel_id"]
        for row, start, end in zip(truth, found.start, found.end, strict=True)
        if start <= number(row["harvest_last"]) and end >= number(row["harvest_first"])
    ]


def test_windows_of_real_fields_contain_the_logged_day() -> None:
    season, truth = freising()
    found = season.harvest()
    assert found.found.all()
    assert len(right(found, truth)) == 18
    assert np.median(found.end - found.start) == 21.5
    assert (found.end - found.start).max() == 28


def test_ndvi_alone_dates_the_real_fields_badly_and_says_so() -> None:
    season, truth = freising()
    found = season.only().harvest()
    assert len(right(found, truth)) == 10
    assert (found.confidence < RULES.without_swir1).all()
    assert np.median(found.confidence) < np.median(season.harvest().confidence) / 2


def test_catch_crops_of_real_fields() -> None:
    season, truth = freising()
    seen = season.catch_crop(season.harvest().end, number("2018-08-01"), number("2018-08-31"))
    found = {row["parcel_id"] for row, is_there in zip(truth, seen.found, strict=True) if is_there}
    assert set(WITH) <= found
    assert WITHOUT not in found
    rows = [i for i, row in enumerate(truth) if row["parcel_id"] in WITH]
    assert (seen.start[rows] == number("2018-07-31")).all()
    assert (seen.end[rows] == number("2018-08-12")).all()
    assert min(seen.confidence[rows]) > max(seen.confidence[[i for i in range(len(truth)) if i not in rows]])


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_harvests_equal_the_rule_in_plain_loops(seed: int) -> None:
    season = made(seed)
    found = season.harvest()
    for i in range(len(season.ndvi)):
        values = {"ndvi": season.ndvi[i], **{k: v[i] for k, v in season.ground.items()}}
        start, end, sure = harvest_of_parcel(season.day, values, int(season.first[i]), int(season.last[i]), RULES)
        assert window(found, i) == (start, end)
        assert found.confidence[i] == pytest.approx(sure, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_catch_crops_equal_the_rule_in_plain_loops(seed: int) -> None:
    season = made(seed)
    # Turned round in time, a ripening crop is one that comes up.
    ndvi = season.ndvi[:, ::-1]
    since = np.where(season.first % 7 == 0, NO_DAY, season.first - 60)
    last = 17770 + seed % 60
    found = replace(season, ndvi=ndvi).catch_crop(since, 17740, last)
    for i in range(len(ndvi)):
        start, end, sure = catch_crop_of_parcel(season.day, ndvi[i], int(since[i]), 17740, last, RULES)
        assert (int(found.start[i]), int(found.end[i])) == (start, end)
        assert found.confidence[i] == pytest.approx(sure, abs=1e-12)


def test_the_made_seasons_of_these_tests_have_harvests_and_catch_crops_and_fields_without() -> None:
    seasons = [made(seed) for seed in range(20)]
    harvests = np.concatenate([season.harvest().found for season in seasons])
    up = [
        replace(season, ndvi=season.ndvi[:, ::-1]).catch_crop(season.first - 60, 17740, 17800).found
        for season in seasons
    ]
    for found in (harvests, np.concatenate(up)):
        assert 0.2 < found.mean() < 0.95


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_the_order_of_parcels_and_their_number_do_not_matter(seed: int) -> None:
    season = made(seed)
    order = np.random.default_rng(seed).permutation(len(season.ndvi))
    whole, shuffled = season.harvest(), season.of(order).harvest()
    for i, row in enumerate(order):
        assert window(shuffled, i) == window(whole, int(row)) == window(season.of([row]).harvest())
        assert shuffled.confidence[i] == whole.confidence[row]


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_dates_without_values_change_nothing(seed: int) -> None:
    season = made(seed)
    columns = np.sort(np.random.default_rng(seed).integers(0, len(season.day), 2 * len(season.day)))
    is_repeated = np.r_[False, np.diff(columns) == 0]
    wider = season.at(columns)
    wider.ndvi[:, is_repeated] = np.nan
    assert same(season.at(np.unique(columns)).harvest(), wider.harvest())


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(-5000, 5000))
def test_other_years_have_the_same_windows(seed: int, shift: int) -> None:
    season = made(seed)
    later = replace(season, day=season.day + shift, first=season.first + shift, last=season.last + shift)
    assert same(season.harvest(), later.harvest(), shift)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_windows_are_next_to_each_other_and_confidence_is_a_share(seed: int) -> None:
    season = made(seed)
    found = season.harvest()
    there = found.found
    assert (found.start[there] < found.end[there]).all()
    assert (found.end[there] >= season.first[there]).all()
    assert (found.start[there] <= season.last[there]).all()
    assert np.isin(found.end[there], season.day).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert (found.confidence[~there] == 0).all()
    assert all(np.isnan(values[~there]).all() for values in found.evidence.values())


def test_ripening_is_no_harvest() -> None:
    season = cereal()
    found = season.harvest()
    assert window(found) == (HARVEST - 1, HARVEST + 4)
    evidence = {name: float(values[0]) for name, values in found.evidence.items()}
    assert evidence["ndvi_before"] == pytest.approx(0.32)
    assert evidence["swir1_before"] == pytest.approx(0.27)
    assert evidence["swir1_after"] == pytest.approx(0.37)
    assert evidence["way_before"] < RULES.ground_share <= evidence["way_after"]
    # Buried straw is no harvest either.
    assert evidence["ndti_after"] == pytest.approx(0.19)


def test_ndti_is_evidence_and_dates_nothing() -> None:
    season = cereal()
    with_it, without = season.harvest(), season.only("bsi", "swir1").harvest()
    assert same(with_it, without)
    assert "ndti_before" not in without.evidence


def test_confidence_falls_with_the_length_of_the_window() -> None:
    season = cereal()
    sure = []
    for gap in (0, 10, 20):
        kept = (season.day < HARVEST - gap / 2) | (season.day > HARVEST + gap)
        sure.append(float(season.at(kept).harvest().confidence[0]))
    assert sure[0] > sure[1] > sure[2] > 0


def test_a_gradual_change_is_less_sure_than_a_step() -> None:
    step = cereal()
    gradual = cereal()
    between = (gradual.day > 17770) & (gradual.day < 17830)
    for values in (gradual.ndvi, *gradual.ground.values()):
        values[0, between] = np.interp(gradual.day[between], (17770, 17830), (values[0, 0], values[0, -1]))
    assert gradual.harvest().confidence[0] < step.harvest().confidence[0] / 2


def test_a_cloud_that_was_not_masked_is_no_harvest() -> None:
    season = cereal()
    i = int(np.searchsorted(season.day, 17765))
    season.ndvi[0, i] = 0.1
    assert window(season.harvest()) == (HARVEST - 1, HARVEST + 4)


def test_the_harvest_is_that_before_the_catch_crop_that_was_turned_under() -> None:
    season = cereal()
    known = window(season.harvest())
    is_up = season.day >= 17825
    season.ndvi[0, is_up], season.ground["bsi"][0, is_up], season.ground["swir1"][0, is_up] = 0.8, -0.35, 0.15
    season.ndvi[0, -1], season.ground["bsi"][0, -1], season.ground["swir1"][0, -1] = 0.12, 0.25, 0.4
    season = replace(season, last=season.day[-1:])
    assert window(season.harvest()) == known
    # The deepest fall of all is the later one.
    deepest = season.harvest(RULES.model_copy(update={"bare_share": 1.0}))
    assert deepest.evidence["ndvi_ground"][0] == 0.12


def test_a_meadow_under_clouds_and_snow_has_no_harvest() -> None:
    season = cereal()
    season.ndvi[:] = 0.7
    season.ground["bsi"][:] = -0.3
    white = season.day > 17800
    season.ndvi[0, white], season.ground["bsi"][0, white], season.ground["swir1"][0, white] = 0.1, -0.1, 0.4
    assert not season.harvest().found[0]
    # NDVI alone cannot know; it says so.
    assert season.only().harvest().confidence[0] <= RULES.without_swir1


def test_the_shadow_of_a_cloud_is_no_look() -> None:
    season = cereal()
    before = int(np.searchsorted(season.day, HARVEST)) - 1
    season.ground["swir1"][0, before] *= 0.5
    assert window(season.harvest()) == (season.day[before - 1], HARVEST + 4)


@pytest.mark.parametrize(("first", "last", "seen"), [(HARVEST + 5, 17829, False), (17600, 17780, False)])
def test_a_harvest_outside_of_the_period_is_none(first: int, last: int, seen: bool) -> None:
    season = replace(cereal(), first=np.array([first]), last=np.array([last]))
    assert season.harvest().found[0] == seen


def test_an_index_with_few_values_is_as_if_not_given() -> None:
    season = cereal()
    season.ground["swir1"][0, RULES.min_values - 1 :] = np.nan
    few, none = season.harvest(), season.only("bsi", "ndti").harvest()
    assert window(few) == window(none)
    assert few.confidence[0] == none.confidence[0] > 0


def test_of_values_of_one_day_the_first_counts() -> None:
    season = cereal()
    twice = season.at(np.repeat(np.arange(len(season.day)), 3))
    for matrix in (twice.ndvi, *twice.ground.values()):
        matrix[:, 1::3], matrix[:, 2::3] = 0.0, 0.9
    assert same(season.harvest(), twice.harvest())


@pytest.mark.parametrize("n_looks", [0, 1, 2, 3])
def test_few_looks_or_none_are_no_harvest_and_no_error(n_looks: int) -> None:
    season = cereal().at(slice(0, n_looks))
    assert not season.harvest().found[0]
    assert not season.catch_crop(np.array([17650]), 17700, 17800).found[0]
    assert season.of(slice(0, 0)).harvest().start.shape == (0,)


def after_harvest(*values: float) -> Season:
    """Looks every ten days."""
    day = np.arange(17800, 17800 + 10 * len(values), 10, dtype=np.int64)
    return Season(day, np.array([values]), {}, day[:1], day[-1:])


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ((0.2, 0.2, 0.5, 0.7, 0.7), True),
        ((0.2, 0.5, 0.7, 0.3, 0.2), False),
        ((0.2, 0.2, 0.2, 0.2, 0.7), False),
        ((0.4, 0.4, 0.4, 0.45, 0.4), False),
        ((0.2, 0.3, 0.34, 0.34, 0.34), False),
    ],
    ids=["stands", "turned under", "one look", "weeds on stubble", "too little"],
)
def test_a_catch_crop_comes_up_and_stands(values: tuple[float, ...], seen: bool) -> None:
    season = after_harvest(*values)
    found = season.catch_crop(season.day[:1], int(season.day[0]), int(season.day[-1]))
    assert found.found[0] == seen
    assert (found.confidence[0] > 0) == seen
    if seen:
        assert (found.start[0], found.end[0]) == (17810, 17820)
        assert found.evidence["ndvi_ground"][0] == 0.2
        assert found.evidence["ndvi_highest"][0] == 0.7
        assert found.evidence["looks"][0] == 3


def test_without_a_harvest_there_is_no_catch_crop() -> None:
    season = after_harvest(0.2, 0.2, 0.5, 0.7, 0.7)
    assert not season.catch_crop(np.array([NO_DAY]), 17800, 17840).found[0]


def test_a_period_that_is_not_over_makes_a_catch_crop_less_sure() -> None:
    season = after_harvest(0.2, 0.2, 0.5, 0.7, 0.7)
    sure = [float(season.catch_crop(np.array([17800]), 17800, last).confidence[0]) for last in (17840, 17900)]
    assert sure[0] > sure[1] > 0
