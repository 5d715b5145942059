"""Column names: what they say can be read back, and they do not depend on what arrives first."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.errors import InputError
from s4c_hpc.markers.naming import (
    CLASS_COUNT_ORDER,
    Acquisition,
    MarkerName,
    is_marker_name,
    parse_name,
    parse_series_column,
    with_times,
)
from s4c_hpc.series.contract import CLASS_COUNTS

STATISTICS = st.sampled_from(["count", "mean", "stdev", "min", "max", "median", "p0", "p5", "p25", "p100"])
VARIABLES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True) | st.sampled_from(
    ["ndvi", "b8a", "n_valid", "mean", "x__20180507", "x__", "vv_sigma0_lin"]
)
SENSORS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,8}", fullmatch=True)
ORBITS = st.none() | st.from_regex(r"[0-9]{3}[ad]", fullmatch=True)
DAYS = st.dates(dt.date(1972, 1, 1), dt.date(2099, 12, 31))
TIMES = st.none() | st.times().map(lambda t: t.replace(microsecond=0))


def _value(
    sensor: str, orbit: str | None, variable: str, statistic: str, day: dt.date, time: dt.time | None
) -> MarkerName:
    return MarkerName(sensor=sensor, orbit=orbit, variable=variable, statistic=statistic, day=day, time=time)


def _count(sensor: str, orbit: str | None, grid: str, category: str, day: dt.date, time: dt.time | None) -> MarkerName:
    return MarkerName(sensor=sensor, orbit=orbit, grid=grid, statistic=category, day=day, time=time)


NAMES = st.builds(_value, SENSORS, ORBITS, VARIABLES, STATISTICS, DAYS, TIMES) | st.builds(
    _count, SENSORS, ORBITS, st.sampled_from(["10m", "20m", "2.5m"]), st.sampled_from(["total", "valid"]), DAYS, TIMES
)


@given(NAMES)
def test_a_name_can_be_read_back(name: MarkerName) -> None:
    assert parse_name(str(name)) == name
    assert is_marker_name(str(name))


@given(NAMES, NAMES)
def test_different_meanings_have_different_names(one: MarkerName, other: MarkerName) -> None:
    assert (str(one) == str(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("s2_ndvi_mean__20180507", {"sensor": "s2", "variable": "ndvi", "statistic": "mean"}),
        ("s2_10m_n_valid__20180507", {"sensor": "s2", "grid": "10m", "statistic": "valid", "variable": None}),
        ("s2_ndvi_p25__20180507t102648", {"time": dt.time(10, 26, 48), "statistic": "p25"}),
        ("s1_088d_vv_sigma0_lin_mean__20200301", {"orbit": "088d", "variable": "vv_sigma0_lin"}),
    ],
)
def test_names_from_the_contract(name: str, meaning: dict[str, object]) -> None:
    parsed = parse_name(name)
    assert {key: getattr(parsed, key) for key in meaning} == meaning
    assert str(parsed) == name


@pytest.mark.parametrize(
    "text",
    ["NewID", "", "s2_ndvi__20180507", "s2_ndvi_mean_20180507", "s2_NDVI_mean__20180507", "s2_ndvi_p101__20180507"],
)
def test_other_names_are_refused(text: str) -> None:
    assert not is_marker_name(text)
    with pytest.raises(InputError, match="not the name of a marker column"):
        parse_name(text)


@pytest.mark.parametrize("text", ["s2_ndvi_mean__20180230", "s2_ndvi_mean__20180507t256060"])
def test_impossible_dates_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="no real date"):
        parse_name(text)


def test_columns_sort_by_acquisition_then_counts_then_variables() -> None:
    ordered = [
        "s2_10m_n_total__20180507",
        "s2_10m_n_valid__20180507",
        "s2_20m_n_total__20180507",
        "s2_b04_count__20180507",
        "s2_b04_mean__20180507",
        "s2_b04_p5__20180507",
        "s2_b04_p25__20180507",
        "s2_ndvi_mean__20180507",
        "s2_b04_mean__20180507t110000",
        "s2_b04_mean__20180512",
    ]
    for permuted in (ordered[::-1], sorted(ordered)):
        assert sorted(permuted, key=lambda n: parse_name(n).sort_key) == ordered


def test_series_columns() -> None:
    assert parse_series_column("ndwi_gao_p25") == ("ndwi_gao", "p25")
    assert parse_series_column("n_saturated") == (None, "saturated")
    assert parse_series_column("n_valid_mean") == ("n_valid", "mean")
    for column in ("geometry", "n_land"):
        with pytest.raises(InputError, match="neither"):
            parse_series_column(column)


def acquisition(product: str, when: str, sensor: str = "s2", orbit: str | None = None) -> Acquisition:
    time = dt.datetime.strptime(when, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    return Acquisition(product=product, sensor=sensor, datetime=time, orbit=orbit)


def test_times_stand_in_names_only_where_a_sensor_came_twice() -> None:
    found = with_times(
        [
            acquisition("a", "20180507T102648"),
            acquisition("b", "20180507T101012"),
            acquisition("c", "20180507T102648", sensor="l8"),
            acquisition("d", "20180512T102148"),
        ]
    )
    assert found == {"a": dt.time(10, 26, 48), "b": dt.time(10, 10, 12), "c": None, "d": None}


def test_radar_orbits_of_a_day_are_apart_already() -> None:
    twice = [acquisition("a", "20200301T052000", "s1", "015d"), acquisition("b", "20200301T171000", "s1", "088a")]
    assert set(with_times(twice).values()) == {None}


@given(st.permutations(["20180507T102648", "20180507T101012", "20180512T102148", "20180512T200000", "20180601T101010"]))
def test_names_do_not_depend_on_what_arrives_first(order: list[str]) -> None:
    acquisitions = [acquisition(f"p{when}", when) for when in order]
    assert with_times(acquisitions) == with_times(sorted(acquisitions, key=lambda a: a.product))


def test_a_plain_name_never_changes_its_meaning() -> None:
    """A second overpass takes the plain name away; no subset of a day's products gives it to another one."""
    products = [
        acquisition("a", "20180507T102648"),
        acquisition("b", "20180507T101012"),
        acquisition("c", "20180507T090000"),
    ]
    plain = set()
    for n in range(1, 4):
        for subset in itertools.combinations(products, n):
            names = {(p, t) for p, t in with_times(subset).items()}
            assert len({t for _, t in names}) == len(names)
            plain |= {p for p, t in names if t is None and n > 1}
    assert not plain


def test_products_of_one_second_share_their_name() -> None:
    """Which of them may stand in a file is decided where their columns are known."""
    twins = [acquisition("b", "20180507T102648"), acquisition("a", "20180507T102648")]
    assert with_times(twins) == {"a": None, "b": None}
    second_overpass = acquisition("c", "20180507T101012")
    time = dt.time(10, 26, 48)
    assert with_times([*twins, second_overpass]) == {"a": time, "b": time, "c": dt.time(10, 10, 12)}


def test_class_counts_are_known_by_name() -> None:
    assert {f"n_{name}" for name in CLASS_COUNT_ORDER} == set(CLASS_COUNTS)


@pytest.mark.parametrize("variable", ["n", "n_x", "n_valid", "n_total"])
def test_a_variable_that_begins_like_a_class_count_is_a_variable(variable: str) -> None:
    for statistic in ("mean", "count", "p25"):
        assert parse_series_column(f"{variable}_{statistic}") == (variable, statistic)
        parsed = parse_name(f"s2_{variable}_{statistic}__20180507")
        assert (parsed.variable, parsed.statistic, parsed.is_class_count) == (variable, statistic, False)
    assert not is_marker_name("s2_10m_n_mean__20180507")
    assert not is_marker_name("s2_10m_n_land__20180507")
