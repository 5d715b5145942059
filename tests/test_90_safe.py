"""SAFE products of two processing baselines through the whole chain: physical reflectances, bands of two grids."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from support.cli import s4c, s4c_json
from support.safe import Baseline, build_safe

ULX, ULY, SIZE_M = 600_000, 5_400_000, 2_400
CONFIG = f"""
[site]
name = "safe"
season_start = 2018-01-01
season_end = 2023-12-31
[[sources]]
kind = "sentinel2-l2a"
root = "archive"
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
[extract]
buffer_m = {{ 10m = 0, 20m = 0, 60m = 0 }}
[variables]
bands = ["B04", "B05", "B08", "B11"]
indices = ["ndvi", "bsi"]
statistics = ["count", "mean", "min", "max"]
"""
DATES: dict[Baseline, dt.datetime] = {
    "02.12": dt.datetime(2018, 7, 21, 10, 10, tzinfo=dt.UTC),
    "05.09": dt.datetime(2023, 6, 25, 10, 10, tzinfo=dt.UTC),
}
OFFSET = {"02.12": 0, "05.09": 1000}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One parcel of 400 m x 400 m on the corner of the tile's grids, the same reflectances under both baselines."""
    folder = tmp_path_factory.mktemp("safe")
    (folder / "s4c.toml").write_text(CONFIG)
    square = shapely.box(ULX + 600, ULY - 1000, ULX + 1000, ULY - 600)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[square], crs="EPSG:32632").to_file(folder / "parcels.gpkg")
    for baseline, sensing in DATES.items():
        build_safe(
            folder / "archive",
            baseline=baseline,
            sensing=sensing,
            tile="32UPU",
            epsg=32632,
            ulx=ULX,
            uly=ULY,
            size_m=SIZE_M,
            dn={name: layer + OFFSET[baseline] for name, layer in reflectance_dn().items()},
            scl=np.full((SIZE_M // 20, SIZE_M // 20), 4, np.uint8),
        )
    for command in (["catalog", "scan"], ["parcels", "import"], ["run"]):
        done = s4c(*command, workspace=folder)
        assert done.returncode == 0, done.stderr
    return folder


def reflectance_dn() -> dict[str, np.ndarray]:
    """Reflectance * 10000 per band at its native size; B04 carries a pattern, B11 a 20 m pattern."""
    rng = np.random.default_rng(7)
    fine, coarse = SIZE_M // 10, SIZE_M // 20
    return {
        "B02": np.full((fine, fine), 400, np.uint16),
        "B03": np.full((fine, fine), 600, np.uint16),
        "B04": rng.integers(300, 900, (fine, fine)).astype(np.uint16),
        "B08": rng.integers(2500, 4500, (fine, fine)).astype(np.uint16),
        "B05": np.full((coarse, coarse), 1200, np.uint16),
        "B11": rng.integers(1500, 2500, (coarse, coarse)).astype(np.uint16),
    }


def column(workspace: Path, name: str, date: dt.datetime) -> float:
    path = workspace / "markers" / "mdb1" / f"{date:%Y-%m}" / "safe_32UPU.arrow"
    values = pa.ipc.open_file(str(path)).read_all()[f"s2_{name}__{date:%Y%m%d}"]
    assert len(values) == 1
    return float(values[0].as_py())


@pytest.mark.parametrize("baseline", ["02.12", "05.09"])
def test_reflectance_is_physical_under_every_baseline(workspace: Path, baseline: Baseline) -> None:
    date = DATES[baseline]
    dn = reflectance_dn()
    inside = np.s_[60:100, 60:100]
    b04, b08 = dn["B04"][inside] / 1e4, dn["B08"][inside] / 1e4
    assert column(workspace, "b04_count", date) == 1600
    assert column(workspace, "b04_mean", date) == pytest.approx(b04.mean(), rel=1e-6)
    assert column(workspace, "b04_min", date) == pytest.approx(b04.min(), rel=1e-6)
    assert column(workspace, "b08_max", date) == pytest.approx(b08.max(), rel=1e-6)
    assert column(workspace, "b05_mean", date) == pytest.approx(0.12, rel=1e-6)
    assert column(workspace, "ndvi_mean", date) == pytest.approx(((b08 - b04) / (b08 + b04)).mean(), rel=1e-6)


@pytest.mark.parametrize("baseline", ["02.12", "05.09"])
def test_an_index_combines_bands_of_10_m_and_20_m(workspace: Path, baseline: Baseline) -> None:
    dn = {name: layer / 1e4 for name, layer in reflectance_dn().items()}
    dn["B11"] = np.repeat(np.repeat(dn["B11"], 2, axis=0), 2, axis=1)
    up, down = dn["B11"] + dn["B04"], dn["B08"] + dn["B02"]
    bsi = ((up - down) / (up + down))[60:100, 60:100]
    assert column(workspace, "bsi_count", DATES[baseline]) == 1600
    assert column(workspace, "bsi_mean", DATES[baseline]) == pytest.approx(bsi.mean(), rel=1e-6)


def test_a_broken_product_is_a_row_and_the_rest_goes_on(workspace: Path, tmp_path: Path) -> None:
    """Last in this file: it adds a product whose band cannot be decoded."""
    sensing = dt.datetime(2023, 7, 5, 10, 10, tzinfo=dt.UTC)
    safe = build_safe(
        workspace / "archive",
        baseline="05.09",
        sensing=sensing,
        tile="32UPU",
        epsg=32632,
        ulx=ULX,
        uly=ULY,
        size_m=SIZE_M,
    )
    band = next(safe.rglob("*_B04_10m.jp2"))
    band.write_bytes(band.read_bytes()[: band.stat().st_size // 3])
    assert s4c("catalog", "scan", workspace=workspace).returncode == 0
    done = s4c("run", workspace=workspace)
    assert done.returncode == 5, done.stderr
    assert "B04" in done.stderr
    status = s4c_json("status", workspace=workspace)
    assert "B04" in str(status)
    told = s4c("status", workspace=workspace)
    assert "B04" in told.stderr
    assert "complete" in told.stderr
    gather = next(p["id"] for p in status["problems"] if p["name"].startswith("gather"))
    assert "B04" in s4c("logs", gather, workspace=workspace).stdout
    assert s4c_json("plan", workspace=workspace)["total"]["todo"] == 0, "bad input is not tried again unasked"
