"""Sentinel-2 L2A SAFE folders: the reader against the STAC items that another project makes of the same metadata."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
import rasterio.shutil
from support.safe import (
    DATA,
    NATIVE_M,
    REAL,
    REAL_L1C,
    Baseline,
    build_safe,
    build_skeleton,
    drop_band,
    image_path,
    product_xml,
    tile_xml,
    truncate,
)

from s4c_hpc.catalog import BROKEN, OK, UNKNOWN_TIME, Product, headers_read, open_raster, opened
from s4c_hpc.catalog.discover import measure_folder
from s4c_hpc.catalog.safe_s2 import read_safe

BASELINES: tuple[Baseline, ...] = ("02.12", "02.14", "04.00", "05.09")


def read(safe: Path) -> Product:
    return read_safe(safe, measure_folder(safe))


def expected(baseline: str) -> dict[str, Any]:
    item: dict[str, Any] = json.loads((DATA / REAL[baseline] / "expected_output.json").read_text(encoding="utf-8"))
    return item


@pytest.mark.parametrize("baseline", ["02.14", "04.00", "05.09"])
def test_properties_are_those_of_an_independent_reader(tmp_path: Path, baseline: Baseline) -> None:
    product = read(build_skeleton(tmp_path, baseline))
    properties = expected(baseline)["properties"]
    assert product.status == OK
    assert product.datetime == dt.datetime.fromisoformat(properties["datetime"])
    assert product.platform == properties["platform"]
    assert product.relative_orbit == properties["sat:relative_orbit"]
    assert product.orbit_direction == properties["sat:orbit_state"]
    assert product.baseline == properties["s2:processing_baseline"] == baseline
    assert product.generation_time == dt.datetime.fromisoformat(properties["s2:generation_time"])
    assert product.cloud_cover == pytest.approx(properties["eo:cloud_cover"])
    assert f"MGRS-{product.tile}" == properties["grid:code"]
    assert f"{product.id}.SAFE" == properties["s2:product_uri"]
    assert properties["s2:datatake_id"] == f"{product.datatake}_N{baseline}"
    assert {band.grid.crs for band in product.bands} == {properties["proj:code"]}


@pytest.mark.parametrize("baseline", ["02.14", "04.00", "05.09"])
def test_layers_are_those_of_an_independent_reader(tmp_path: Path, baseline: Baseline) -> None:
    safe = build_skeleton(tmp_path, baseline)
    product = read(safe)
    assets = {asset["href"].removeprefix("./"): asset for asset in expected(baseline)["assets"].values()}
    for band in product.bands:
        asset = assets[Path(band.path).relative_to(safe).as_posix()]
        raster = asset["raster:bands"][0]
        assert list(band.grid.transform) == asset["proj:transform"][:6]
        assert [band.grid.height, band.grid.width] == asset["proj:shape"]
        assert list(band.grid.bounds) == asset["proj:bbox"]
        assert band.grid.res_m == raster["spatial_resolution"]
        assert (band.scale, band.offset) == pytest.approx((raster["scale"], raster["offset"]))
        assert (band.nodata, band.dtype) == (raster["nodata"], raster["data_type"])
        assert asset["eo:bands"][0]["name"] == band.name
    (scl,) = product.class_layers
    asset = assets[Path(scl.path).relative_to(safe).as_posix()]
    assert list(scl.grid.transform) == asset["proj:transform"][:6]
    assert (scl.dtype, product.class_kind) == ("uint8", "scl")


def test_a_misspelt_metadata_file_of_baseline_0212_is_read(tmp_path: Path) -> None:
    safe = build_skeleton(tmp_path, "02.12")
    assert product_xml(safe).name == "MTD_MSIL2a.xml"
    product = read(safe)
    assert product.status == OK
    assert product.datetime == dt.datetime(2018, 7, 21, 5, 37, 21, 24_000, tzinfo=dt.UTC)
    assert (product.tile, product.platform, product.relative_orbit) == ("43MDV", "sentinel-2a", 62)
    assert product.datatake == "GS2A_20180721T053721_016075"
    assert {band.offset for band in product.bands} == {0.0}
    assert {band.scale for band in product.bands} == {1e-4}


@pytest.mark.parametrize("baseline", BASELINES)
def test_each_layer_is_taken_at_its_native_resolution(tmp_path: Path, baseline: Baseline) -> None:
    product = read(build_skeleton(tmp_path, baseline))
    assert {band.name: band.grid.res_m for band in product.bands} == NATIVE_M
    assert all(f"_{band.name}_{band.grid.res_m:.0f}m." in band.path for band in product.bands)
    assert {(band.nodata, band.saturated) for band in product.bands} == {(0.0, 65535.0)}
    (scl,) = product.class_layers
    assert scl.path.endswith(("_SCL_20m.jp2", "_SCL_20m.tif"))


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_built_product_keeps_its_place_and_time(tmp_path: Path, baseline: Baseline) -> None:
    sensing = dt.datetime(2020, 5, 1, 10, 20, 31, tzinfo=dt.UTC)
    safe = build_safe(
        tmp_path, baseline=baseline, sensing=sensing, tile="32UPU", epsg=32632, ulx=690_000, uly=5_360_040, size_m=600
    )
    product = read(safe)
    assert (product.status, product.reason) == (OK, "")
    assert product.id == safe.name.removesuffix(".SAFE")
    assert (product.tile, product.datetime.replace(microsecond=0)) == ("32UPU", sensing)
    assert product.generation_time is not None
    assert product.generation_time.replace(microsecond=0) == sensing + dt.timedelta(hours=3)
    assert {band.grid.bounds for band in product.bands} == {(690_000.0, 5_359_440.0, 690_600.0, 5_360_040.0)}
    assert product.size_bytes == sum(p.stat().st_size for p in safe.rglob("*") if p.is_file())


def test_what_lies_beside_the_files_that_are_used_does_not_change_the_key(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    key = read(safe).key
    image = image_path(safe, "B04")
    image.with_name(f"{image.name}.aux.xml").write_text("<PAMDataset/>")
    for unused in ("HTML/UserProduct_index.html", f"{image.parent.relative_to(safe)}/T01WCP_AOT_10m.jp2"):
        (safe / unused).parent.mkdir(exist_ok=True)
        (safe / unused).write_bytes(b"not read")
    assert read(safe).key == key
    image.write_bytes(image.read_bytes() + b"\0")
    assert read(safe).key != key


@pytest.mark.parametrize(
    ("after_s", "ending", "time"),
    [
        (-5, "", "2020-05-01T23:58:31.024+00:00"),
        (3, "", "2020-05-01T23:58:31.024+00:00"),
        (60, "_S20200501T235931", "2020-05-01T23:59:31+00:00"),
        (480, "_S20200502T000631", "2020-05-02T00:06:31+00:00"),
    ],
)
def test_the_parts_of_a_datatake_are_told_apart_by_the_start_of_their_datastrip(
    tmp_path: Path, after_s: int, ending: str, time: str
) -> None:
    sensing = dt.datetime(2020, 5, 1, 23, 58, 31, tzinfo=dt.UTC)
    datastrip = sensing + dt.timedelta(seconds=after_s)
    product = read(build_safe(tmp_path, sensing=sensing, datastrip=datastrip, size_m=600))
    assert product.datatake == f"GS2A_20200501T235831_041826{ending}"
    assert product.datetime.isoformat(timespec="auto").replace(".024000", ".024") == time


def test_a_product_that_does_not_tell_its_datastrip_is_of_the_first(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    whole = read(safe)
    edit(product_xml(safe), r'datastripIdentifier="[^"]*"', "")
    product = read(safe)
    assert (product.status, product.datatake, product.datetime) == (OK, whole.datatake, whole.datetime)


def test_no_raster_is_opened_when_the_metadata_is_whole(tmp_path: Path) -> None:
    before = (opened(), headers_read())
    assert read(build_safe(tmp_path, size_m=600)).status == OK
    assert (opened(), headers_read()) == before


def test_without_granule_metadata_the_grids_come_from_one_header_a_resolution(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    whole = read(safe)
    tile_xml(safe).unlink()
    before = (opened(), headers_read())
    product = read(safe)
    assert product.bands == whole.bands
    assert product.class_layers == whole.class_layers
    assert (opened(), headers_read() - before[1]) == (before[0], 3)


def test_images_are_found_where_the_folders_differ_from_the_list(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    for path in safe.glob("GRANULE/*/IMG_DATA/R*/*.jp2"):
        path.rename(path.parents[1] / f"L2A_{path.name}")
    product = read(safe)
    assert product.status == OK
    assert all(Path(band.path).is_file() for band in product.bands)


def test_a_product_repacked_as_geotiff_is_read(tmp_path: Path) -> None:
    """Some archives keep SAFE folders with ``.tif`` images, as the metadata's ``imageFormat`` may say."""
    safe = build_safe(tmp_path, baseline="04.00", size_m=600)
    for path in safe.glob("GRANULE/*/IMG_DATA/R*/*.jp2"):
        rasterio.shutil.copy(path, path.with_suffix(".tif"), driver="GTiff")
        path.unlink()
    product = read(safe)
    assert (product.status, len(product.bands)) == (OK, 12)
    with open_raster(product.bands[0].path) as raster:
        assert raster.driver == "GTiff"


def test_the_id_does_not_depend_on_the_name_of_the_folder(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    product = read(safe)
    moved = read(safe.rename(tmp_path / "copy of a product.SAFE"))
    assert (moved.id, moved.key) == (product.id, product.key)
    assert str(tmp_path) not in product.key


def test_a_band_that_is_listed_at_a_coarser_resolution_only_is_taken_there(tmp_path: Path) -> None:
    safe = build_skeleton(tmp_path)
    xml = product_xml(safe)
    xml.write_text(re.sub(r"<IMAGE_FILE>[^<]*_10m</IMAGE_FILE>", "", xml.read_text("utf-8")), encoding="utf-8")
    res_m = {band.name: band.grid.res_m for band in read(safe).bands}
    assert (res_m["B02"], res_m["B04"], res_m["B05"]) == (20, 20, 20)
    assert "B08" not in res_m  # there is no copy of it at 20 m


def edit(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text(encoding="utf-8")
    changed = re.sub(pattern, replacement, text, flags=re.DOTALL)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no metadata": (lambda s: product_xml(s).unlink(), "holds no MTD_MSIL2A.xml"),
    "truncated product XML": (lambda s: truncate(product_xml(s)), "MTD_MSIL2A.xml: is not whole XML"),
    "empty product XML": (lambda s: truncate(product_xml(s), 0.0), "is not whole XML"),
    "truncated granule XML": (lambda s: truncate(tile_xml(s)), "MTD_TL.xml: is not whole XML"),
    "missing band": (lambda s: drop_band(s, "B08"), "files of B08 10 m (missing) are not there"),
    "empty band": (lambda s: truncate(image_path(s, "B11"), 0.0), "files of B11 20 m (empty)"),
    "missing classes": (lambda s: drop_band(s, "SCL"), "files of SCL 20 m (missing)"),
    "no class layer listed": (
        lambda s: edit(product_xml(s), r"<IMAGE_FILE>[^<]*_SCL_\d\dm</IMAGE_FILE>", ""),
        "lists no scene classification",
    ),
    "no band listed": (lambda s: edit(product_xml(s), r"_(?=B\d[0-9A]_\d\dm)", "-"), "lists no spectral band"),
    "no offset though the baseline has one": (
        lambda s: edit(product_xml(s), r"<BOA_ADD_OFFSET_VALUES_LIST>.*</BOA_ADD_OFFSET_VALUES_LIST>", ""),
        "has no BOA_ADD_OFFSET, which baseline 05.09 needs",
    ),
    "offset of an unknown band": (
        lambda s: edit(product_xml(s), r'<BOA_ADD_OFFSET band_id="0"', '<BOA_ADD_OFFSET band_id="77"'),
        "impossible value",
    ),
    "no quantification": (
        lambda s: edit(product_xml(s), r"<BOA_QUANTIFICATION_VALUE.*?</BOA_QUANTIFICATION_VALUE>", ""),
        "has no BOA_QUANTIFICATION_VALUE",
    ),
    "time that is none": (
        lambda s: edit(product_xml(s), r"(<PRODUCT_START_TIME>)[^<]*", r"\1yesterday"),
        "impossible value",
    ),
    "two granules": (lambda s: edit(product_xml(s), r"(</Granule>)", r"\1<Granule/>"), "holds 2 granules"),
    "no geocoding": (lambda s: edit(tile_xml(s), r"<Tile_Geocoding.*</Tile_Geocoding>", ""), "has no Tile_Geocoding"),
    "no grid of a resolution": (lambda s: edit(tile_xml(s), r'(<Size resolution=)"20"', r'\1"30"'), "of 20 m"),
    "wrong pixel size": (lambda s: edit(tile_xml(s), r"(<XDIM>)10", r"\g<1>12"), "are not 10 m squares"),
    "CRS that is none": (lambda s: edit(tile_xml(s), r"EPSG:\d+", "UTM 1"), "not an EPSG code"),
    "document type": (
        lambda s: edit(product_xml(s), r"(<n1:Level-2A_User)", r'<!DOCTYPE a [<!ENTITY b "b">]>\1'),
        "declares a document type",
    ),
    "other level": (
        lambda s: edit(product_xml(s), r"(<PROCESSING_LEVEL>)Level-2A", r"\1Level-1C"),
        "level 1C, needs L2A",
    ),
}


@pytest.mark.parametrize("kind", BREAKAGES)
def test_a_broken_product_is_a_row_with_a_reason(tmp_path: Path, kind: str) -> None:
    safe = build_safe(tmp_path, size_m=600)
    breaks, reason = BREAKAGES[kind]
    breaks(safe)
    product = read(safe)
    assert product.status == BROKEN
    assert reason in product.reason
    assert str(tmp_path) not in product.reason
    # What the name of the folder tells is still known.
    assert (product.tile, product.baseline, product.relative_orbit) == ("01WCP", "05.09", 73)
    assert product.datetime == dt.datetime(2023, 6, 25, 23, 46, 21, tzinfo=dt.UTC)


def test_level_1c_is_named_as_such(tmp_path: Path) -> None:
    safe = Path(shutil.copytree(DATA / REAL_L1C, tmp_path / REAL_L1C))
    product = read(safe)
    assert (product.status, product.reason) == (BROKEN, "level 1C, needs L2A")
    assert product.tile == "46RER"


def test_a_folder_with_a_foreign_name_and_nothing_in_it_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "what is this?.SAFE").mkdir()
    product = read(tmp_path / "what is this?.SAFE")
    assert (product.id, product.status, product.tile) == ("what-is-this-", BROKEN, "")
    assert product.datetime == UNKNOWN_TIME


def test_a_product_uri_cannot_lead_out_of_the_catalog(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    edit(product_xml(safe), r"(<PRODUCT_URI>)[^<]*", r"\1../../etc/passwd.SAFE")
    assert read(safe).id == safe.name.removesuffix(".SAFE")


def test_an_image_outside_of_the_folder_is_not_taken(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    outside = tmp_path / "T01WCP_20230625T234621_B04_10m.jp2"
    image_path(safe, "B04").rename(outside)
    edit(product_xml(safe), r"GRANULE/[^<]*_B04_10m", f"../{outside.stem}")
    assert "B04 10 m (missing)" in read(safe).reason


def test_a_locally_processed_product_needs_no_offset(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    edit(product_xml(safe), r"<BOA_ADD_OFFSET_VALUES_LIST>.*</BOA_ADD_OFFSET_VALUES_LIST>", "")
    edit(product_xml(safe), r"(<PROCESSING_BASELINE>)05.09", r"\g<1>99.99")
    product = read(safe)
    assert (product.status, {band.offset for band in product.bands}) == (OK, {0.0})
