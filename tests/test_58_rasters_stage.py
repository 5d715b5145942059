"""The stage l3b: rasters on demand, against NumPy on whole images; files that any GDAL reads; rows and identity."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from support.chain import Chain
from support.rasters import write_tif
from support.safe import build_safe, image_path, truncate

from s4c_hpc.catalog import opened, scan
from s4c_hpc.config import Config, load_config
from s4c_hpc.core.atomic import sha256_file
from s4c_hpc.core.errors import ConfigError, InputError
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.ids import short
from s4c_hpc.core.stage import stage
from s4c_hpc.core.task import Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.rasters import NODATA

DATA = Path(__file__).parent / "data" / "tum-freising-2018"
DEMO = Path(__file__).parents[1] / "configs" / "demo.toml"
GRID = Grid(crs="EPSG:32632", ulx=600_000, uly=5_400_000, res_m=10, width=130, height=118)
SIZE_M = 6_000


def demo_config(*flags: str) -> Config:
    return load_config(DEMO, environment={"S4C_DEMO_DATA": str(DATA)}, flags=flags).config


def new_chain(root: Path, config: Config) -> Chain:
    chain = Chain(Workspace(root))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    return chain


def only(chain: Chain, config: Config) -> Task:
    (task,) = chain.run(config, ["l3b"])["l3b"]
    return task


def read(path: Path) -> tuple[NDArray[Any], Any]:
    """Stored integers and what the file says of itself."""
    with rasterio.open(path) as raster:
        return raster.read(1), {
            "scale": raster.scales,
            "offset": raster.offsets,
            "nodata": raster.nodata,
            "units": raster.units,
            "description": raster.descriptions,
            "tags": raster.tags(),
            "structure": raster.tags(ns="IMAGE_STRUCTURE"),
            "overviews": raster.overviews(1),
            "transform": tuple(raster.transform)[:6],
            "crs": raster.crs.to_string(),
            "dtype": raster.dtypes,
        }


def of(chain: Chain, task: Task, name: str) -> Path:
    """The raster of a variable."""
    return chain.path(next(path for path in task.outputs if f"_{name}." in path))


def one_image(root: Path, layers: NDArray[Any], *, classes: bool = True, **sections: Any) -> tuple[Chain, Config]:
    """A site with one GeoTIFF: B02, B03, B04, B08, B11 and classes 1 valid, 2 cloud, 3 saturated."""
    (root / "images").mkdir(parents=True)
    write_tif(root / "images" / "S2_20180601T100000Z.tif", layers, GRID, compress="deflate")
    west, south, _, north = GRID.bounds
    field = shapely.box(west + 100, south + 100, west + 600, north - 100)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[field], crs=GRID.crs).to_parquet(root / "parcels.parquet")
    source = {
        "kind": "geotiff",
        "root": str(root / "images"),
        "pattern": "S2_{datetime}.tif",
        "tile": "T",
        "bands": {"B02": 1, "B03": 2, "B04": 3, "B08": 4, "B11": 5},
        "mask_classes": {"1": "valid", "2": "cloud", "3": "saturated"},
    }
    own = {"id": "T", "crs": GRID.crs, "ulx": GRID.ulx, "uly": GRID.uly, "width_m": 1300, "height_m": 1180}
    config = Config.model_validate(
        {
            "site": {"name": "r", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": [{**source, "mask_band": 6} if classes else source],
            "grid": {"tiles": [own]},
            "parcels": {"file": str(root / "parcels.parquet"), "id_columns": ["id"]},
            **sections,
        }
    )
    return new_chain(root / "ws", config), config


def image(seed: int = 0) -> NDArray[np.uint16]:
    """Dark and bright pixels, some without data, and classes."""
    rng = np.random.default_rng(seed)
    layers = rng.integers(1, 9000, (6, GRID.height, GRID.width)).astype(np.uint16)
    layers[:5][rng.random((5, GRID.height, GRID.width)) < 0.05] = 0
    layers[5] = rng.choice([1, 2, 3], layers[5].shape, p=[0.7, 0.2, 0.1])
    return layers


def reflectance(layers: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(layers == 0, np.nan, layers * 1e-4)


def stored(values: NDArray[np.float64], scale: float = 1e-4) -> NDArray[np.int64]:
    """What the file should hold, written in another way than the package does."""
    steps = np.round(values / scale)
    return np.where(np.isfinite(steps) & (np.abs(steps) <= 32767), steps, NODATA).astype(np.int64)


def test_without_a_wish_there_is_no_row(tmp_path: Path) -> None:
    chain, config = one_image(tmp_path, image())
    assert chain.plan(config, ["l3b"])["l3b"] == []


def test_a_raster_holds_the_formula_of_every_pixel(tmp_path: Path) -> None:
    layers = image()
    chain, config = one_image(tmp_path, layers, rasters={"variables": ["ndvi", "B04"], "mask": False})
    before = opened()
    task = only(chain, config)
    b04, b08 = reflectance(layers[2]), reflectance(layers[3])
    ndvi, about = read(of(chain, task, "ndvi"))
    assert np.array_equal(ndvi, stored((b08 - b04) / (b08 + b04)))
    assert np.array_equal(read(of(chain, task, "b04"))[0], stored(b04))
    negative = ((b08 - b04) / (b08 + b04)) < 0
    assert negative.sum() > 1000
    assert np.all(ndvi[negative] <= 0)
    assert np.all(ndvi[negative] != NODATA), "the reference system stores negative values as no data"
    assert (about["scale"], about["offset"], about["nodata"], about["dtype"]) == ((1e-4,), (0.0,), NODATA, ("int16",))
    assert (about["units"], about["crs"]) == (("1",), "EPSG:32632")
    assert about["transform"] == (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_400_000.0)
    assert about["description"] == ("Normalized difference vegetation index",)
    assert opened() - before == task.opens_imagery == chain.done[task.id].rasters_opened == 1


def test_the_file_is_cloud_optimized_and_says_where_it_comes_from(tmp_path: Path) -> None:
    chain, config = one_image(tmp_path, image(), rasters={"variables": ["ndvi"]})
    task = only(chain, config)
    (output,) = task.outputs
    assert output == f"tiles/T/raster/s2/20180601_S2_20180601T100000Z_ndvi.{short(task.id)}.tif"
    _, about = read(chain.path(output))
    assert about["structure"] == {"LAYOUT": "COG", "COMPRESSION": "DEFLATE", "INTERLEAVE": "BAND", "PREDICTOR": "2"}
    told = {key: about["tags"][key] for key in ("variable", "units", "formula", "product", "task", "pixels", "tile")}
    assert told == {
        "variable": "ndvi",
        "units": "1",
        "formula": "(B08 - B04) / (B08 + B04)",
        "product": "S2_20180601T100000Z",
        "task": task.id,
        "pixels": "valid, water",
        "tile": "T",
    }
    assert about["tags"]["acquired"] == "2018-06-01T10:00:00+00:00"
    assert not list(chain.path(output).parent.glob("*.aux.xml"))
    written, promised = chain.sizes(task)
    assert written <= promised <= 12 * written


def test_pixels_that_do_not_enter_statistics_are_no_data_unless_they_are_wanted(tmp_path: Path) -> None:
    layers = image()
    chain, masked = one_image(tmp_path, layers, rasters={"variables": ["B08"]})
    everything = masked.model_copy(update={"rasters": masked.rasters.model_copy(update={"mask": False})})
    clouds = Config.model_validate({**masked.model_dump(), "validity": {"use": ["valid", "cloud"]}})
    b08 = stored(reflectance(layers[3]))
    for config, keeps in ((masked, [1]), (everything, [1, 2, 3]), (clouds, [1, 2])):
        found, _ = read(of(chain, only(chain, config), "b08"))
        assert np.array_equal(found, np.where(np.isin(layers[5], keeps), b08, NODATA))
    assert len({only(chain, config).id for config in (masked, everything, clouds)}) == 3


def test_no_value_wraps_around_and_what_does_not_fit_is_told(tmp_path: Path) -> None:
    """Brightness of bright pixels overflows 16 bits in the reference system."""
    layers = image()
    layers[:5, :3] = 65_000
    wish = {"variables": ["brightness", "twice"], "mask": False, "scales": {"twice": 1e-3}}
    formulas = {"formulas": {"twice": "2 * B04"}}
    chain, config = one_image(tmp_path, layers, rasters=wish, variables=formulas)
    task = only(chain, config)
    b03, b04, b08, b11 = (reflectance(layers[i]) for i in (1, 2, 3, 4))
    bright = np.sqrt(b03**2 + b04**2 + b08**2 + b11**2)
    found, _ = read(of(chain, task, "brightness"))
    assert np.array_equal(found, stored(bright))
    n_beyond = int(np.count_nonzero(bright > 3.2767))
    assert n_beyond >= 3 * GRID.width
    assert chain.done[task.id].notes == (
        f"brightness: {n_beyond} pixels beyond 3.2767 are no data; a larger rasters.scales.brightness keeps them",
    )
    twice, about = read(of(chain, task, "twice"))
    assert about["scale"] == (1e-3,)
    assert np.array_equal(twice, stored(2 * b04, 1e-3))
    assert twice[0, 0] == 13_000


def test_the_same_task_gives_the_same_bytes(tmp_path: Path) -> None:
    chain, config = one_image(tmp_path, image(), rasters={"variables": ["ndvi", "bsi"], "compress": "zstd"})
    task = only(chain, config)
    first = [sha256_file(chain.path(path)) for path in task.outputs]
    for path in task.outputs:
        chain.path(path).unlink()
    chain.run_task(stage("l3b"), task, config)
    assert [sha256_file(chain.path(path)) for path in task.outputs] == first
    assert not list(chain.workspace.temporary.rglob("*.tif"))


def test_identity_is_what_is_stored_and_nothing_else(tmp_path: Path) -> None:
    chain, config = one_image(tmp_path, image(), rasters={"variables": ["ndvi"]})

    def planned(**sections: Any) -> Task:
        changed = {key: {**config.model_dump()[key], **value} for key, value in sections.items()}
        (task,) = chain.plan(Config.model_validate({**config.model_dump(), **changed}), ["l3b"])["l3b"]
        return task

    here = planned()
    assert planned(variables={"indices": []}).id == here.id
    assert planned(extract={"mask_ring_m": 100}, rasters={"scales": {"lai": 0.1}}).id == here.id
    assert planned(rasters={"scale": 1e-3}).id != here.id
    assert planned(rasters={"variables": ["ndvi", "B04"]}).id != here.id
    assert planned(rasters={"compress": "zstd"}).id != here.id
    assert planned(validity={"use": ["valid"]}).id != here.id
    assert planned(validity={"use": ["valid"]}, rasters={"mask": False}).id == planned(rasters={"mask": False}).id
    assert str(tmp_path) not in here.params


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (["nddvi"], r"rasters\.variables: no index is called 'nddvi'; did you mean ndvi"),
        (["ndwi"], r"rasters\.variables: 'ndwi' means two different indices"),
        (["ndvi", "NDVI"], r"rasters\.variables: 'ndvi' is named twice"),
        (["B05"], r"rasters\.variables: variable 'b05' needs band B05, which no product of the season has"),
        (["lai"], r"rasters\.variables: variable 'lai' needs"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(tmp_path: Path, wish: list[str], message: str) -> None:
    chain, config = one_image(tmp_path, image(), rasters={"variables": wish})
    with pytest.raises(ConfigError, match=message):
        chain.plan(config, ["l3b"])


def test_a_product_without_classes_is_not_masked(tmp_path: Path) -> None:
    layers = image()
    chain, config = one_image(tmp_path, layers, classes=False, rasters={"variables": ["B02"]})
    assert np.array_equal(read(of(chain, only(chain, config), "b02"))[0], stored(reflectance(layers[0])))


def test_a_raster_covers_its_tile_and_not_the_whole_image(tmp_path: Path) -> None:
    layers = image()
    inner = {"id": "T", "crs": GRID.crs, "ulx": 600_200, "uly": 5_399_900, "width_m": 705, "height_m": 600}
    wish = {"variables": ["B02"], "mask": False}
    chain, config = one_image(tmp_path, layers, rasters=wish, grid={"tiles": [inner]})
    task = only(chain, config)
    found, about = read(of(chain, task, "b02"))
    assert about["transform"] == (10.0, 0.0, 600_200.0, 0.0, -10.0, 5_399_900.0)
    assert np.array_equal(found, stored(reflectance(layers[0]))[10:70, 20:91]), "half a pixel is one that touches"


def test_rasters_of_the_last_days_only(tmp_path: Path) -> None:
    config = demo_config('rasters.variables=["ndvi"]')
    chain = new_chain(tmp_path, config)
    season = [task.subject for task in chain.plan(config, ["l3b"])["l3b"]]
    latest = [
        t.subject
        for t in chain.plan(demo_config('rasters.variables=["ndvi"]', "retention.keep_rasters_days=8"), ["l3b"])["l3b"]
    ]
    days = [dt.date.fromisoformat(subject[7:15]) for subject in season]
    assert latest == [s for s, day in zip(season, days, strict=True) if (days[-1] - day).days < 8]
    assert 0 < len(latest) < len(season) == 23


def test_real_pixels_of_the_demo(tmp_path: Path) -> None:
    config = demo_config(
        'rasters.variables=["ireci"]', *(f'site.season_{end}="2018-05-07"' for end in ("start", "end"))
    )
    chain = new_chain(tmp_path, config)
    task = only(chain, config)
    found, about = read(of(chain, task, "ireci"))
    with rasterio.open(DATA / "images" / f"{task.subject}.tif") as raster:
        b04, b05, b06, b07 = (reflectance(raster.read(i)) for i in (4, 5, 6, 7))
        is_valid = raster.read(13) == 1
    with np.errstate(all="ignore"):
        expected = stored(np.where(is_valid, (b07 - b04) / (b05 / b06), np.nan))
    assert np.array_equal(found, expected)
    assert about["overviews"] == [2], "an overview ends where it is smaller than a block"
    if shutil.which("gdalinfo"):
        output = subprocess.run(["gdalinfo", "-json", chain.path(task.outputs[0])], capture_output=True, check=True)
        (band,) = json.loads(output.stdout)["bands"]
        assert (band["type"], band["noDataValue"], band["scale"]) == ("Int16", NODATA, 1e-4)


@pytest.fixture
def safe(tmp_path: Path) -> tuple[Path, Chain, Config]:
    """A SAFE product on three grids, a fifth of a tile's edge."""
    field = shapely.box(600_300, 5_399_000, 600_900, 5_399_600)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[field], crs="EPSG:32632").to_parquet(tmp_path / "parcels.parquet")
    rng = np.random.default_rng(4)
    b11 = rng.integers(1200, 5000, (SIZE_M // 20, SIZE_M // 20)).astype(np.uint16)
    b11[:7], b11[:, 5] = 0, 65_535
    folder = build_safe(
        tmp_path / "archive",
        dn={"B11": b11},
        scl=rng.choice(np.array([3, 4, 5, 6, 9], np.uint8), b11.shape, p=[0.05, 0.4, 0.4, 0.1, 0.05]),
        sensing=dt.datetime(2018, 6, 1, 10, 20, tzinfo=dt.UTC),
        tile="32UPU",
        epsg=32632,
        ulx=600_000,
        uly=5_400_000,
        size_m=SIZE_M,
        seed=3,
    )
    own = {"id": "32UPU", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_400_000, "width_m": SIZE_M, "height_m": SIZE_M}
    config = Config.model_validate(
        {
            "site": {"name": "r", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": [{"kind": "sentinel2-l2a", "root": str(tmp_path / "archive")}],
            "grid": {"tiles": [own]},
            "parcels": {"file": str(tmp_path / "parcels.parquet"), "id_columns": ["id"]},
            "rasters": {"variables": ["ndwi_gao", "B11", "ndre"]},
            "variables": {"formulas": {"ndre": "(B08 - B05) / (B08 + B05)"}},
        }
    )
    return folder, new_chain(tmp_path / "ws", config), config


def test_bands_of_several_grids_meet_on_the_finest(safe: tuple[Path, Chain, Config]) -> None:
    folder, chain, config = safe
    before = opened()
    task = only(chain, config)

    def band(name: str) -> NDArray[np.float64]:
        with rasterio.open(image_path(folder, name)) as raster:
            dn = raster.read(1).astype(np.float64)
        values: NDArray[np.float64] = np.where((dn == 0) | (dn == 65_535), np.nan, dn * 1e-4 - 0.1)
        return values

    def finer(values: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)

    with rasterio.open(image_path(folder, "SCL")) as raster:
        counts = np.isin(raster.read(1), [4, 5, 6, 7])
    b08, b11 = band("B08"), band("B11")
    found, about = read(of(chain, task, "ndwi_gao"))
    expected = (b08 - finer(b11)) / (b08 + finer(b11))
    assert np.array_equal(found, stored(np.where(finer(counts), expected, np.nan)))
    assert about["tags"]["nearest"] == "B11 from 20m"
    at_20m, about = read(of(chain, task, "b11"))
    assert np.array_equal(at_20m, stored(np.where(counts, b11, np.nan)))
    assert about["transform"][0] == 20.0
    # B05, B08, B11 and the scene classification, though B11 serves two grids.
    assert opened() - before == task.opens_imagery == chain.done[task.id].rasters_opened == 4
    assert (task.depends_on, task.input_keys) == ((), (task.input_keys[0],))


def test_networks_take_their_angles(safe: tuple[Path, Chain, Config]) -> None:
    """Leaf area index, which no variable of the site asks for."""
    _, chain, config = safe
    wish = Config.model_validate({**config.model_dump(), "rasters": {"variables": ["lai"], "mask": False}})
    task = only(chain, wish)
    found, about = read(of(chain, task, "lai"))
    assert (about["scale"], about["units"]) == ((1e-3,), ("m2 m-2",))
    assert np.count_nonzero(found != NODATA) > 1000


def test_widened_clouds_widen_the_mask(safe: tuple[Path, Chain, Config]) -> None:
    folder, chain, config = safe
    wide = Config.model_validate(
        {**config.model_dump(), "rasters": {"variables": ["B11"]}, "extract": {"dilate_m": {"cloud": 20}}}
    )
    found, _ = read(of(chain, only(chain, wide), "b11"))
    with rasterio.open(image_path(folder, "SCL")) as raster:
        scl = raster.read(1)
    with rasterio.open(image_path(folder, "B11")) as raster:
        has_value = ~np.isin(raster.read(1), [0, 65_535])
    clouds = np.pad(np.isin(scl, [8, 9, 10]), 1)
    near = clouds[1:-1, 1:-1] | clouds[:-2, 1:-1] | clouds[2:, 1:-1] | clouds[1:-1, :-2] | clouds[1:-1, 2:]
    assert np.count_nonzero(near & np.isin(scl, [4, 5, 6, 7])) > 0
    assert np.array_equal(found != NODATA, np.isin(scl, [4, 5, 6, 7]) & ~near & has_value)


def test_a_damaged_band_is_told_and_leaves_nothing(safe: tuple[Path, Chain, Config]) -> None:
    folder, chain, config = safe
    truncate(image_path(folder, "B11"), 0.6)
    (task,) = chain.plan(config, ["l3b"])["l3b"]
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        chain.run(config, ["l3b"])
    assert caught.value.where == str(image_path(folder, "B11"))
    assert not any(chain.path(path).exists() for path in task.outputs)
    assert not list(chain.workspace.temporary.rglob("*.tif"))


def test_other_angles_make_another_raster_of_what_needs_them_alone(tmp_path: Path) -> None:
    bands = {"B03": 1, "B04": 2, "B05": 3, "B06": 4, "B07": 5, "B8A": 6, "B11": 7, "B12": 8}
    layers = np.full((8, GRID.height, GRID.width), 2000, np.uint16)
    chain, config = one_image(tmp_path, layers, classes=False)

    def planned(sza: float, wish: str) -> Task:
        angles = {"sza": sza, "saa": 150, "vza": 5, "vaa": 100}
        source = {**config.model_dump()["sources"][0], "bands": bands, "angles": angles}
        rasters = {"variables": [wish], "mask": False}
        changed = Config.model_validate({**config.model_dump(), "sources": [source], "rasters": rasters})
        scan(changed, chain.workspace)
        (task,) = chain.plan(changed, ["l3b"])["l3b"]
        return task

    assert planned(40, "lai").id != planned(30, "lai").id
    assert planned(40, "B04").id == planned(30, "B04").id


def test_angles_are_not_read_for_what_does_not_need_them(safe: tuple[Path, Chain, Config]) -> None:
    folder, chain, config = safe
    scan(config, chain.workspace)
    for path in folder.rglob("MTD_TL.xml"):
        path.unlink()
    assert len(only(chain, config).outputs) == 3


def test_a_product_that_does_not_fit_its_tile_is_a_row_that_says_so(tmp_path: Path) -> None:
    """A tile that was moved after the scan does not stop the plan of a country."""
    chain, config = one_image(tmp_path, image(), rasters={"variables": ["ndvi"]})
    beside = {"id": "T", "crs": GRID.crs, "ulx": 610_000, "uly": 5_400_000, "width_m": 1300, "height_m": 1180}
    field = shapely.box(610_100, 5_399_000, 610_600, 5_399_900)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[field], crs=GRID.crs).to_parquet(tmp_path / "beside.parquet")
    parcels = {"file": str(tmp_path / "beside.parquet"), "id_columns": ["id"]}
    moved = Config.model_validate({**config.model_dump(), "grid": {"tiles": [beside]}, "parcels": parcels})
    import_parcels(None, chain.workspace, moved)
    (task,) = chain.plan(moved, ["l3b"])["l3b"]
    with pytest.raises(InputError, match="the product does not reach the tile; scan the catalog again") as caught:
        chain.run(moved, ["l3b"])
    assert task.subject in str(caught.value)
