"""A parcel is judged by itself: with others, alone, and in blocks of any size the result is the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.practices import LOOSE, random_declared, random_season, rules

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import Index, Practice, Status
from s4c_hpc.practices.enough import status_of
from s4c_hpc.practices.judge import Columns, judge
from s4c_hpc.practices.weeks import Observations, weekly

UNTIL = 18992
N = 60

CASES = [
    (Practice.NA, "", rules(tillage=True)),
    (Practice.CATCH_CROP, "NLD", rules(catch_crop_from="07-15", undersown_types=["CatchCrop_3"])),
    (Practice.FALLOW, "CZE", rules(loss_from="06-04", loss_to="08-31")),
    (Practice.FALLOW, "LTU", LOOSE),
    (Practice.FALLOW, "ESP", LOOSE),
    (Practice.NFC, "ROU", LOOSE),
    (Practice.NFC, "CZE", LOOSE),
]


def in_blocks(practice: Practice, country: str, own: PracticeRules, size: int, seed: int) -> Columns:
    seen, declared = random_season(N, seed), random_declared(N, seed, practice, country)
    parts = []
    for start in range(0, N, size):
        rows = np.zeros(N, bool)
        rows[start : start + size] = True
        status = np.full(int(rows.sum()), Status.OK, np.int8)
        parts.append(judge(seen.of(rows), declared.of(rows), own, status, UNTIL))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize(("practice", "country", "own"), CASES, ids=[f"{c[0].name} {c[1]}" for c in CASES])
@pytest.mark.parametrize("seed", [1, 2])
def test_blocks_do_not_matter(practice: Practice, country: str, own: PracticeRules, seed: int) -> None:
    whole = in_blocks(practice, country, own, N, seed)
    if practice != Practice.NA:
        assert len(np.unique(whole["C_INDEX"])) > 1, "the seasons differ in what is tested"
    for size in (1, 7):
        part = in_blocks(practice, country, own, size, seed)
        assert list(part) == list(whole)
        for name, values in whole.items():
            assert values.dtype == part[name].dtype
            np.testing.assert_array_equal(values, part[name], err_msg=name)


def test_seasons_have_harvests() -> None:
    found = in_blocks(Practice.NA, "", LOOSE, N, 1)
    assert 10 < int(np.sum(found["H_WEEK"].astype(np.int64) > 0)) < N


def test_weeks_stand_at_the_left_in_order() -> None:
    weeks = weekly(random_season(N, 3, missing=0.7), -3.0)
    n_weeks = weeks.there.sum(axis=1)
    assert len(np.unique(n_weeks)) > 1
    for row, n in zip(weeks.monday, n_weeks, strict=True):
        assert (np.diff(row[:n]) > 0).all()
        assert (row[:n] % 7 == 4).all()
    assert np.isfinite(weeks.coherence[weeks.there]).all()


def test_weekly_values_are_those_of_a_plain_loop() -> None:
    """Every weekly value, by the definitions, acquisition by acquisition."""
    seen = random_season(8, 4)
    weeks = weekly(seen, -3.0)
    for i in range(8):
        groups: dict[int, list[float]] = {}
        for day, value in zip(seen.amplitude_day, seen.ratio_db[i], strict=True):
            if np.isfinite(value):
                groups.setdefault(int(day - (day - 4) % 7), []).append(float(value))
        means = {week: float(np.mean(values)) for week, values in sorted(groups.items())}
        order = list(means)
        for column in np.flatnonzero(weeks.there[i]):
            week = int(weeks.monday[i, column])
            at = order.index(week)
            rise = max(0.0, means[week] - float(np.mean([means[w] for w in order[at - 3 : at]]))) if at >= 3 else 0.0
            assert weeks.amplitude_rise_db[i, column] == pytest.approx(rise, abs=0.00501)
            assert weeks.amplitude_max_db[i, column] == max(groups[week])
            own = [
                (c, g)
                for d, c, g in zip(seen.coherence_day, seen.coherence[i], seen.coherence_rise[i], strict=True)
                if d - (d - 4) % 7 == week and np.isfinite(c)
            ]
            assert weeks.coherence[i, column] == max(c for c, _ in own)
            assert weeks.coherence_rise[i, column] == pytest.approx(max(g for _, g in own), abs=0.000501)
            ndvi = [
                v
                for d, v in zip(seen.ndvi_day, seen.ndvi[i], strict=True)
                if d - (d - 4) % 7 == week and np.isfinite(v)
            ]
            if ndvi:
                assert weeks.ndvi[i, column] == pytest.approx(np.mean(ndvi), abs=0.5)
            else:
                assert np.isnan(weeks.ndvi[i, column])


def test_what_cannot_be_judged_says_so_and_disturbs_nobody() -> None:
    seen, declared = random_season(4, 5), random_declared(4, 5, Practice.CATCH_CROP, "NLD")
    fine = judge(seen, declared, LOOSE, np.full(4, Status.OK, np.int8), UNTIL)
    status = np.array([Status.OK, Status.NO_S2, Status.OK, Status.FEW_PIXELS], np.int8)
    found = judge(seen, declared, LOOSE, status, UNTIL)
    for name, values in found.items():
        np.testing.assert_array_equal(values[[0, 2]], fine[name][[0, 2]])
    assert found["C_INDEX"][[1, 3]].tolist() == [Index.NA, Index.NA1]
    assert found["H_W_START"][[1, 3]].tolist() == [-10000, -10002]
    none = judge(seen, declared, LOOSE, np.full(4, Status.NO_S1, np.int8), UNTIL)
    assert {name: v.dtype for name, v in none.items()} == {name: v.dtype for name, v in fine.items()}
    assert dataclasses.is_dataclass(seen)


def enough(
    n_values: int, of_orbit: int, *, ndvi: float = 500.0, pixels: int | None = 1, own: PracticeRules | None = None
) -> Status:
    """Status of a parcel with values of coherence, so many of them of the first orbit."""
    day = 18700 + np.arange(n_values, dtype=np.int64)
    orbit = (np.arange(n_values) >= of_orbit).astype(np.int64)
    one = np.ones((1, n_values))
    seen = Observations(
        amplitude_day=day,
        ratio_db=one,
        vv_db=-10 * one,
        coherence_day=day,
        coherence=one * 0.5,
        coherence_rise=one * 0,
        ndvi_day=day[:1],
        ndvi=np.full((1, min(n_values, 1)), ndvi),
    )
    declared = random_declared(1, 1, Practice.NA, "")
    s1_pixels = None if pixels is None else np.array([pixels])
    return Status(int(status_of(seen, orbit, s1_pixels, declared, own or PracticeRules())[0]))


@pytest.mark.parametrize(
    ("n_values", "of_orbit", "status"),
    [(0, 0, Status.NO_S1), (15, 15, Status.FEW_S1), (16, 16, Status.OK), (28, 14, Status.FEW_S1), (29, 15, Status.OK)],
)
def test_more_than_15_values_and_15_of_one_orbit(n_values: int, of_orbit: int, status: Status) -> None:
    assert enough(n_values, of_orbit) == status


def test_the_first_thing_that_is_missing_is_told() -> None:
    assert enough(20, 20, ndvi=np.nan) == Status.NO_S2
    assert enough(20, 20, pixels=0) == Status.FEW_PIXELS
    assert enough(20, 20, pixels=0, ndvi=np.nan) == Status.FEW_PIXELS
    assert enough(20, 20, pixels=None) == Status.OK
    assert enough(20, 20, pixels=2, own=PracticeRules(min_s1_pixels=3)) == Status.FEW_PIXELS
