"""Features of imported series against plain loops over one parcel's values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats.mstats import mquantiles

from s4c_hpc.core.errors import ConfigError
from s4c_hpc.features.contract import Feature
from s4c_hpc.features.parcel_features import SeriesRecipe, described, features
from s4c_hpc.features.parcel_maths import composite, deviation, low_quantile, mean, variation
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.imported import ImportedColumns

START, END = dt.date(2018, 3, 2), dt.date(2018, 6, 20)
NAN = float("nan")


def column(name: str, *statistics: str, unit: str = "1") -> ImportedColumns:
    return ImportedColumns(name=name, statistics=statistics or ("mean",), unit=unit, long_name=name)


def recipe(*variables: ImportedColumns, **changes: Any) -> SeriesRecipe:
    given: dict[str, Any] = {
        "name": "test",
        "sensor": "s2",
        "season_start": START,
        "season_end": END,
        "every_days": 10,
        "max_gap_days": 30,
        "sar_months": 2,
        "variables": variables,
        "has_count": False,
        "passes": (),
    }
    return SeriesRecipe(**{**given, **changes})


def acquisition(day: dt.date, direction: str | None = None) -> Acquisition:
    return Acquisition(
        product=f"{day}{direction}",
        sensor="s2",
        platform="",
        datetime=dt.datetime.combine(day, dt.time(), dt.UTC),
        relative_orbit=None,
        orbit_direction=direction,
        grid="test",
        layers=("x",),
    )


def random_values(rng: np.random.Generator, m: int, n: int, low: float = 0.05) -> NDArray[np.float32]:
    values = rng.uniform(low, 1, (m, n)).astype(np.float32)
    values[rng.random((m, n)) < 0.4] = np.nan
    return values


def made(
    one: SeriesRecipe, acquisitions: Sequence[Acquisition], values: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float64]]:
    found = list(features(one, acquisitions, values))
    assert [feature for feature, _ in found] == list(described(one))
    names = [feature.name for feature, _ in found]
    assert len(set(names)) == len(names)
    return {feature.name: matrix for feature, matrix in found}


def linear(row: Sequence[float], max_gap: int) -> list[float]:
    """A row with gaps of up to ``max_gap`` filled; numpy interpolates, which takes the nearest at the ends."""
    values = np.array(row, float)
    seen = np.flatnonzero(np.isfinite(values))
    if not seen.size:
        return list(row)
    result = np.interp(np.arange(values.size), seen, values[seen])
    for a, b in zip([-1, *seen], [*seen, values.size], strict=True):
        if b - a - 1 > max_gap:
            result[a + 1 : b] = NAN
    return [float(value) for value in result]


@pytest.mark.parametrize("weights", ["none", "row", "variable"])
def test_composites_are_means_by_period_weighted_and_filled(weights: str) -> None:
    rng = np.random.default_rng(7)
    days = sorted(START + dt.timedelta(days=int(d)) for d in rng.choice((END - START).days + 1, 14, replace=False))
    statistics = ("mean", "stdev", "count") if weights == "variable" else ("mean", "stdev")
    one = recipe(column("ndvi", *statistics), column("b04"), has_count=weights == "row")
    values = {name: random_values(rng, len(days), 40) for name in one.columns}
    pixels = rng.integers(0, 9, (len(days), 40)).astype(np.float32)
    pixels[3, :5] = np.nan
    for name in ("n_valid", "ndvi_count"):
        if name in values:
            values[name] = pixels
    found = made(one, [acquisition(day) for day in days], values)
    n_periods = 12
    first = [START + dt.timedelta(days=10 * i) for i in range(n_periods)]
    for parcel in range(40):
        observed = [0.0] * n_periods
        for name, statistic, short in (("ndvi", "mean", "mean"), ("ndvi", "stdev", "dev"), ("b04", "mean", "mean")):
            row = []
            for i in range(n_periods):
                total = mass = 0.0
                for at, day in enumerate(days):
                    value = float(values[f"{name}_{statistic}"][at, parcel])
                    if (day - START).days // 10 != i or np.isnan(value):
                        continue
                    by_row = weights == "row" or (weights == "variable" and name == "ndvi")
                    weight = float(pixels[at, parcel]) if by_row else 1.0
                    weight = 1.0 if np.isnan(weight) else weight
                    total, mass = total + value * weight, mass + weight
                row.append(total / mass if mass else NAN)
                observed[i] = max(observed[i], float(mass > 0 and statistic == "mean"))
            expected = linear(row, 3)
            got = [found[f"XX_{day:%Y_%m_%d}_s2_{short}_{name}"][parcel] for day in first]
            np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert [found[f"XX_{day:%Y_%m_%d}_s2_observed"][parcel] for day in first] == observed
    assert not any("dev_b04" in name for name in found)


def weekly(
    values: NDArray[np.float32], acquisitions: Sequence[Acquisition], direction: str, parcel: int
) -> dict[str, float]:
    """Week -> mean of what is greater than 0, as text of the ISO calendar."""
    groups: dict[str, list[float]] = {}
    for at, one in enumerate(acquisitions):
        value = float(values[at, parcel])
        if one.orbit_direction == direction and value > 0:
            groups.setdefault(f"{one.day.isocalendar()[0]}{one.day.isocalendar()[1]:02d}", []).append(value)
    return {week: float(np.mean(group)) for week, group in groups.items()}


def all_weeks() -> dict[str, dt.date]:
    """Weeks of the season with their first day in it."""
    found: dict[str, dt.date] = {}
    for i in range((END - START).days + 1):
        day = START + dt.timedelta(days=i)
        found.setdefault(f"{day.isocalendar()[0]}{day.isocalendar()[1]:02d}", day)
    return found


@pytest.mark.parametrize("is_db", [False, True])
def test_radar_is_weekly_and_its_moments_by_months(is_db: bool) -> None:
    rng = np.random.default_rng(3)
    acquisitions = [
        acquisition(START + dt.timedelta(days=int(d)), direction)
        for direction in ("ascending", "descending")
        for d in sorted(rng.choice((END - START).days + 1, 22, replace=False))
    ]
    unit = "dB" if is_db else "1"
    names = ("sigma0_vv", "vh_sigma0_db") if is_db else ("sigma0_vv_lin", "vh")
    one = recipe(
        column(names[0], unit=unit),
        column(names[1], unit=unit),
        column("coherence_vv", "mean", "stdev"),
        column("ndvi"),
        passes=("ascending", "descending"),
    )
    vv, vh, coherence, spread, ndvi = (random_values(rng, len(acquisitions), 20) for _ in range(5))
    vv[5, :3] = 0.0
    with np.errstate(divide="ignore"):
        stored = [(10 * np.log10(v)).astype(np.float32) if is_db else v for v in (vv, vh)]
    stored = [np.where(np.isfinite(v), v, np.nan).astype(np.float32) for v in stored]
    values = dict(zip(one.columns, [*stored, coherence, spread, ndvi], strict=True))
    found = made(one, acquisitions, values)
    weeks = all_weeks()
    month_of = {week: f"{day:%Y%m}" for week, day in weeks.items()}
    pair_of = {week: {"03": "201803", "04": "201803"}.get(month[4:], "201805") for week, month in month_of.items()}
    for parcel in range(20):
        pooled: dict[str, list[float]] = {}
        for direction, short in (("ascending", "ASC"), ("descending", "DESC")):
            of = {
                "VV": weekly(vv, acquisitions, direction, parcel),
                "VH": weekly(vh, acquisitions, direction, parcel),
            }
            of["RATIO"] = {week: of["VV"][week] / of["VH"][week] for week in of["VV"].keys() & of["VH"].keys()}
            cohe = weekly(coherence, acquisitions, direction, parcel)
            for what, by_week in [*((f"{k}_BCK", v) for k, v in of.items()), ("VV_COHE", cohe)]:
                expected = linear([by_week.get(week, NAN) for week in weeks], 4)
                got = [found[f"XX_W{week}_{short}_{what}_MEAN"][parcel] for week in weeks]
                np.testing.assert_allclose(got, expected, rtol=1e-4)
            for polarisation, by_week in of.items():
                groups: dict[str, list[float]] = {}
                for week in weeks:
                    groups.setdefault(pair_of[week], [])
                    groups[pair_of[week]] += [by_week[week]] if week in by_week else []
                for suffix, moment in (("MEAN", np.mean), ("CVAR", lambda v: np.std(v) / np.mean(v))):
                    row = [float(moment(group)) if group else NAN for group in groups.values()]
                    got = [found[f"XX_M{month}_{short}_{polarisation}_BCK_{suffix}_MEAN"][parcel] for month in groups]
                    np.testing.assert_allclose(got, linear(row, 0), rtol=1e-3, atol=1e-6)
            seen = {*of["VV"], *of["VH"], *cohe}
            got = [found[f"XX_W{week}_{short}_observed"][parcel] for week in weeks]
            assert got == [float(week in seen) for week in weeks]
            for week in weeks:
                pooled.setdefault(month_of[week], [])
                pooled[month_of[week]] += [cohe[week]] if week in cohe else []
        for suffix, estimate in (("MEAN", np.mean), ("MIN", lambda v: mquantiles(v, [0.1], alphap=0, betap=1)[0])):
            row = [float(estimate(group)) if group else NAN for group in pooled.values()]
            got = [found[f"XX_M{month}_VV_COHE_{suffix}_MEAN"][parcel] for month in pooled]
            np.testing.assert_allclose(got, linear(row, 1), rtol=1e-5)
        every = [value for group in pooled.values() for value in group]
        np.testing.assert_allclose(found["XX_S_VV_COHE_MEAN"][parcel], np.std(every), rtol=1e-4)
    assert {name for name in found if "DEV" in name} == {
        f"XX_W{week}_{short}_VV_COHE_DEV" for week in weeks for short in ("ASC", "DESC")
    }
    assert "XX_2018_03_02_s2_mean_ndvi" in found
    assert not any("coherence" in name or "sigma0" in name for name in found)


def test_columns_follow_from_the_season_and_not_from_what_was_observed() -> None:
    one = recipe(column("vv"), column("vh"), passes=("ascending",))
    nothing = {name: np.empty((0, 4), np.float32) for name in one.columns}
    found = made(one, [], nothing)
    assert len(found) == 4 * len(all_weeks()) + 2 * 3 * 2
    assert all(np.isnan(values).all() for name, values in found.items() if "observed" not in name)
    single = {name: np.full((1, 4), 0.5, np.float32) for name in one.columns}
    assert list(made(one, [acquisition(START, "ascending")], single)) == list(found)


def test_without_a_pass_nothing_is_radar() -> None:
    names = [feature.name for feature in described(recipe(column("vv"), column("ndvi")))]
    assert "XX_2018_03_02_s2_mean_vv" in names
    assert not any("BCK" in name for name in names)


def test_two_variables_of_one_meaning_are_refused() -> None:
    with pytest.raises(ConfigError, match="vv_lin and sigma0_vv are both backscatter VV"):
        described(recipe(column("vv_lin"), column("sigma0_vv"), passes=("ascending",)))


@pytest.mark.parametrize("max_gap", [None, 30])
def test_a_recipe_is_what_a_task_says(max_gap: int | None) -> None:
    one = recipe(column("vv"), column("ndvi", "mean", "count"), passes=("ascending",), max_gap_days=max_gap)
    assert SeriesRecipe.from_params(one.to_params()) == one
    optical = recipe(column("ndvi"), sar_months=3)
    assert "sar_months" not in optical.to_params()  # what has no effect makes no other task
    assert "up to 30 days" in recipe(column("ndvi")).method


def test_what_a_column_is_stands_in_it() -> None:
    by_name = {feature.name: feature for feature in described(recipe(column("ndvi", unit="x")))}
    feature = by_name["XX_2018_06_10_s2_mean_ndvi"]
    assert feature == Feature(
        name="XX_2018_06_10_s2_mean_ndvi",
        feature="ndvi",
        statistic="mean",
        first=dt.date(2018, 6, 10),
        last=dt.date(2018, 6, 19),
        unit="x",
        long_name="ndvi, mean",
        source="imported as test",
        observed="XX_2018_06_10_s2_observed",
    )
    assert by_name["XX_2018_06_20_s2_mean_ndvi"].last == END
    assert not by_name["XX_2018_06_10_s2_observed"].is_feature


values_of_a_row = st.lists(st.one_of(st.just(NAN), st.floats(0.01, 1)), min_size=1, max_size=15)


@given(row=values_of_a_row, share=st.floats(0, 1))
def test_low_quantile_is_the_estimator_of_scipy(row: list[float], share: float) -> None:
    seen = [value for value in row if np.isfinite(value)]
    expected = float(mquantiles(seen, [share], alphap=0, betap=1)[0]) if seen else NAN
    (got,) = low_quantile(np.array([row]), share)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@given(row=values_of_a_row)
def test_moments_are_those_of_numpy(row: list[float]) -> None:
    seen = [value for value in row if np.isfinite(value)]
    matrix = np.array([row])
    expected = [np.mean(seen), np.std(seen), np.std(seen) / np.mean(seen)] if seen else [NAN] * 3
    np.testing.assert_allclose([mean(matrix)[0], deviation(matrix)[0], variation(matrix)[0]], expected, atol=1e-9)


def test_a_value_on_no_pixel_does_not_count() -> None:
    values = np.array([[1.0], [3.0]], np.float32)
    weights = np.array([[0.0], [2.0]], np.float32)
    place = np.array([0, 0])
    assert composite(values, weights, place, 1).tolist() == [[3.0]]
    assert np.isnan(composite(values[:1], weights[:1], place[:1], 1)).all()
