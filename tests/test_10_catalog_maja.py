"""Products of MAJA in the format of MUSCATE: what is read of them, and what becomes of broken ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.muscate import build_muscate, layer_file, metadata_file, product_name
from support.safe import build_safe

from s4c_hpc.catalog import BROKEN, OK, SUPERSEDED, Product, headers_read, opened, read_products, scan
from s4c_hpc.catalog.discover import measure_folder
from s4c_hpc.catalog.maja import is_product, read_maja, unreadable_maja
from s4c_hpc.catalog.maja_angles import read_maja_angles
from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace

TIME = dt.datetime(2018, 7, 10, 10, 45, 40, 458_000, tzinfo=dt.UTC)
NAME = "SENTINEL2A_20180710-104540-458_L2A_T32UPU_C_V1-0"


def read(folder: Path) -> Product:
    return read_maja(folder, measure_folder(folder))


def test_everything_that_its_metadata_tell(tmp_path: Path) -> None:
    headers, rasters = headers_read(), opened()
    product = read(build_muscate(tmp_path, time=TIME, absolute_orbit=15_929, cloud_percent=37))
    assert (headers_read(), opened()) == (headers, rasters)
    assert (product.status, product.reason) == (OK, "")
    assert (product.id, product.source, product.sensor, product.platform) == (NAME, "maja", "s2", "sentinel-2a")
    assert (product.tile, product.datetime) == ("32UPU", TIME)
    assert (product.relative_orbit, product.orbit_direction) == (59, "descending")
    assert (product.baseline, product.generation_time) == ("1.0", dt.datetime(2018, 7, 11, 10, 45, 40, tzinfo=dt.UTC))
    assert (product.cloud_cover, product.class_kind) == (37.0, "maja")
    assert [band.name for band in product.bands] == [
        "B02",
        "B03",
        "B04",
        "B05",
        "B06",
        "B07",
        "B08",
        "B11",
        "B12",
        "B8A",
    ]
    b04, b8a = product.bands[2], product.bands[-1]
    assert (b04.dtype, b04.scale, b04.offset, b04.nodata) == ("int16", 1e-4, 0.0, -10_000.0)
    assert (b04.grid.crs, b04.grid.ulx, b04.grid.uly, b04.grid.res_m) == ("EPSG:32632", 600_000, 5_400_000, 10)
    assert (b8a.grid.name, b8a.grid.width) == ("20m", 60)
    assert b04.path.endswith("_FRE_B4.tif")
    assert [layer.name for layer in product.class_layers] == [
        "MG2_R1",
        "EDG_R1",
        "SAT_R1",
        "MG2_R2",
        "EDG_R2",
        "SAT_R2",
    ]
    assert all("/MASKS/" in layer.path for layer in product.class_layers)
    assert {layer.grid.res_m for layer in product.class_layers} == {10, 20}


@pytest.mark.parametrize(
    ("unit", "absolute", "relative"),
    # S2A and S2B as ESA's own products of these orbits state it; that of S2C is not known here.
    [("A", 41_826, 73), ("B", 20_270, 81), ("B", 26_649, 25), ("C", 1_000, None)],
)
def test_the_relative_orbit_follows_from_the_absolute_one(
    tmp_path: Path, unit: str, absolute: int, relative: int | None
) -> None:
    assert read(build_muscate(tmp_path, unit=unit, absolute_orbit=absolute)).relative_orbit == relative


def test_names_that_are_products() -> None:
    assert is_product(NAME)
    assert is_product("SENTINEL2B_20190401-105726-885_L2A_T31UEQ_D_V2-2")
    assert not is_product("SENTINEL2B_20190401-105726-885_L1C_T31UEQ_D_V2-2")
    assert not is_product("S2A_MSIL2A_20180710T104021_N0208_R008_T32UPU_20180710T122256.SAFE")
    assert not is_product(f"{NAME}.zip")


def test_the_key_is_neither_path_nor_files_that_are_not_used(tmp_path: Path) -> None:
    one, other = build_muscate(tmp_path / "a"), build_muscate(tmp_path / "b")
    (other / "DATA" / "report.xml").write_text("x")
    layer_file(other, "CLM_R1").unlink()
    assert read(one).key == read(other).key


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: metadata_file(f).unlink(), "holds no *_MTD_ALL.xml"),
        (lambda f: metadata_file(f).write_text("<Muscate"), "MTD_ALL.xml: is not whole XML"),
        (lambda f: [p.unlink() for p in f.glob("*_FRE_*")], "holds no FRE images"),
        (lambda f: layer_file(f, "FRE_B8A").unlink(), "holds no FRE_B8A"),
        (lambda f: layer_file(f, "SAT_R2").unlink(), "holds no SAT_R2"),
        (lambda f: edit(f, "<PRODUCT_LEVEL>L2A", "<PRODUCT_LEVEL>L1C"), "level L1C, needs L2A"),
        (lambda f: edit(f, '"nodata">-10000', '"other">-10000'), "has no SPECIAL_VALUE nodata"),
        (lambda f: edit(f, ">32632<", ">local<"), "has the CRS 'LOCAL', not an EPSG code"),
        (lambda f: edit(f, '"R2"', '"R7"'), "has no Group_Geopositioning of R2"),
        (lambda f: edit(f, "<YDIM>-20", "<YDIM>20"), "pixels of R2 are not squares"),
        (lambda f: edit(f, "2018-07-10T10", "2018-17-10T10"), "impossible value"),
    ],
)
def test_a_broken_product_is_a_row_with_the_reason(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    folder = build_muscate(tmp_path)
    damage(folder)
    product = read(folder)
    assert product.status == BROKEN
    assert reason in product.reason
    assert str(tmp_path) not in product.reason
    assert (product.id, product.tile, product.platform) == (NAME, "32UPU", "sentinel-2a")
    assert product.datetime == TIME.replace(microsecond=0)


def edit(folder: Path, old: str, new: str) -> None:
    text = metadata_file(folder).read_text()
    assert old in text
    metadata_file(folder).write_text(text.replace(old, new))


def test_a_folder_that_cannot_be_listed_is_a_row(tmp_path: Path) -> None:
    product = unreadable_maja(tmp_path / NAME, "no permission")
    assert (product.status, product.reason, product.tile) == (BROKEN, "no permission", "32UPU")


def config(tmp_path: Path, *kinds: str) -> Config:
    return Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": [{"kind": kind, "root": str(tmp_path / "archive")} for kind in kinds],
        }
    )


def scanned(tmp_path: Path, *kinds: str) -> dict[str, Product]:
    workspace = Workspace(tmp_path / "ws")
    scan(config(tmp_path, *kinds), workspace)
    return {product.id: product for product in read_products(workspace.catalog)}


def test_a_scan_finds_them_and_keeps_the_newest_version(tmp_path: Path) -> None:
    archive = tmp_path / "archive" / "32UPU" / "2018"
    for version, completeness in (("1.0", "C"), ("2.2", "D")):
        build_muscate(archive, time=TIME, version=version, completeness=completeness)
    other_day = TIME + dt.timedelta(days=5)
    build_muscate(archive, time=other_day)
    found = scanned(tmp_path, "maja")
    old, new = found[product_name(TIME)], found[product_name(TIME, version="2.2", completeness="D")]
    assert (old.status, new.status, found[product_name(other_day)].status) == (SUPERSEDED, OK, OK)
    assert old.reason == f"superseded by {new.id} (baseline 2.2 instead of 1.0)"
    assert new == read(archive / new.id)


@pytest.mark.parametrize("first", ["maja", "sentinel2-l2a"])
def test_an_acquisition_counts_once_from_the_source_that_is_named_first(tmp_path: Path, first: str) -> None:
    """Sen2Cor's product tells the time of the datatake, MAJA's that of the tile."""
    archive = tmp_path / "archive"
    safe = build_safe(
        archive,
        baseline="02.12",
        sensing=dt.datetime(2018, 7, 10, 10, 40, 21, tzinfo=dt.UTC),
        tile="32UPU",
        epsg=32632,
        ulx=600_000,
        uly=5_400_000,
        size_m=1200,
    )
    build_muscate(archive, time=TIME)
    later = build_muscate(archive, time=TIME + dt.timedelta(days=5))
    elsewhere = build_muscate(archive, time=TIME, tile="32UQU")
    second = {"maja": "sentinel2-l2a", "sentinel2-l2a": "maja"}[first]
    found = scanned(tmp_path, first, second)
    ids = {"maja": NAME, "sentinel2-l2a": safe.stem}
    assert found[ids[first]].status == OK
    assert found[ids[second]].status == SUPERSEDED
    assert found[ids[second]].reason == (
        f"superseded by {ids[first]} (the same acquisition from {first}, which [[sources]] names first)"
    )
    assert (found[later.name].status, found[elsewhere.name].status) == (OK, OK)
    # A broken one holds no place.
    (layer_file(archive / NAME, "FRE_B4") if first == "maja" else next(safe.glob("MTD_*.xml"))).unlink()
    found = scanned(tmp_path, first, second)
    assert (found[ids[first]].status, found[ids[second]].status) == (BROKEN, OK)


def test_angles_under_names_of_muscate(tmp_path: Path) -> None:
    folder = build_muscate(tmp_path)
    assert read(folder).angles_file == ""

    def grid(value: float) -> str:
        rows = f"<VALUES>{value} {value}</VALUES>" * 2
        return f"<COL_STEP unit='m'>5000</COL_STEP><ROW_STEP unit='m'>5000</ROW_STEP><Values_List>{rows}</Values_List>"

    def pair(tag: str, zenith: float, azimuth: float) -> str:
        return f"<{tag}><Zenith>{grid(zenith)}</Zenith><Azimuth>{grid(azimuth)}</Azimuth></{tag.split(maxsplit=1)[0]}>"

    views = "".join(
        f"<Band_Viewing_Incidence_Angles_Grids_List band_id='{band}'>"
        + pair("Viewing_Incidence_Angles_Grids detector_id='3'", 6.0, 100.0)
        + pair("Viewing_Incidence_Angles_Grids detector_id='4'", float("nan"), float("nan"))
        + "</Band_Viewing_Incidence_Angles_Grids_List>"
        for band in ("B2", "B03", "B8A")
    )
    grids = (
        f"<Angles_Grids_List>{pair('Sun_Angles_Grids', 30.0, 150.0)}"
        f"<Viewing_Incidence_Angles_Grids_List>{views}</Viewing_Incidence_Angles_Grids_List></Angles_Grids_List>"
    )
    edit(folder, "</Geometric_Informations>", f"{grids}</Geometric_Informations>")
    product = read(folder)
    assert product.angles_file == str(metadata_file(folder))
    angles = read_maja_angles(Path(product.angles_file))
    assert angles is not None
    assert (angles.ulx, angles.uly, angles.step_m) == (600_000, 5_400_000, 5000)
    for name, value in (("sun_zenith", 30), ("sun_azimuth", 150), ("view_zenith", 6), ("view_azimuth", 100)):
        assert np.allclose(getattr(angles, name), np.full((2, 2), value))
