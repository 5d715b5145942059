"""A Landsat scene over two tiles through the whole chain, beside Sentinel-2 of the same day: columns of their own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from numpy.typing import NDArray
from support.cli import s4c, s4c_json
from support.landsat import CLEAR, build_landsat
from support.safe import build_safe

ULX, ULY, SIZE_M = 600_000, 5_400_000, 2_400
DAY = dt.datetime(2023, 6, 25, tzinfo=dt.UTC)
CLOUD, SHADOW, WATER, SNOW = 22280, 23888, 21952, 30048
"""Values of QA_PIXEL: high confidence of a cloud, of its shadow, and so on."""
CONFIG = f"""
[site]
name = "site"
season_start = 2023-01-01
season_end = 2023-12-31
[[sources]]
kind = "sentinel2-l2a"
root = "archive/s2"
[[sources]]
kind = "landsat-c2l2"
root = "archive/landsat"
[parcels]
file = "parcels.gpkg"
id_columns = ["id"]
[[grid.tiles]]
id = "32UPU"
crs = "EPSG:32632"
ulx = {ULX}
uly = {ULY}
width_m = {SIZE_M}
height_m = {SIZE_M}
[[grid.tiles]]
id = "32UQU"
crs = "EPSG:32632"
ulx = {ULX + SIZE_M}
uly = {ULY}
width_m = {SIZE_M}
height_m = {SIZE_M}
[extract]
buffer_m = {{ 10m = 0, 20m = 0, 30m = 0, 60m = 0 }}
weighting = "coverage"
[variables]
bands = ["B04", "B08"]
indices = ["ndvi", "ndwi_gao"]
statistics = ["count", "mean", "min", "max"]
"""
SHAPE = (82, 162)
"""Of the scene, whose first pixel begins 15 m north and west of the first tile."""
FIELDS = {"32UPU": (605, 1010), "32UQU": (3000, 3205)}
"""West and east side of a field in each tile, in metres from the corner; both 610 to 1000 m south of it."""


def scene() -> dict[str, NDArray[np.uint16]]:
    rng = np.random.default_rng(3)
    quality = np.full(SHAPE, CLEAR, np.uint16)
    quality[22:24] = CLOUD
    quality[24] = SHADOW
    quality[25] = WATER
    quality[26] = SNOW
    quality[27, 105:] = 1  # fill
    saturation = np.zeros(SHAPE, np.uint16)
    saturation[30, 30] = 1 << 4
    bands = {name: rng.integers(8000, 30_000, SHAPE).astype(np.uint16) for name in ("SR_B4", "SR_B5", "SR_B6")}
    bands["SR_B4"][29, 29] = 0  # the fill value in one band
    return {**bands, "QA_PIXEL": quality, "QA_RADSAT": saturation}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landsat")
    (folder / "s4c.toml").write_text(CONFIG)
    fields = [shapely.box(ULX + west, ULY - 1000, ULX + east, ULY - 610) for west, east in FIELDS.values()]
    gpd.GeoDataFrame({"id": list(FIELDS)}, geometry=fields, crs="EPSG:32632").to_file(folder / "parcels.gpkg")
    build_landsat(
        folder / "archive" / "landsat",
        time=DAY + dt.timedelta(hours=10, minutes=2),
        processed="20230701",
        ulx=ULX - 15,
        uly=ULY + 15,
        shape=SHAPE,
        dn=scene(),
        block=16,
    )
    build_safe(
        folder / "archive" / "s2",
        sensing=DAY + dt.timedelta(hours=10, minutes=10),
        tile="32UPU",
        epsg=32632,
        ulx=ULX,
        uly=ULY,
        size_m=SIZE_M,
        dn={"B04": np.full((240, 240), 2000, np.uint16), "B08": np.full((240, 240), 4000, np.uint16)},
        scl=np.full((120, 120), 4, np.uint8),
    )
    for command in (["catalog", "scan"], ["parcels", "import"], ["plan"], ["run"]):
        done = s4c(*command, workspace=folder)
        assert done.returncode == 0, done.stderr
    return folder


def table(workspace: Path, tile: str) -> pa.Table:
    return pa.ipc.open_file(str(workspace / "markers" / "mdb1" / "2023-06" / f"site_{tile}.arrow")).read_all()


def weights(tile: str) -> NDArray[np.float64]:
    """Share of each pixel of the scene that the field covers."""
    west, east = FIELDS[tile]
    rows, columns = np.arange(SHAPE[0]) * 30.0 - 15.0, np.arange(SHAPE[1]) * 30.0 - 15.0
    down = np.clip(np.minimum(rows + 30, 1000) - np.maximum(rows, 610), 0, 30) / 30
    right = np.clip(np.minimum(columns + 30, east) - np.maximum(columns, west), 0, 30) / 30
    return np.outer(down, right)


@pytest.mark.parametrize("tile", list(FIELDS))
def test_statistics_of_a_field_are_those_of_its_pixels(workspace: Path, tile: str) -> None:
    found = {name: column[0].as_py() for name, column in zip(*_columns(table(workspace, tile)), strict=True)}
    dn, weight = scene(), weights(tile)
    red, infrared, short = (
        np.where(dn[name] == 0, np.nan, dn[name] * 2.75e-5 - 0.2) for name in ("SR_B4", "SR_B5", "SR_B6")
    )
    usable = np.isin(dn["QA_PIXEL"], [CLEAR, WATER]) & (dn["QA_RADSAT"] == 0) & (weight > 0)
    for name, values in {
        "b04": red,
        "b08": infrared,
        "ndvi": (infrared - red) / (infrared + red),
        "ndwi_gao": (infrared - short) / (infrared + short),
    }.items():
        inside = usable & np.isfinite(values)
        stem = f"l8_{name}"
        assert found[f"{stem}_count__20230625"] == pytest.approx(weight[inside].sum(), rel=1e-5)
        assert found[f"{stem}_mean__20230625"] == pytest.approx(
            np.average(values[inside], weights=weight[inside]), 1e-5
        )
        assert found[f"{stem}_min__20230625"] == pytest.approx(values[inside].min(), rel=1e-5)
        assert found[f"{stem}_max__20230625"] == pytest.approx(values[inside].max(), rel=1e-5)
    for category, value in {"cloud": CLOUD, "shadow": SHADOW, "water": WATER, "snow": SNOW, "nodata": 1}.items():
        share = weight[(dn["QA_PIXEL"] == value) & (dn["QA_RADSAT"] == 0)].sum()
        assert found[f"l8_30m_n_{category}__20230625"] == pytest.approx(share, rel=1e-5, abs=1e-6)
    assert found["l8_30m_n_saturated__20230625"] == pytest.approx(weight[dn["QA_RADSAT"] > 0].sum(), abs=1e-6)
    assert found["l8_30m_n_total__20230625"] == pytest.approx(weight.sum(), rel=1e-5)


def _columns(found: pa.Table) -> tuple[list[str], list[pa.ChunkedArray]]:
    return found.column_names, found.columns


def test_two_sensors_of_one_day_stay_apart(workspace: Path) -> None:
    both, alone = (set(table(workspace, tile).column_names) for tile in ("32UPU", "32UQU"))
    assert {"l8_ndvi_mean__20230625", "s2_ndvi_mean__20230625", "l8_30m_n_total__20230625"} <= both
    assert not {name for name in alone if name.startswith("s2_")}
    assert {name for name in both if name.startswith("l8_")} == {name for name in alone if name.startswith("l8_")}
    values = table(workspace, "32UPU")
    assert values["s2_b04_mean__20230625"][0].as_py() == pytest.approx(0.1, rel=1e-6)
    assert values["s2_10m_n_total__20230625"][0].as_py() == pytest.approx(405 * 390 / 100, rel=1e-5)


def test_all_is_done_and_measured_against_what_was_promised(workspace: Path) -> None:
    plan = s4c_json("plan", workspace=workspace)
    assert plan["total"]["todo"] == 0
    rows = s4c_json("catalog", "list", workspace=workspace)
    landsat = [row for row in rows if row["product"].startswith("LC08")]
    assert [(row["tile"], row["status"]) for row in landsat] == [("32UPU", "ok"), ("32UQU", "ok")]
    for row in landsat:
        folder = workspace / "tiles" / row["tile"] / "stack" / "l8"
        assert [path.name for path in folder.iterdir()] == ["30m"]
