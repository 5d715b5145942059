"""LAI and its like from SAFE and GeoTIFF products to series: right networks and angles, no second look at imagery."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from support.chain import Chain
from support.rasters import band_of, write_tif
from support.safe import DN_OFFSET, Baseline, build_safe, tile_xml

from s4c_hpc.catalog import Product, scan
from s4c_hpc.catalog.angles import COSINES, Angles
from s4c_hpc.catalog.safe_angles import read_safe_angles
from s4c_hpc.config import Config
from s4c_hpc.config.model import Variables
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.optical import check_bands, resolve
from s4c_hpc.optical.biophysical import network
from s4c_hpc.optical.network import OUTSIDE
from s4c_hpc.parcels import import_parcels
from s4c_hpc.series import SeriesFile, read_series
from s4c_hpc.series.assign import assign

ULX, ULY, SIZE_M = 600_000, 5_400_000, 1200
STAGES = ["mask", "index", "gather", "stats"]
INSIDE = np.s_[40:60, 40:60]
"""Pixels of 10 m in the parcel, which is made of whole pixels of 20 m."""
LEVELS = {"B03": 0.06, "B04": 0.04, "B05": 0.10, "B06": 0.28, "B07": 0.36, "B8A": 0.42, "B11": 0.20, "B12": 0.10}
"""Reflectances of a meadow; half of the parcel is as bright as snow in B03 and outside of what networks know."""
SENSED: dict[Baseline, dt.datetime] = {
    "02.14": dt.datetime(2018, 6, 1, 10, tzinfo=dt.UTC),  # Sentinel-2B
    "05.09": dt.datetime(2018, 6, 11, 10, tzinfo=dt.UTC),  # Sentinel-2A
}


def reflectances() -> dict[str, NDArray[np.float64]]:
    """By band on its own grid, a multiple of 0.0001."""
    rng = np.random.default_rng(4)
    found = {}
    for name, level in LEVELS.items():
        n = SIZE_M // (10 if name in {"B03", "B04"} else 20)
        found[name] = np.round(level * rng.uniform(0.9, 1.1, (n, n)), 4)
    found["B03"][:, 50:] = 0.6
    return found


def settings(folder: Path, *, sources: list[dict[str, Any]] | None = None, **variables: Any) -> Config:
    tile = {"id": "32UPU", "crs": "EPSG:32632", "ulx": ULX, "uly": ULY, "width_m": SIZE_M, "height_m": SIZE_M}
    return Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": sources or [{"kind": "sentinel2-l2a", "root": str(folder / "archive")}],
            "grid": {"tiles": [tile]},
            "parcels": {"file": str(folder / "parcels.gpkg"), "id_columns": ["id"]},
            "extract": {"buffer_m": {"10m": 0, "20m": 0, "60m": 0}},
            "variables": {"bands": ["B04"], "indices": [], "statistics": ["mean", "count"], **variables},
        }
    )


def prepared(folder: Path, config: Config) -> Chain:
    """A workspace with scanned products and the parcel."""
    square = shapely.box(ULX + 400, ULY - 600, ULX + 600, ULY - 400)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[square], crs="EPSG:32632").to_file(folder / "parcels.gpkg")
    chain = Chain(Workspace(folder / "ws"))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    return chain


def archive(folder: Path) -> dict[Baseline, Path]:
    place: dict[str, Any] = {"tile": "32UPU", "epsg": 32632, "ulx": ULX, "uly": ULY, "size_m": SIZE_M}
    products = {}
    for baseline, sensing in SENSED.items():
        dn = {n: np.round(v * 1e4).astype(np.uint16) + DN_OFFSET[baseline] for n, v in reflectances().items()}
        scl = np.full((SIZE_M // 20, SIZE_M // 20), 4, np.uint8)
        products[baseline] = build_safe(folder / "archive", baseline=baseline, sensing=sensing, dn=dn, scl=scl, **place)
    return products


def pixels(angles: Angles) -> dict[str, NDArray[np.float64]]:
    """Inputs of the parcel's pixels of 10 m: the first node of the angles' grid is next to all of them."""
    sun, view = angles.sun_zenith[0, 0], angles.view_zenith[0, 0]
    relative = angles.sun_azimuth[0, 0] - angles.view_azimuth[0, 0]
    n = 20 * 20
    found = {
        name: (values if values.shape[0] == 120 else np.repeat(np.repeat(values, 2, 0), 2, 1))[INSIDE].ravel()
        for name, values in reflectances().items()
    }
    cosines = {"cosVZA": view, "cosSZA": sun, "cosRAA": relative}
    return {**found, **{name: np.full(n, np.cos(np.radians(angle))) for name, angle in cosines.items()}}


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Chain, dict[Baseline, Path]]:
    """A finished season of two satellites and two baselines, without any network."""
    folder = tmp_path_factory.mktemp("season")
    products = archive(folder)
    config = settings(folder)
    chain = prepared(folder, config)
    chain.run(config, STAGES)
    return folder, chain, products


def series_of(chain: Chain, rows: dict[str, list[Any]], baseline: Baseline) -> SeriesFile:
    (task,) = [t for t in rows["stats"] if f"{SENSED[baseline]:%Y%m%dT}" in t.subject]
    return read_series(chain.path(next(o for o in task.outputs if "/10m/" in o)))


def test_networks_are_added_to_a_finished_season_without_imagery(
    season: tuple[Path, Chain, dict[Baseline, Path]], tmp_path: Path
) -> None:
    folder, chain, products = season
    angles = {baseline: read_safe_angles(tile_xml(safe)) for baseline, safe in products.items()}
    shutil.move(folder / "archive", tmp_path / "away")
    config = settings(folder, biophysical=["lai", "fapar", "fcover", "ccc", "cwc"])
    try:
        rows = chain.run(config, STAGES)
    finally:
        shutil.move(tmp_path / "away", folder / "archive")
    assert {task.stage for task in chain.ran} == {"stats"}
    assert [chain.done[task.id].rasters_opened for task in chain.ran] == [0, 0]
    sets: dict[Baseline, str] = {"02.14": "3.0/S2B", "05.09": "3.0/S2A"}
    for baseline, set_name in sets.items():
        series = series_of(chain, rows, baseline)
        given = angles[baseline]
        assert given is not None
        inputs = pixels(given)
        for variable in ("lai", "fapar", "fcover", "ccc", "cwc"):
            one = network(set_name, variable)
            described = {k.decode(): v.decode() for k, v in series.schema.field(f"{variable}_mean").metadata.items()}
            assert described["formula"] == one.text
            assert "Weiss" in described["source"]
            expected = one.evaluate(inputs).mean()
            # The parcel is 600 m from the first node: its angles are a little different from those there.
            assert series.values(f"{variable}_mean")[0] == pytest.approx(expected, rel=2e-3), variable
            n_outside = int(np.count_nonzero(one.flags(inputs, one.raw(inputs)) & OUTSIDE))
            assert 200 <= n_outside < 400
            assert series.values(f"{variable}_outside_count")[0] == n_outside
            assert series.values(f"{variable}_count")[0] == 400
        assert [n for n in series.names if "outside" in n] == [
            f"{v}_outside_count" for v in ("lai", "fapar", "fcover", "ccc", "cwc")
        ]


def test_the_choice_of_networks_is_part_of_the_task(season: tuple[Path, Chain, dict[Baseline, Path]]) -> None:
    folder, chain, _ = season
    texts = {}
    for choice in ("auto", "auto_10m", "2.1/S2"):
        config = settings(folder, biophysical=["lai"], biophysical_set=choice)
        rows = chain.plan(config, STAGES)
        variables = [json.loads(task.params)["grids"]["10m"]["variables"] for task in rows["stats"]]
        texts[choice] = [dict(found)["lai"] for found in variables]
    assert len({text for found in texts.values() for text in found}) == 5
    assert len(set(texts["2.1/S2"])) == 1
    dropped = settings(folder, biophysical=["lai"], biophysical_outside="drop")
    kept = settings(folder, biophysical=["lai"])
    ids = {task.id for config in (dropped, kept) for task in chain.plan(config, STAGES)["stats"]}
    assert len(ids) == 4


def test_pixels_outside_can_be_dropped_and_are_counted_all_the_same(
    season: tuple[Path, Chain, dict[Baseline, Path]],
) -> None:
    folder, chain, products = season
    config = settings(folder, biophysical=["lai"], biophysical_outside="drop", statistics=["mean", "median"])
    series = series_of(chain, chain.run(config, STAGES), "05.09")
    given = read_safe_angles(tile_xml(products["05.09"]))
    assert given is not None
    values = network("3.0/S2A", "lai", keeps_outside=False).evaluate(pixels(given))
    assert series.values("lai_mean")[0] == pytest.approx(np.nanmean(values), rel=2e-3)
    assert series.values("lai_outside_count")[0] == np.isnan(values).sum()
    # It is the only statistic of that variable, asked for or not.
    assert [n for n in series.names if n.startswith("lai")] == ["lai_mean", "lai_median", "lai_outside_count"]


def geotiff(folder: Path, **more: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    grid = Grid(crs="EPSG:32632", ulx=float(ULX), uly=float(ULY), res_m=20.0, width=60, height=60)
    layers = np.stack([np.full((60, 60), round(level * 1e4), np.uint16) for level in LEVELS.values()])
    write_tif(folder / "20180621T100000Z.tif", layers, grid)
    bands = {name: i + 1 for i, name in enumerate(LEVELS)}
    declared = {"pattern": "{datetime}.tif", "tile": "32UPU", "nodata": "none", "bands": bands}
    return {"kind": "geotiff", "root": str(folder), **declared, **more}


def test_damaged_angles_cost_what_is_made_of_them_and_no_more(tmp_path: Path) -> None:
    products = archive(tmp_path)
    path = tile_xml(products["05.09"])
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("<ZENITH_ANGLE", "<ZENITH_ANGLE>x</ZENITH_ANGLE><ZENITH_ANGLE"), encoding="utf-8")
    config = settings(tmp_path, biophysical=["lai"])
    chain = prepared(tmp_path, config)
    rows = chain.run(config, STAGES)
    damaged = series_of(chain, rows, "05.09")
    assert damaged.values("b04_count")[0] == 400
    assert np.isnan(damaged.values("lai_mean")[0])
    (task,) = [t for t in rows["gather"] if f"{SENSED['05.09']:%Y%m%dT}" in t.subject]
    (note,) = chain.done[task.id].notes
    assert note.startswith(f"its sun and view angles cannot be used ({path}: ")
    assert note.endswith("LAI and the like have no values")
    assert series_of(chain, rows, "02.14").values("lai_mean")[0] > 0


def test_declared_angles_stand_in_for_missing_ones(tmp_path: Path) -> None:
    angles = {"sza": 40.0, "saa": 150.0, "vza": 5.0, "vaa": 100.0}
    config = settings(tmp_path, sources=[geotiff(tmp_path / "tif", angles=angles)], biophysical=["lai"])
    chain = prepared(tmp_path, config)
    rows = chain.run(config, STAGES)
    (task,) = rows["stats"]
    assert json.loads(task.params)["angles"] == [40.0, 150.0, 5.0, 100.0]
    series = read_series(chain.path(task.outputs[0]))
    cosines = {"cosVZA": 5, "cosSZA": 40, "cosRAA": 50}
    pixel = {k: np.array([v]) for k, v in LEVELS.items()} | {
        k: np.array([np.cos(np.radians(v))]) for k, v in cosines.items()
    }
    expected = network("2.1/S2", "lai").evaluate(pixel)[0]
    assert series.values("lai_mean")[0] == pytest.approx(expected, rel=1e-6)
    assert series.values("lai_count")[0] == 100
    # Other angles: other statistics, the same pixels.
    turned = settings(tmp_path, sources=[geotiff(tmp_path / "tif", angles={**angles, "sza": 60})], biophysical=["lai"])
    scan(turned, chain.workspace)
    chain.run(turned, STAGES)
    assert [task.stage for task in chain.ran] == ["stats"]


def test_products_without_angles_go_without_the_variable(
    season: tuple[Path, Chain, dict[Baseline, Path]], tmp_path: Path
) -> None:
    folder, _, _ = season
    alone = settings(tmp_path, sources=[geotiff(tmp_path / "tif")], biophysical=["lai"])
    with pytest.raises(ConfigError, match=r"'lai' needs sun and view angles, which no product .*angles = \{ sza"):
        prepared(tmp_path, alone).run(alone, STAGES)
    sources = [{"kind": "sentinel2-l2a", "root": str(folder / "archive")}, geotiff(tmp_path / "tif")]
    mixed = settings(tmp_path, sources=sources, biophysical=["lai"])
    chain = Chain(Workspace(tmp_path / "ws"))
    scan(mixed, chain.workspace)
    rows = chain.run(mixed, STAGES)
    (without,) = [task for task in rows["stats"] if task.subject == "20180621T100000Z"]
    assert chain.done[without.id].notes == ("no lai: the product has no sun and view angles",)
    assert "lai_mean" not in read_series(chain.path(without.outputs[0])).names


def test_no_task_writes_more_than_it_says(season: tuple[Path, Chain, dict[Baseline, Path]]) -> None:
    folder, chain, _ = season
    rows = chain.run(settings(folder, biophysical=["lai", "cwc"], statistics=["mean"]), STAGES)
    for task in [*rows["gather"], *rows["stats"]]:
        written, said = chain.sizes(task)
        assert written <= said, task.stage


def test_landsat_has_networks_of_its_own_and_no_chlorophyll() -> None:
    """Bands by the Sentinel-2 name of the same role, one direction for the whole scene."""
    grid = Grid(crs="EPSG:32632", ulx=float(ULX), uly=float(ULY), res_m=30.0, width=40, height=40)
    names = ("B01", "B02", "B03", "B04", "B08", "B11", "B12")
    product = Product(
        id="LC09_L2SP_193026_20220701_32UPU",
        source="landsat-c2l2",
        sensor="l8",
        platform="landsat-9",
        tile="32UPU",
        datetime=dt.datetime(2022, 7, 1, 10, tzinfo=dt.UTC),
        size_bytes=1,
        datatake="one",
        bands=tuple(band_of(name, Path("/archive/scene.tif"), 1, grid, "uint16") for name in names),
        mean_angles=(35.0, 150.0, 0.0, 0.0),
    )
    variables = resolve(Variables(bands=(), indices=(), biophysical=("lai", "ccc")))
    assignment = assign(product, variables)
    (work,) = assignment.grids
    assert work.grid == grid
    assert [v.name for v in work.variables] == ["lai", "lai_outside"]
    assert work.variables[0].formula == network("3.0/LANDSAT8", "lai")
    assert [band.name for band in work.bands] == ["B03", "B04", "B08", "B11", "B12"]
    assert assignment.notes == ("no ccc: the product has no band B05, B06, B07, B8A",)
    check_bands(variables[:2], {*names, *COSINES})  # a season of Landsat alone is no error
    with pytest.raises(ConfigError, match="'ccc' needs band B05"):
        check_bands(variables, {*names, *COSINES})
