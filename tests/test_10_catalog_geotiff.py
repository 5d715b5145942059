"""Declared GeoTIFF sets: what the configuration says against what the files hold."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from s4c_hpc.catalog import BROKEN, OK, UNKNOWN_TIME, Product, headers_read, opened
from s4c_hpc.catalog.content import WHOLE_BYTES
from s4c_hpc.catalog.discover import measure_file
from s4c_hpc.catalog.geotiff import check_declaration, find_geotiffs, missing_numbers, read_geotiff
from s4c_hpc.config import Category, GeoTiffSource, OwnTile
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.core.mgrs import mgrs_tile

DEMO = Path(__file__).parent / "data" / "tum-freising-2018" / "images"
TILE = Tile(id="T", crs="EPSG:32632", ulx=600_000, uly=5_300_000, width_m=400, height_m=300)
OWN = OwnTile(id="T", crs="epsg:32632", ulx=600_000, uly=5_300_000, width_m=400, height_m=300)


def declare(root: Path, **changes: Any) -> GeoTiffSource:
    values: dict[str, Any] = {
        "kind": "geotiff",
        "root": root,
        "pattern": "S2_{datetime}.tif",
        "datetime_format": "%Y%m%dT%H%M%S",
        "tile": "T",
        "bands": {"B04": 1, "B08": 2},
        "mask_band": 3,
        "mask_classes": {0: Category.NODATA, 1: Category.VALID},
    }
    return GeoTiffSource(**{**values, **changes})


def write(
    path: Path,
    *,
    crs: str | None = "EPSG:32632",
    ulx: float = 600_000,
    uly: float = 5_300_000,
    seed: int = 0,
    res_m: float = 10,
    dtype: str = "uint16",
) -> Path:
    pixels = np.random.default_rng(seed).integers(1, 9000, (3, 30, 40)).astype(dtype)
    transform = rasterio.Affine(res_m, 0, ulx, 0, -res_m, uly)
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 3, "dtype": dtype, "transform": transform}
    with rasterio.open(path, "w", crs=crs, **profile) as raster:
        raster.write(pixels)
    return path


def read(path: Path, source: GeoTiffSource, tile: Tile = TILE) -> Product:
    return read_geotiff(path, measure_file(path), source, tile)


def test_a_product_is_what_name_header_and_declaration_say(tmp_path: Path) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif")
    before = (opened(), headers_read())
    product = read(path, declare(tmp_path, scale=2e-4, offset=-0.1, nodata="none"))
    assert (opened(), headers_read()) == (before[0], before[1] + 1)
    assert (product.status, product.reason) == (OK, "")
    assert (product.id, product.datatake, product.tile, product.sensor) == (path.stem, "", "T", "s2")
    assert product.datetime == dt.datetime(2020, 5, 1, 10, 20, 31, tzinfo=dt.UTC)
    assert product.size_bytes == path.stat().st_size
    assert [(b.name, b.index, b.path) for b in product.bands] == [("B04", 1, str(path)), ("B08", 2, str(path))]
    assert product.bands[0].grid == Grid(crs="EPSG:32632", ulx=600_000, uly=5_300_000, res_m=10, width=40, height=30)
    assert {(b.dtype, b.scale, b.offset, b.nodata) for b in product.bands} == {("uint16", 2e-4, -0.1, None)}
    (mask,) = product.class_layers
    assert (mask.name, mask.index) == ("MASK", 3)
    assert (product.class_kind, product.class_table) == ("declared", {0: "nodata", 1: "valid"})


def test_a_set_without_a_mask_has_no_class_layer(tmp_path: Path) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif")
    assert read(path, declare(tmp_path, mask_band=None)).class_layers == ()


def test_the_demo_is_read_as_rasterio_sees_it() -> None:
    bands = {"B01": 1, "B12": 12}
    source = declare(DEMO, pattern="S2_L2A_{datetime}.tif", datetime_format="%Y%m%dT%H%M%SZ", bands=bands, mask_band=13)
    files = find_geotiffs(source)
    assert len(files) == 23
    for path in files:
        product = read(path, source, mgrs_tile("32UPU"))
        with rasterio.open(path) as raster:
            assert product.bands[0].grid.transform == tuple(raster.transform)[:6]
            assert (product.bands[0].grid.width, product.bands[0].grid.height) == (raster.width, raster.height)
            assert product.bands[0].grid.crs == str(raster.crs)


def test_only_names_that_fit_the_pattern_are_taken(tmp_path: Path) -> None:
    for name in ("S2_20200501T102031.tif", "S2_20200501T102031.tif.aux.xml", "xS2_20200501T102031.tif", "S2_.tif"):
        write(tmp_path / name)
    (tmp_path / "S2_20200101T000000.tif").mkdir()
    assert [p.name for p in find_geotiffs(declare(tmp_path))] == ["S2_20200501T102031.tif"]


def test_the_key_changes_with_how_the_file_is_read_and_with_its_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif")
    key = read(path, declare(tmp_path)).key
    others = [
        read(path, declare(tmp_path, scale=1e-3)).key,
        read(path, declare(tmp_path, offset=-0.1)).key,
        read(path, declare(tmp_path, bands={"B04": 2, "B08": 1})).key,
        read(path, declare(tmp_path, mask_band=2)).key,
        read(write(path, seed=1), declare(tmp_path)).key,
    ]
    assert len({key, *others}) == 6


def test_the_key_does_not_change_with_place_time_or_the_meaning_of_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif")
    key = read(path, declare(tmp_path)).key
    other = tmp_path / "other"
    other.mkdir()
    moved = path.rename(other / path.name)
    moved.touch()
    assert read(moved, declare(other, mask_classes={1: Category.CLOUD}, nodata=0)).key == key


BROKEN_FILES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no CRS": ({"crs": None}, {}, "has no CRS"),
    "degrees": ({"crs": "EPSG:4326"}, {}, "not a projected one"),
    "other zone": ({"crs": "EPSG:32633"}, {}, "its CRS is EPSG:32633, that of tile T is EPSG:32632"),
    "elsewhere": ({"ulx": 700_000}, {}, "lies outside of tile T"),
    "half a pixel beside": ({"ulx": 600_005}, {}, "its pixels lie 5 m beside the grid of tile T"),
    "5 mm beside": ({"uly": 5_299_999.995}, {}, "its pixels lie 0.005 m beside the grid of tile T"),
    "pixel size": ({"res_m": 30}, {}, "its pixels are 30 m wide, not 10, 20, 60 m"),
    "negative nodata": ({}, {"nodata": -9999}, "its band 1 (B04) is uint16 and can never be nodata = -9999"),
    "large nodata": ({}, {"nodata": 65536}, "is uint16 and can never be nodata = 65536"),
    "broken nodata": ({}, {"nodata": 0.5}, "is uint16 and can never be nodata = 0.5"),
    "nan in integers": ({}, {"nodata": math.nan}, "is uint16 and can never be nodata = nan"),
    "nodata beyond float32": ({"dtype": "float32"}, {"nodata": 1e39}, "can never be nodata = 1e+39"),
    "band number": ({}, {"bands": {"B04": 1, "B08": 9}}, "no band number 9 (B08): the file has 3"),
    "mask number": ({}, {"mask_band": 4}, "no band number 4 (MASK)"),
    "time": ({}, {"datetime_format": "%d.%m.%Y"}, "is not a time of the form %d.%m.%Y"),
}


@pytest.mark.parametrize("kind", BROKEN_FILES)
def test_a_broken_file_is_a_row_with_a_reason(tmp_path: Path, kind: str) -> None:
    written, declared, reason = BROKEN_FILES[kind]
    product = read(write(tmp_path / "S2_20200501T102031.tif", **written), declare(tmp_path, **declared))
    assert product.status == BROKEN
    assert reason in product.reason
    assert missing_numbers(product) == ("number" in kind)
    assert (product.datetime == UNKNOWN_TIME) == (kind == "time")


def test_a_file_that_is_no_raster_is_a_row_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "S2_20200501T102031.tif"
    path.write_bytes(b"II*\x00" + b"\xff" * 100)
    assert "cannot be decoded" in read(path, declare(tmp_path)).reason


def test_whole_pixels_beside_the_corner_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif", ulx=599_930, uly=5_300_110)
    assert read(path, declare(tmp_path)).status == OK


@pytest.mark.parametrize(
    ("changes", "tiles", "message"),
    [
        ({"bands": {"b04": 1}}, [OWN], "sources.3.bands: 'b04' is not a band name"),
        ({"bands": {"MASK": 1}}, [OWN], "'MASK' is not a band name"),
        ({"bands": {}}, [OWN], "no band is declared"),
        ({"tile": "t"}, [OWN], "sources.3.tile: no own tile is called 't'"),
        ({"tile": "TT"}, [OWN], "did you mean 'T'"),
        ({"tile": "T"}, [], "'T' is not an MGRS tile such as 32UPU"),
        ({"tile": "32USU"}, [], "'32USU' is not an MGRS tile such as 32UPU"),
    ],
)
def test_a_declaration_that_no_file_can_satisfy_is_refused(
    tmp_path: Path, changes: dict[str, Any], tiles: list[OwnTile], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_declaration(declare(tmp_path, **changes), tiles, "sources.3")
    assert message in str(caught.value)


def test_the_tile_is_the_declared_one_or_that_of_the_mgrs_grid(tmp_path: Path) -> None:
    assert check_declaration(declare(tmp_path), [OWN], "sources.0") == TILE
    assert check_declaration(declare(tmp_path, tile="32UPU"), [], "sources.0") == mgrs_tile("32UPU")


@pytest.mark.parametrize(
    ("ulx", "uly", "reason"),
    [
        (600_010, 5_399_990, ""),
        (600_005, 5_399_990, "its pixels lie 5 m beside the grid of tile 32UPU"),
        (600_000, 5_290_000, "lies outside of tile 32UPU"),
    ],
)
def test_a_file_must_fit_its_mgrs_tile(tmp_path: Path, ulx: float, uly: float, reason: str) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif", ulx=ulx, uly=uly)
    product = read(path, declare(tmp_path, tile="32UPU"), mgrs_tile("32UPU"))
    assert (product.status, product.reason) == (BROKEN if reason else OK, reason)


@pytest.mark.parametrize("res_m", [10, 20, 60])
def test_pixels_of_the_family_are_fine(tmp_path: Path, res_m: float) -> None:
    assert read(write(tmp_path / "S2_20200501T102031.tif", res_m=res_m), declare(tmp_path)).status == OK


@pytest.mark.parametrize("nodata", [math.nan, math.inf, -9999, 3.4e38, 0.5])
def test_nodata_that_the_type_can_hold_is_kept(tmp_path: Path, nodata: float) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif", dtype="float32")
    product = read(path, declare(tmp_path, nodata=nodata))
    assert product.status == OK
    assert {repr(band.nodata) for band in product.bands} == {repr(float(nodata))}
    assert product.key == read(path, declare(tmp_path, nodata=nodata)).key
    assert product.key != read(path, declare(tmp_path, nodata="none")).key


def test_the_key_changes_with_the_acquisition_time(tmp_path: Path) -> None:
    path = write(tmp_path / "S2_20200501T102031.tif")
    other = read(path, declare(tmp_path, datetime_format="%Y%d%mT%H%M%S"))
    assert other.datetime == dt.datetime(2020, 1, 5, 10, 20, 31, tzinfo=dt.UTC)
    assert other.key != read(path, declare(tmp_path)).key


@pytest.mark.parametrize(("n", "at"), [(500, 250_000), (3000, 9_000_000)])
def test_the_key_changes_with_a_pixel_in_the_middle_of_a_file_without_compression(
    tmp_path: Path, n: int, at: int
) -> None:
    path = tmp_path / "S2_20200501T102031.tif"
    profile = {"driver": "GTiff", "width": n, "height": n, "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", transform=rasterio.Affine(10, 0, 600_000, 0, -10, 5_300_000), **profile) as raster:
        raster.write(np.ones((1, n, n), np.uint16))
    source = declare(tmp_path, bands={"B04": 1}, mask_band=None)
    product = read(path, source)
    assert product.size_bytes > 131_072
    content = bytearray(path.read_bytes())
    # One byte in a file that is read whole; as many as lie between two samples in a larger one.
    n_bytes = 1 if len(content) <= WHOLE_BYTES else len(content) // 256
    content[at : at + n_bytes] = b"\x02" * n_bytes
    path.write_bytes(content)
    assert read(path, source).key != product.key
