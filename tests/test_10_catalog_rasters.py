"""The one place that opens rasters: physical values through real JPEG2000 files, counts and errors."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from support.safe import Baseline, build_safe, corrupt_band, image_path, truncate

from s4c_hpc.catalog import Product, headers_read, open_raster, opened
from s4c_hpc.catalog.discover import measure_folder
from s4c_hpc.catalog.rasters import read_header
from s4c_hpc.catalog.safe_s2 import read_safe
from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.grid import Grid


def reflectance(product: Product, name: str) -> NDArray[np.float64]:
    band = next(b for b in product.bands if b.name == name)
    with open_raster(band.path) as raster:
        dn = raster.read(band.index)
    return np.where(dn == band.nodata, np.nan, dn * band.scale + band.offset)


@pytest.mark.parametrize(("baseline", "added"), [("02.12", 0), ("02.14", 0), ("04.00", 1000), ("05.09", 1000)])
def test_dn_become_physical_reflectance(tmp_path: Path, baseline: Baseline, added: int) -> None:
    rng = np.random.default_rng(7)
    truth = {"B04": rng.integers(-80, 9000, (60, 60)) * 1e-4, "B11": rng.integers(0, 9000, (30, 30)) * 1e-4}
    if not added:
        truth = {name: np.clip(values, 1e-4, None) for name, values in truth.items()}
    dn = {name: np.rint(values * 10_000 + added).astype(np.uint16) for name, values in truth.items()}
    dn["B04"][3, 5] = 0
    truth["B04"][3, 5] = np.nan
    safe = build_safe(tmp_path, baseline=baseline, size_m=600, dn=dn)
    product = read_safe(safe, measure_folder(safe))
    for name, values in truth.items():
        np.testing.assert_allclose(reflectance(product, name), values, rtol=0, atol=1e-9)


def test_generated_bands_are_seeded_and_plausible(tmp_path: Path) -> None:
    def b08(folder: str, seed: int) -> NDArray[np.float64]:
        safe = build_safe(tmp_path / folder, size_m=600, seed=seed)
        return reflectance(read_safe(safe, measure_folder(safe)), "B08")

    first = b08("a", 1)
    np.testing.assert_array_equal(first, b08("b", 1))
    assert not np.array_equal(first, b08("c", 2))
    assert 0.0 < first.min() < first.max() < 0.6


def test_openings_are_counted_apart(tmp_path: Path) -> None:
    path = image_path(build_safe(tmp_path, size_m=600), "B02")
    pixels, headers = opened(), headers_read()
    with open_raster(path) as raster:
        assert raster.read(1).shape == (60, 60)
    assert (opened(), headers_read()) == (pixels + 1, headers)
    header = read_header(path)
    assert header.grid == Grid(crs="EPSG:32601", ulx=300_000.0, uly=7_400_040.0, res_m=10.0, width=60, height=60)
    assert (header.n_bands, header.dtypes) == (1, ("uint16",))
    assert (opened(), headers_read()) == (pixels + 1, headers + 1)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"), open_raster(tmp_path / "none.jp2"):
        pass


def test_a_corrupt_file_is_told_when_it_is_opened(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    corrupt_band(safe, "B04")
    path = image_path(safe, "B04")
    with pytest.raises(InputError, match="cannot be decoded") as caught, open_raster(path) as raster:
        raster.read(1)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_a_truncated_file_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = image_path(build_safe(tmp_path), "B04")
    truncate(path)
    with open_raster(path) as raster:
        assert raster.width == 240
    with pytest.raises(InputError, match=r"cannot be decoded .*decoded_tile") as caught, open_raster(path) as raster:
        raster.read(1)
    assert caught.value.where == str(path)


def test_an_error_of_the_caller_passes_through(tmp_path: Path) -> None:
    path = image_path(build_safe(tmp_path, size_m=600), "B04")
    with pytest.raises(ZeroDivisionError), open_raster(path):
        1 / 0  # noqa: B018 - the error is what the test is about


def write_tif(path: Path, **profile: Any) -> Path:
    defaults: dict[str, Any] = {
        "driver": "GTiff",
        "width": 4,
        "height": 3,
        "count": 1,
        "dtype": "uint16",
        "crs": "EPSG:32632",
        "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_300_000),
    }
    with rasterio.open(path, "w", **{**defaults, **profile}) as raster:
        raster.write(np.ones((raster.count, raster.height, raster.width), raster.dtypes[0]))
    return path


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"crs": None}, "has no CRS"),
        ({"crs": "EPSG:4326"}, "not a projected one in metres"),
        ({"crs": "EPSG:2263"}, "not a projected one in metres"),  # New York, US survey feet
        ({"crs": "+proj=laea +lat_0=50 +lon_0=9.123 +datum=WGS84"}, "no authority code"),
        ({"transform": rasterio.Affine(10, 0, 0, 0, -20, 0)}, "not north-up squares"),
        ({"transform": rasterio.Affine(10, 1, 0, 1, -10, 0)}, "not north-up squares"),
        ({"transform": rasterio.Affine(10, 0, 0, 0, 10, 0)}, "not north-up squares"),
    ],
)
def test_a_header_that_gives_no_grid_is_refused(tmp_path: Path, profile: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_header(write_tif(tmp_path / "a.tif", **profile))


def test_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif")
    with open_raster(path) as raster:
        raster.stats(indexes=1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_times_of_a_built_product_may_be_given(tmp_path: Path) -> None:
    sensing = dt.datetime(2021, 3, 2, 10, 0, 0, tzinfo=dt.UTC)
    generation = dt.datetime(2024, 1, 1, 0, 0, 0, tzinfo=dt.UTC)
    safe = build_safe(tmp_path, sensing=sensing, generation=generation, size_m=600)
    product = read_safe(safe, measure_folder(safe))
    assert product.generation_time == generation
    assert safe.name.endswith("_20240101T000000.SAFE")
