"""Defects of the reference system in extraction, each with the pixels that showed it and the right answer.

Every scene is one square parcel of whole pixels, so that expected values can be written down by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from support.series import Scene, config, read_table

# 12 x 12 pixels of 10 m, 6 x 6 of 20 m, 2 x 2 of 60 m, on borders of all three grids.
SQUARE = np.array([shapely.box(600120, 5399760, 600240, 5399880)], dtype=object)
INSIDE = {10: (slice(12, 24), slice(12, 24)), 20: (slice(6, 12), slice(6, 12)), 60: (slice(2, 4), slice(2, 4))}
NO_BUFFER = {"buffer_m": {"10m": 0.0, "20m": 0.0, "60m": 0.0}}


def scene(**bands: NDArray[Any] | int) -> Scene:
    """The parcel with the given DN, all of it clear (SCL 4) unless ``scl`` says otherwise."""
    made = Scene(geometry=SQUARE)
    made.scl[:] = 4
    for name, values in bands.items():
        if name == "scl":
            made.scl[INSIDE[20]] = values
        else:
            made.dn[name][INSIDE[20 if name in {"B05", "B11"} else 10]] = values
    return made


def values(made: Scene, folder: Path, **variables: Any) -> dict[str, float]:
    settings = config(extract=NO_BUFFER, variables={"bands": (), "indices": (), **variables})
    row: dict[str, float] = read_table(made.run(folder, settings)["10m"]).to_pylist()[0]
    assert row["n_total"] == 144
    return row


def test_negative_index_values_are_kept(tmp_path: Path) -> None:
    """There, a negative NDVI was stored as no data: means of bare and wet parcels came out too high."""
    half = np.repeat([1000, 3000], 72).reshape(12, 12)
    row = values(scene(B04=2000, B08=half), tmp_path, indices=("ndvi",))
    assert row["ndvi_count"] == 144
    assert row["ndvi_min"] == pytest.approx(-1 / 3)
    assert row["ndvi_mean"] == pytest.approx((-1 / 3 + 1 / 5) / 2)


def test_zero_is_a_value_of_an_index(tmp_path: Path) -> None:
    """There, zero was no data even for NDVI, FAPAR and FCOVER."""
    half = np.repeat([2000, 6000], 72).reshape(12, 12)
    row = values(scene(B04=2000, B08=half), tmp_path, indices=("ndvi",))
    assert (row["ndvi_count"], row["ndvi_min"]) == (144, 0.0)
    assert row["ndvi_mean"] == pytest.approx(0.25)


@pytest.mark.parametrize("first_is", ["cloud", "nodata"])
def test_minimum_and_maximum_are_never_a_false_zero(tmp_path: Path, first_is: str) -> None:
    """There, both began at 0 where the first pixel of the parcel was not valid."""
    classes, red = np.full((6, 6), 4), np.full((12, 12), 3000)
    red[5, 5] = 4000
    if first_is == "cloud":
        classes[0, 0] = 9
    else:
        red[0, 0] = 0
    row = values(scene(B04=red, scl=classes), tmp_path, bands=("B04",), formulas={"minus": "-B04"})
    assert (row["b04_min"], row["b04_max"]) == pytest.approx((0.3, 0.4))
    assert (row["minus_min"], row["minus_max"]) == pytest.approx((-0.4, -0.3))


def test_percentiles_count_repeated_values_and_stand_at_the_right_rank(tmp_path: Path) -> None:
    """There, they were taken from the distinct values only, and one rank too high."""
    red = np.full(144, 1000)
    red[:24] = np.arange(2000, 4400, 100)
    row = values(
        scene(B04=red.reshape(12, 12)),
        tmp_path,
        bands=("B04",),
        statistics=("p0", "p25", "median", "p75", "p90", "p100"),
    )
    for name, share in (("p0", 0), ("p25", 25), ("median", 50), ("p75", 75), ("p90", 90), ("p100", 100)):
        assert row[f"b04_{name}"] == pytest.approx(np.percentile(red * 1e-4, share)), name
    assert row["b04_median"] == pytest.approx(0.1)


@pytest.mark.parametrize("n_clear", [1, 2, 3, 4])
def test_percentiles_of_very_few_pixels(tmp_path: Path, n_clear: int) -> None:
    """There, they were read past the end of the list."""
    red = np.zeros(144, dtype=int)
    red[40 : 40 + n_clear] = [1000, 4000, 2000, 3000][:n_clear]
    row = values(scene(B04=red.reshape(12, 12)), tmp_path, bands=("B04",), statistics=("count", "p25", "median", "p75"))
    clear = red[red > 0] * 1e-4
    assert row["b04_count"] == n_clear
    for name, share in (("p25", 25), ("median", 50), ("p75", 75)):
        assert row[f"b04_{name}"] == pytest.approx(np.percentile(clear, share))


def test_the_cloud_mask_is_applied_and_what_it_took_is_counted(tmp_path: Path) -> None:
    """There, the mask of L3B was opened and never used."""
    classes = np.array([[4, 4, 5, 5, 6, 7], [8, 8, 9, 9, 10, 3], [2, 11, 1, 0, 4, 4], *[[4] * 6] * 3])
    red = np.where(np.kron(np.isin(classes, [4, 5, 6, 7]), np.ones((2, 2))), 1000, 9000)
    row = values(scene(B04=red, scl=classes), tmp_path, bands=("B04",))
    assert (row["b04_mean"], row["b04_max"], row["b04_count"]) == pytest.approx((0.1, 0.1, 4 * 26))
    counted = {
        name: row[f"n_{name}"] / 4 for name in ("valid", "water", "cloud", "shadow", "snow", "saturated", "nodata")
    }
    assert counted == {"valid": 25, "water": 1, "cloud": 5, "shadow": 2, "snow": 1, "saturated": 1, "nodata": 1}


def test_brightness_does_not_overflow_and_both_formulas_are_named_apart(tmp_path: Path) -> None:
    """There, brightness was the square root of squared DN times 1000 in 16 bits, and two formulas had one name."""
    made = scene(B03=1500, B04=2500, B08=5500, B11=4000)
    row = values(made, tmp_path, indices=("brightness", "brightness_l3b"))
    assert row["brightness_mean"] == pytest.approx(np.sqrt(0.15**2 + 0.25**2 + 0.55**2 + 0.4**2))
    assert row["brightness_l3b_mean"] == pytest.approx(np.sqrt((0.15**2 + 0.25**2) / 2))


def test_water_indices_are_named_apart_and_have_one_sign_each(tmp_path: Path) -> None:
    """There, one product's NDWI was the other's with the opposite sign, and both lost their date."""
    row = values(scene(B03=1500, B08=5500, B11=4000), tmp_path, indices=("ndwi_gao", "ndwi_mcfeeters"))
    assert row["ndwi_gao_mean"] == pytest.approx((0.55 - 0.4) / (0.55 + 0.4))
    assert row["ndwi_mcfeeters_mean"] == pytest.approx((0.15 - 0.55) / (0.15 + 0.55))


def test_values_are_physical_and_not_cut_off(tmp_path: Path) -> None:
    """There, an index came as an integer thousand-fold, truncated: NDVI up to 573264."""
    row = values(scene(B04=1237, B08=4999), tmp_path, bands=("B04",), indices=("ndvi",))
    assert row["b04_mean"] == pytest.approx(0.1237, rel=1e-6)
    assert row["ndvi_mean"] == pytest.approx((4999 - 1237) / (4999 + 1237), rel=1e-6)
    assert -1 <= row["ndvi_min"] <= row["ndvi_max"] <= 1


def test_a_parcel_with_few_valid_pixels_has_values_and_says_how_few(tmp_path: Path) -> None:
    """There, a parcel with at most 10 % valid pixels, or only one, vanished without a trace."""
    classes = np.full((6, 6), 9)
    classes[2, 3] = 4
    red = np.arange(1, 145).reshape(12, 12) * 10
    row = values(scene(B04=red, scl=classes), tmp_path, bands=("B04",), statistics=("count", "mean", "stdev"))
    clear = red[4:6, 6:8] * 1e-4
    assert (row["b04_count"], row["n_valid"], row["n_cloud"]) == (4, 4, 140)
    assert row["b04_mean"] == pytest.approx(clear.mean())
    assert row["b04_stdev"] == pytest.approx(clear.std(ddof=1))


def test_without_a_valid_pixel_there_is_no_value_but_the_reason(tmp_path: Path) -> None:
    row = values(scene(B04=1000, scl=9), tmp_path, bands=("B04",))
    assert (row["b04_count"], row["n_cloud"], row["n_valid"]) == (0, 144, 0)
    assert all(np.isnan(row[f"b04_{s}"]) for s in ("mean", "stdev", "min", "max", "median", "p25", "p75"))


def test_band_columns_keep_their_names_apart(tmp_path: Path) -> None:
    """There, leading and trailing zeros went: bands B1 and B10 had one column."""
    settings = config(variables={"bands": ("B04", "B08", "B05", "B09"), "indices": ()})
    files = Scene(geometry=SQUARE).run(tmp_path, settings)
    columns = [name for path in files.values() for name in read_table(path).column_names if name.endswith("_mean")]
    assert columns == ["b04_mean", "b08_mean", "b05_mean", "b09_mean"]
