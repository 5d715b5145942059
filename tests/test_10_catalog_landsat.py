"""Landsat scenes as products: real metadata of three scenes, tiles, tiers, and what makes a scene unusable."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.landsat import DATA, FILES, REAL, build_landsat

from s4c_hpc.catalog import BROKEN, OK, SUPERSEDED, read_products, scan
from s4c_hpc.catalog.discover import Measure, measure_folder
from s4c_hpc.catalog.landsat import is_product, read_landsat
from s4c_hpc.catalog.landsat_mtl import read_mtl
from s4c_hpc.catalog.model import Product
from s4c_hpc.config import Config
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.core.mgrs import mgrs_tile
from s4c_hpc.core.workspace import Workspace

TIME = dt.datetime(2018, 7, 10, 10, 0, 12, tzinfo=dt.UTC)
TILE = Tile(id="A", crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, width_m=1200.0, height_m=1200.0)
EAST = dataclasses.replace(TILE, id="B", ulx=601_200.0)


def measured(folder: Path) -> Measure:
    """The files of a real scene, with the imagery that is not bundled."""
    files = {f"{folder.name}_{name}.TIF": 100 for name in FILES}
    return dataclasses.replace(measure_folder(folder), files={**measure_folder(folder).files, **files})


def real(name: str) -> list[Product]:
    folder = DATA / REAL[name]
    return read_landsat(folder, measured(folder), None)


def test_a_real_scene_is_a_product_of_each_tile_that_it_touches() -> None:
    products = real("north")
    assert [p.tile for p in products] == [f"18N{column}{row}" for column in "UVWX" for row in "FGH"]
    assert all(p.id == f"{REAL['north']}_{p.tile}" and p.status == OK for p in products)
    assert len({p.bands[0].path for p in products}) == 1


def test_what_the_metadata_say_of_a_real_scene() -> None:
    product = real("north")[0]
    assert (product.sensor, product.platform, product.baseline) == ("l8", "landsat-8", "02-T1")
    assert product.datetime == dt.datetime(2019, 12, 1, 15, 13, 51, 861099, tzinfo=dt.UTC)
    assert product.generation_time == dt.datetime(2020, 8, 25, 0, 59, 51, tzinfo=dt.UTC)
    assert (product.relative_orbit, product.cloud_cover, product.datatake) == (8, 81.02, "LC08_008059_20191201")
    assert product.mean_angles == pytest.approx((90 - 57.08727307, 136.31696044, 0, 0))
    assert {band.name: band.path.rpartition("_")[2] for band in product.bands} == {
        "B01": "B1.TIF",
        "B02": "B2.TIF",
        "B03": "B3.TIF",
        "B04": "B4.TIF",
        "B08": "B5.TIF",
        "B11": "B6.TIF",
        "B12": "B7.TIF",
    }
    # Surface reflectance of level 2, not the numbers of the same name of level 1 (2e-5 and -0.1).
    assert {(band.scale, band.offset, band.nodata) for band in product.bands} == {(2.75e-5, -0.2, 0.0)}
    assert [layer.name for layer in product.class_layers] == ["QA_PIXEL", "QA_RADSAT"]


@pytest.mark.parametrize(
    ("name", "crs", "corner", "shape"),
    [
        ("north", "EPSG:32618", (378_285.0, 275_715.0), (7591, 7741)),
        ("aside", "EPSG:32617", (207_585.0, 3_942_915.0), (7921, 7441)),
        ("south", "EPSG:32617", (491_985.0, -683_685.0), (7611, 7741)),
    ],
)
def test_every_real_scene_lies_on_the_lattice_of_the_tiles(
    name: str, crs: str, corner: tuple[float, float], shape: tuple[int, int]
) -> None:
    for product in real(name):
        grid = product.bands[0].grid
        assert (grid.crs, (grid.ulx, grid.uly), (grid.width, grid.height)) == (crs, corner, shape)
        tile = mgrs_tile(product.tile)
        here, there = tile.grid(30.0), grid.on_crs(tile.crs)
        assert here.crs == there.crs
        assert (here.ulx - there.ulx) % 30 == 0
        assert (here.uly - there.uly) % 30 == 0
        # The tile's pixels cover it, and none of them lies beside it.
        west, south, east, north = here.bounds
        assert 0 <= tile.ulx - west < 30
        assert 0 <= north - tile.uly < 30
        assert 0 <= east - tile.bounds[2] < 30
        assert 0 <= tile.bounds[1] - south < 30


def test_a_scene_south_of_the_equator_serves_southern_tiles_and_northern_ones() -> None:
    products = real("south")
    assert {mgrs_tile(p.tile).crs for p in products} == {"EPSG:32717"}
    assert {p.sensor for p in products} == {"l9"}
    southern = Grid(crs="EPSG:32717", ulx=0.0, uly=10_000_000.0, res_m=30.0, width=1, height=1)
    assert southern.on_crs("EPSG:32617") == dataclasses.replace(southern, crs="EPSG:32617", uly=0.0)
    assert southern.on_crs("EPSG:32618") == southern


def test_no_angles_where_the_satellite_looked_aside() -> None:
    assert real("aside")[0].mean_angles is None


@pytest.mark.parametrize(("name", "endings"), [("north", ("xml", "json", "txt")), ("south", ("xml", "txt"))])
def test_all_forms_of_the_metadata_say_the_same(name: str, endings: tuple[str, ...]) -> None:
    folder = DATA / REAL[name]
    found = []
    for ending in endings:
        files = measured(folder).files
        kept = {f: n for f, n in files.items() if "_MTL." not in f or f.endswith(ending)}
        products = read_landsat(folder, Measure(size_bytes=0, stamp=0, files=kept), None)
        found.append([dataclasses.replace(p, size_bytes=0) for p in products])
    assert found[1:] == found[:1] * (len(endings) - 1)
    assert found[0][0].status == OK


@pytest.mark.parametrize("ending", ["xml", "json", "txt"])
def test_cut_metadata_are_a_reason(tmp_path: Path, ending: str) -> None:
    name = REAL["north"]
    whole = (DATA / name / f"{name}_MTL.{ending}").read_text()
    path = tmp_path / f"{name}_MTL.{ending}"
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is not whole"):
        read_mtl(path)


def test_the_metadata_of_one_group_are_not_those_of_another() -> None:
    name = REAL["north"]
    mtl = read_mtl(DATA / name / f"{name}_MTL.txt")
    assert mtl.number("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE_MULT_BAND_1") == 2.75e-5
    assert mtl.number("LEVEL1_RADIOMETRIC_RESCALING", "REFLECTANCE_MULT_BAND_1") == 2e-5


def edit(folder: Path, old: str, new: str) -> None:
    (path,) = folder.glob("*_MTL.xml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: next(f.glob("*_SR_B5.TIF")).unlink(), "_SR_B5.TIF"),
        (lambda f: next(f.glob("*_MTL.xml")).unlink(), r"holds no \*_MTL\.xml"),
        (lambda f: edit(f, "<MAP_PROJECTION>UTM", "<MAP_PROJECTION>PS"), "projection PS, needs UTM"),
        (lambda f: edit(f, "<PROCESSING_LEVEL>L2SP", "<PROCESSING_LEVEL>L2SR"), "level L2SR of collection 02"),
        (lambda f: edit(f, "<UTM_ZONE>32", "<UTM_ZONE>x"), "impossible value"),
        (lambda f: edit(f, "<REFLECTANCE_MULT_BAND_5>2.75e-05", "<REFLECTANCE_MULT_BAND_5>"), "MULT_BAND_5"),
    ],
)
def test_what_cannot_be_used_is_a_row_with_the_reason(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    folder = build_landsat(tmp_path, time=TIME)
    damage(folder)
    (product,) = read_landsat(folder, measure_folder(folder), [TILE])
    assert product.status == BROKEN
    assert product.sensor == "l8"
    assert re.search(reason, product.reason)


def test_healthy_scenes_that_serve_no_tile_are_counted_and_no_rows(tmp_path: Path) -> None:
    archive, workspace = tmp_path / "archive", Workspace(tmp_path / "ws")
    shape = (2000, 2000)
    build_landsat(archive, time=TIME, ulx=719_985.0, shape=shape)
    build_landsat(archive, time=TIME + dt.timedelta(days=8), ulx=719_985.0 - 300_000.0, shape=shape)
    config = Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": [{"kind": "landsat-c2l2", "root": str(archive)}],
        }
    )
    tiles = [mgrs_tile("32UQU"), mgrs_tile("33UUP")]
    for _ in range(2):  # the second time from the index
        report = scan(config, workspace, tiles)
        (product,) = read_products(workspace.catalog)
        assert (product.tile, product.status, report.n_broken) == ("32UQU", OK, 0)
        elsewhere, other_zone = report.looked_in[1:]
        assert elsewhere == "1 scenes touch no tile of the site in their own UTM zone"
        assert other_zone.startswith("1 scenes touch tiles of another UTM zone as well (33UUP), which they")


def test_names_that_are_nearly_those_of_scenes_are_told(tmp_path: Path) -> None:
    folder = build_landsat(tmp_path / "archive", time=TIME)
    for other in ("L2SR", "L1TP"):
        (folder.parent / "LC08" / folder.name.replace("L2SP", other)).mkdir(parents=True)
    config = Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": [{"kind": "landsat-c2l2", "root": str(folder.parent)}],
            "grid": {"tiles": [dataclasses.asdict(TILE)]},
        }
    )
    report = scan(config, Workspace(tmp_path / "ws"))
    assert report.n_usable == 1
    (warning,) = report.warnings
    assert warning.startswith(f"{folder.parent}: 2 folders that are called nearly like scenes of Landsat 8 and 9 were")
    assert warning.endswith(f"e.g. {folder.name.replace('L2SP', 'L1TP')}")


def test_names_of_products() -> None:
    assert is_product("LC09_L2SP_193026_20230617_20230701_02_T2")
    for name in (
        "LC08_L1TP_193026_20230617_20230701_02_T1",
        "LC08_L2SP_193026_20230617_20230701_01_T1",
        "LE07_L2SP_193026_20230617_20230701_02_T1",
        "LC08_L2SP_193026_20230617_20230701_02_T1_SR",
    ):
        assert not is_product(name)


def test_a_scan_keeps_one_processing_of_a_scene_and_both_sensors(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    kept = [
        build_landsat(archive, time=TIME, processed="20180801"),  # tier 1, older than the tier 2 below
        build_landsat(archive, time=TIME, unit=9, processed="20180720", tier="RT"),
    ]
    left = [
        build_landsat(archive, time=TIME, processed="20180720", tier="RT"),
        build_landsat(archive, time=TIME, processed="20180725"),
        build_landsat(archive, time=TIME, processed="20200101", tier="T2"),
    ]
    own = [dataclasses.asdict(tile) for tile in (TILE, EAST)]
    config = Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": [{"kind": "landsat-c2l2", "root": str(archive)}],
            "grid": {"tiles": own},
        }
    )
    workspace = Workspace(tmp_path / "ws")
    report = scan(config, workspace)
    assert (report.n_usable, report.n_superseded, report.n_broken) == (4, 6, 0)
    by_id = {p.id: p for p in read_products(workspace.catalog)}
    for tile in ("A", "B"):
        assert all(by_id[f"{folder.name}_{tile}"].status == OK for folder in kept)
        assert all(by_id[f"{folder.name}_{tile}"].status == SUPERSEDED for folder in left)
        assert "instead of 02-T2" in by_id[f"{left[2].name}_{tile}"].reason
        assert "generated later" in by_id[f"{left[1].name}_{tile}"].reason
    # Nothing has changed: nothing is read again. Other tiles: everything is.
    assert scan(config, workspace).n_new == 0
    assert scan(config, workspace, [TILE]).n_products == 5
