"""Which products a set of features is made of, and what is refused before anything runs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from s4c_hpc.catalog import Band, Product
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.grid import Tile
from s4c_hpc.features.groups import Group, groups_of
from s4c_hpc.features.moments import moments
from s4c_hpc.features.radar_recipe import RadarRecipe, longest, radar_recipe

GRID = Tile(id="T", crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, width_m=600.0, height_m=600.0).grid(10.0)


IS_CENTRE = True


def product(day: int, bands: str, sensor: str = "s2", direction: str | None = None) -> Product:
    """One with some bands, separated by spaces."""
    layers = tuple(
        Band(name=name, path="/a", index=1, grid=GRID, dtype="uint16", scale=1e-4, offset=0.0, nodata=0.0)
        for name in bands.split()
    )
    time = dt.datetime(2018, 5, day, 10, tzinfo=dt.UTC)
    return Product(
        id=f"{sensor}-{day}",
        source="geotiff",
        sensor=sensor,
        platform="",
        tile="T",
        datetime=time,
        orbit_direction=direction,
        size_bytes=1,
        datatake="",
        bands=layers,
    )


def config(end: str = "2018-10-31", **features: Any) -> Config:
    return Config.model_validate(
        {"site": {"name": "site", "season_start": "2018-03-01", "season_end": end}, "features": features}
    )


def groups(products: list[Product], chosen: str = "optical", **features: Any) -> dict[str, Group]:
    return groups_of(config(**features), products, chosen)


def test_products_that_lack_a_band_are_left_out_by_name() -> None:
    some = [product(1, "B04 B08"), product(2, "B04 B08"), product(3, "B04")]
    group = groups(some, optical=["B04", "ndvi"])["s2"]
    assert group.products == {"s2-1", "s2-2"}
    assert group.left_out == {"s2-3"}


def test_a_band_of_few_products_does_not_cost_all_the_others() -> None:
    some = [product(1, "B04 B08"), product(2, "B04 B08"), product(3, "B04 B08 B09")]
    with pytest.raises(ConfigError, match="1 of 3 products of s2 have all bands of the set; B09 is in 1"):
        groups(some, optical=["B04", "B09"])
    assert groups(some, optical=["B04"])["s2"].left_out == frozenset()


def test_a_set_of_radar_needs_a_radar_sensor_and_no_more_than_one() -> None:
    with pytest.raises(ConfigError, match="no product of the season has a radar band"):
        groups([product(1, "B04")], "sar")
    two = [product(1, "VV", "s1", "ascending"), product(2, "VV", "s1b", "ascending")]
    with pytest.raises(ConfigError, match=r"several sensors have radar bands.*s1, s1b"):
        groups(two, "sar")
    assert set(groups([two[0], product(3, "B04")], "sar")) == {"s1"}


def test_a_formula_that_would_be_called_as_a_band_is_refused() -> None:
    settings = {"site": {"name": "site", "season_start": "2018-03-01", "season_end": "2018-10-31"}}
    wrong = Config.model_validate(
        {**settings, "variables": {"formulas": {"b3": "B04 * 2"}}, "features": {"optical": ["B03", "b3"]}}
    )
    with pytest.raises(ConfigError, match="two features would be called 'b3'"):
        groups_of(wrong, [product(1, "B03 B04")], "optical")


def seasons_of(end: str) -> RadarRecipe:
    return radar_recipe(config(end), [("ASC", "VV")], [])


def test_a_month_in_which_no_week_begins_is_no_period() -> None:
    assert [month.month for month in seasons_of("2018-09-01").months][-1] == "201808"
    assert [month.month for month in seasons_of("2018-09-03").months][-1] == "201809"


def test_longest_gaps_count_a_week_as_7_days_and_a_month_as_30() -> None:
    made = seasons_of("2018-10-31")
    assert (longest(made.weeks, 60), longest(made.months, 60), longest(made.seasons, 60)) == (8, 2, 1)
    assert longest(made.weeks, None) is None


def test_a_season_of_days_has_gaps_as_well() -> None:
    """Its only month is cut to less than half of one."""
    short = Config.model_validate({"site": {"name": "site", "season_start": "2018-03-03", "season_end": "2018-03-14"}})
    made = radar_recipe(short, [("ASC", "VV")], [])
    assert (longest(made.weeks, 60), longest(made.months, 60), longest([made.whole], 60)) == (8, 2, 2)


def test_an_infinite_value_is_none() -> None:
    values = np.array([[1.0, np.inf, 3.0, 5.0, 7.0, 9.0, 11.0, -np.inf, 13.0]])
    out = np.empty((1, 2, 1), np.float32)
    members = np.array([0, 9], np.int64), np.zeros(2, np.int64), np.empty(0)
    moments(values, members, IS_CENTRE, out)
    known = values[np.isfinite(values)]
    np.testing.assert_allclose(out[0, :, 0], [known.mean(), known.std(ddof=1)], rtol=1e-6)
