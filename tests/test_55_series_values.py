"""The numbers of a series file, held against whole rasters and GEOS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from support.series import TILE, Oracle, Scene, config, parcels, raster_on, read_table

from s4c_hpc.config import Category, Config
from s4c_hpc.optical import resolve
from s4c_hpc.series import CLASS_COUNTS

ALL_STATISTICS = ("count", "mean", "stdev", "min", "max", "median", "p5", "p25", "p75", "p100")


def check_against_oracle(
    scene: Scene, settings: Config, files: dict[str, Path], expected_grids: dict[str, list[str]]
) -> None:
    oracle = Oracle(scene, settings)
    variables = {v.name: v for v in resolve(settings.variables)}
    assert list(files) == list(expected_grids)
    for grid, names in expected_grids.items():
        table, res = read_table(files[grid]), int(grid.removesuffix("m"))
        np.testing.assert_array_equal(table["NewID"], scene.new_id)
        for name in names:
            found = np.stack([table[f"{name}_{s}"].to_numpy() for s in settings.variables.statistics], axis=1)
            wanted = oracle.statistics(variables[name], res, settings.variables.statistics)
            np.testing.assert_allclose(found, wanted, rtol=3e-7, atol=1e-8, err_msg=f"{grid} {name}")
        counted = oracle.counts(res)
        for column, category in CLASS_COUNTS.items():
            wanted_counts = [sum(c.values()) if category is None else c[category.value] for c in counted]
            np.testing.assert_array_equal(table[column], wanted_counts, err_msg=f"{grid} {column}")
        stray = set(table.column_names) - {f"{n}_{s}" for n in names for s in settings.variables.statistics}
        assert stray == {"NewID", *CLASS_COUNTS}


def test_all_statistics_on_all_grids_equal_numpy(tmp_path: Path) -> None:
    settings = config(variables={"statistics": ALL_STATISTICS})
    scene = Scene()
    grids = {"10m": ["b04", "b08", "ndvi", "ndwi_gao"], "20m": ["b11"], "60m": ["b09"]}
    check_against_oracle(scene, settings, scene.run(tmp_path, settings), grids)


def test_a_formula_over_three_grids_is_evaluated_on_the_finest(tmp_path: Path) -> None:
    settings = config(variables={"bands": (), "indices": (), "formulas": {"mix": "sqrt(B08) * B11 / (B09 + 0.1)"}})
    scene = Scene(seed=5)
    files = scene.run(tmp_path, settings)
    check_against_oracle(scene, settings, files, {"10m": ["mix"]})


def test_coarser_bands_come_by_nearest_which_is_repetition(tmp_path: Path) -> None:
    settings = config(
        extract={"buffer_m": {"10m": 0.0, "20m": 0.0, "60m": 0.0}},
        variables={"bands": (), "indices": ("ndwi_gao",), "statistics": ("mean", "count")},
    )
    # Edges on every other border of 20 m pixels, so that both grids are cut alike: rows 30 to 59, columns 10 to 39.
    scene = Scene(geometry=np.array([shapely.box(600100, 5399400, 600400, 5399700)], dtype=object))
    scene.scl[:] = 4
    near = np.where(scene.dn["B08"] == 0, np.nan, scene.dn["B08"] * 1e-4)
    far = np.where(scene.dn["B11"] == 0, np.nan, scene.dn["B11"] * 1e-4)
    far = np.repeat(np.repeat(far, 2, axis=0), 2, axis=1)
    values = ((near - far) / (near + far))[30:60, 10:40]
    table = read_table(scene.run(tmp_path, settings)["10m"])
    assert table["n_total"][0].as_py() == values.size
    assert table["ndwi_gao_count"][0].as_py() == np.sum(np.isfinite(values))
    np.testing.assert_allclose(table["ndwi_gao_mean"][0].as_py(), np.nanmean(values), rtol=3e-7)


def test_offset_of_later_baselines_is_added(tmp_path: Path) -> None:
    settings = config(variables={"bands": ("B04",), "indices": (), "statistics": ("mean", "min", "max")})
    scene = Scene(offset=-0.1)
    check_against_oracle(scene, settings, scene.run(tmp_path, settings), {"10m": ["b04"]})
    assert read_table(tmp_path / "series_10m.arrow")["b04_min"].to_pylist()[0] < 0


def test_a_validity_rule_decides_what_enters(tmp_path: Path) -> None:
    settings = config(
        validity={"scl": {7: "cloud", 2: "valid"}, "use": ["valid"]},
        variables={"bands": ("B04",), "indices": ()},
    )
    scene = Scene()
    check_against_oracle(scene, settings, scene.run(tmp_path, settings), {"10m": ["b04"]})


def test_declared_classes_and_values_nobody_listed(tmp_path: Path) -> None:
    scene = Scene(classes_declared={4: "valid", 5: "snow", 0: "nodata"})
    settings = config(variables={"bands": ("B04",), "indices": ()})
    files = scene.run(tmp_path, settings)
    check_against_oracle(scene, settings, files, {"10m": ["b04"]})
    table = read_table(files["10m"])
    assert sum(table["n_snow"].to_pylist()) > 0
    assert sum(table["n_water"].to_pylist()) == 0


def test_without_a_class_layer_a_pixel_without_any_value_is_nodata(tmp_path: Path) -> None:
    scene = Scene(has_classes=False)
    settings = config(variables={"bands": ("B04", "B08"), "indices": (), "statistics": ("count",)})
    table = read_table(scene.run(tmp_path, settings)["10m"])
    red, near = scene.dn["B04"], scene.dn["B08"]
    for row, pixels in enumerate(Oracle(scene, settings).inside(10)):
        assert table["n_nodata"][row].as_py() == np.sum((red[pixels] == 0) & (near[pixels] == 0))
        assert table["n_valid"][row].as_py() == np.sum((red[pixels] > 0) | (near[pixels] > 0))
        assert table["b04_count"][row].as_py() == np.sum(red[pixels] > 0)


def test_coverage_weighs_pixels_by_the_area_inside(tmp_path: Path) -> None:
    settings = config(
        extract={"weighting": "coverage", "buffer_m": {"10m": 0.0, "20m": 0.0, "60m": 0.0}},
        variables={"bands": ("B04",), "indices": (), "statistics": ("count", "mean", "stdev", "min", "max")},
    )
    scene = Scene(geometry=parcels(n=13)[:12])
    table = read_table(scene.run(tmp_path, settings)["10m"])
    oracle = Oracle(scene, settings)
    values, usable = oracle.physical("B04", 10), np.isin(oracle.categories(10), [1, 5])
    grid = TILE.grid(10)
    for row, geometry in enumerate(scene.geometry):
        if geometry is None:
            assert table["n_total"][row].as_py() == 0
            continue
        shares = np.zeros(values.shape)
        west, south, east, north = geometry.intersection(shapely.box(*TILE.bounds)).bounds
        for i in range(int((grid.uly - north) // 10), int((grid.uly - south) // 10) + 1):
            for j in range(int((west - grid.ulx) // 10), int((east - grid.ulx) // 10) + 1):
                left, top = grid.ulx + j * 10, grid.uly - i * 10
                shares[i, j] = geometry.intersection(shapely.box(left, top - 10, left + 10, top)).area / 100
        weight = np.where(usable & np.isfinite(values), shares, 0.0)
        assert table["n_total"][row].as_py() == pytest.approx(shares.sum(), rel=1e-6)
        assert table["b04_count"][row].as_py() == pytest.approx(weight.sum(), rel=1e-6)
        if weight.sum() > 0:
            mean = np.nansum(weight * values) / weight.sum()
            spread = np.sqrt(np.nansum(weight * (values - mean) ** 2) / weight.sum())
            assert table["b04_mean"][row].as_py() == pytest.approx(mean, rel=1e-6)
            assert table["b04_stdev"][row].as_py() == pytest.approx(spread, rel=1e-5)
            assert table["b04_min"][row].as_py() == pytest.approx(np.nanmin(values[weight > 0]), rel=1e-6)


@pytest.mark.parametrize("weighting", ["centre", "coverage"])
def test_class_counts_sum_to_the_total(tmp_path: Path, weighting: str) -> None:
    settings = config(extract={"weighting": weighting})
    for path in Scene().run(tmp_path, settings).values():
        table = read_table(path)
        parts = sum(table[name].to_numpy() for name, category in CLASS_COUNTS.items() if category is not None)
        np.testing.assert_allclose(parts, table["n_total"].to_numpy(), rtol=1e-6)
        assert set(CLASS_COUNTS.values()) == {None, *Category}


def test_the_oracle_takes_the_centre_child() -> None:
    values = np.arange(60 * 63).reshape(60, 63)
    assert raster_on(values, 20, 60)[0, 0] == values[1, 1]
    assert raster_on(values, 20, 10)[3, 5] == values[1, 2]
