"""Seasons of radar with a harvest and with nothing but noise: what is found, when, and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.improved import judge_all
from support.practices import LOOSE

from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import NO_DAY, Practice, Status
from s4c_hpc.practices.days import Days, as_yyyymmdd
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.judge import judge
from s4c_hpc.practices.weeks import Observations, coherence_rise

N = 300
FIRST = 18687
"""1 March 2021."""


def season(*, harvested: bool, ndvi: bool, seed: int = 1) -> tuple[Season, Days]:
    """Two orbits, every six days each, and the day of the harvest."""
    rng = np.random.default_rng(seed)
    day = np.sort(np.concatenate([FIRST + np.arange(0, 270, 6), FIRST + 2 + np.arange(0, 270, 6)]))
    orbit = ((day - FIRST) % 6 == 2).astype(np.int64)
    event = FIRST + rng.integers(80, 200, N)[:, None] if harvested else np.full((N, 1), 10**6)
    ratio = np.where(day >= event, 9.5, 8.0) + rng.normal(0, 0.3, (N, day.size))
    # A pair is of the field after the harvest if both its days are.
    coherence = np.clip(np.where(day >= event + 6, 0.7, 0.3) + rng.normal(0, 0.05, ratio.shape), 0, 1)
    look = FIRST + np.arange(0, 270, 7)
    green = np.where(look >= event, 250, 700) + rng.normal(0, 20, (N, look.size))
    green[rng.random(green.shape) < 0.5] = np.nan
    seen = Observations(
        amplitude_day=day,
        ratio_db=ratio,
        vv_db=np.full(ratio.shape, -10.0),
        coherence_day=day,
        coherence=coherence,
        coherence_rise=coherence_rise(day, orbit, coherence, 6),
        ndvi_day=look,
        ndvi=np.round(green) if ndvi else np.full(green.shape, np.nan),
    )
    doubts = Doubts.none(N, day.size)
    return Season(seen=seen, amplitude_orbit=orbit, coherence_orbit=orbit, doubts=doubts, ground={}), event[:, 0]


def declared() -> Declared:
    """The harvest may be from May to October."""

    def day(number: int) -> Days:
        return np.full(N, number, np.int64)

    return Declared(
        practice=Practice.NA,
        country="",
        year=2021,
        veg_start=day(FIRST),
        h_start=day(FIRST + 60),
        h_end=day(FIRST + 220),
        p_type=np.full(N, ""),
        p_start=day(int(NO_DAY)),
        p_end=day(int(NO_DAY)),
    )


@pytest.mark.parametrize("ndvi", [True, False])
def test_harvests_are_found_in_their_windows(*, ndvi: bool) -> None:
    made, event = season(harvested=True, ndvi=ndvi)
    columns, _ = judge_all(made, declared())
    day = as_yyyymmdd(event)
    holds = (columns["H_EVENT_START"] <= day) & (columns["H_EVENT_END"] >= day)  # type: ignore[operator]
    assert holds.mean() > 0.97
    assert np.nanmean(columns["H_CONF"].astype(np.float64)) > (0.85 if ndvi else 0.7)


@pytest.mark.parametrize("ndvi", [True, False])
def test_noise_is_no_harvest(*, ndvi: bool) -> None:
    """Markers of the reference are TRUE in the same week by chance on almost every parcel; only NDVI corrects that."""
    made, _ = season(harvested=False, ndvi=ndvi)
    columns, _ = judge_all(made, declared())
    assert (columns["H_W_START"].astype(np.int64) > 0).mean() < 0.03
    if ndvi:
        status = np.full(N, Status.OK, np.int8)
        before = judge(made.seen, declared(), LOOSE, status, FIRST + 300)
        assert (before["H_W_S1"].astype(np.int64) > 0).mean() > 0.9


def test_one_satellite_of_two_finds_the_same_harvests() -> None:
    """Every second acquisition of each orbit, 12 days apart: the reference finds no harvest at all by radar."""
    made, event = season(harvested=True, ndvi=False)
    kept = ((made.seen.coherence_day - FIRST) // 6) % 2 == 0
    seen = made.seen
    hidden = {name: np.where(kept, getattr(seen, name), np.nan) for name in ("ratio_db", "coherence")}
    half = replace(made, seen=replace(seen, **hidden))
    columns, _ = judge_all(half, declared())
    day = as_yyyymmdd(event)
    holds = (columns["H_EVENT_START"] <= day) & (columns["H_EVENT_END"] >= day)  # type: ignore[operator]
    assert holds.mean() > 0.9
