"""A raster and the series of the same product leave out the same pixels, whatever decides it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from support.chain import Chain
from support.muscate import build_muscate, write_fmask

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.rasters import NODATA
from s4c_hpc.series import read_series

ULX, ULY, SIZE_M = 600_000, 5_400_000, 1200
TIME = dt.datetime(2018, 7, 10, 10, 45, 40, 458_000, tzinfo=dt.UTC)
FIELD = {"10m": np.s_[40:60, 40:60], "20m": np.s_[20:30, 20:30]}
"""The only parcel, in pixels."""


def flags(shape: tuple[int, int], seed: int, *, bits: int, share: float = 0.01) -> NDArray[np.uint8]:
    """A few pixels with one flag each."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < share, 1 << rng.integers(0, bits, shape), 0).astype(np.uint8)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of MAJA with masks of its own on two grids, and one of FMask."""
    root = tmp_path_factory.mktemp("maja")
    rng = np.random.default_rng(7)
    dn = {
        name: rng.integers(300, 4000, (n, n)).astype(np.int16) for name, n in {"B4": 120, "B8": 120, "B11": 60}.items()
    }
    dn["B4"][50, 40:45] = -10_000
    masks = {}
    for seed, (grid, n) in enumerate((("R1", 120), ("R2", 60))):
        masks[f"MG2_{grid}"] = flags((n, n), seed, bits=8, share=0.1)
        masks[f"EDG_{grid}"] = flags((n, n), seed + 10, bits=1)
        masks[f"SAT_{grid}"] = flags((n, n), seed + 20, bits=4, share=0.03)
    folder = build_muscate(root / "archive", time=TIME, dn=dn, masks=masks)
    fmask = rng.choice(np.array([0, 1, 2, 3, 4, 255], np.uint8), (60, 60), p=[0.7, 0.1, 0.05, 0.05, 0.07, 0.03])
    write_fmask(root / "fmask" / f"{folder.name}_Fmask4.tif", fmask, epsg=32632, ulx=ULX, uly=ULY, res_m=20)
    square = shapely.box(ULX + 400, ULY - 600, ULX + 600, ULY - 400)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[square], crs="EPSG:32632").to_file(root / "parcels.gpkg")
    return root


def settings(archive: Path, **sections: Any) -> Config:
    tile = {"id": "32UPU", "crs": "EPSG:32632", "ulx": ULX, "uly": ULY, "width_m": SIZE_M, "height_m": SIZE_M}
    roots = {"root": str(archive / "archive"), "fmask_root": str(archive / "fmask")}
    sources = [source | {"root": roots["root"]} for source in sections.pop("sources", [])]
    extract = {"buffer_m": {"10m": 0, "20m": 0, "60m": 0}, **sections.pop("extract", {})}
    return Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": sources or [{"kind": "maja", **roots}],
            "grid": {"tiles": [tile]},
            "parcels": {"file": str(archive / "parcels.gpkg"), "id_columns": ["id"]},
            "extract": extract,
            "variables": {"bands": ["B11"], "indices": ["ndvi", "ndwi_gao"]},
            "rasters": {"variables": ["ndvi", "ndwi_gao", "B11"]},
            **sections,
        }
    )


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"validity": {"mask": "fmask"}},
        {"validity": {"mask": "both"}},
        {"validity": {"use": ["valid", "water", "saturated", "snow"]}},
        {"extract": {"dilate_m": {"cloud": 30, "shadow": 15}}, "sources": [{"kind": "maja"}]},
    ],
    ids=["maja", "fmask", "both", "use", "widened"],
)
def test_a_raster_and_the_series_stand_on_the_same_pixels(
    archive: Path, tmp_path: Path, sections: dict[str, Any]
) -> None:
    config = settings(archive, **sections)
    chain = Chain(Workspace(tmp_path / "ws"))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    rows = chain.run(config, ["mask", "index", "gather", "stats", "l3b"])
    (task,), (raster_task,) = rows["stats"], rows["l3b"]
    for name, grid in (("ndvi", "10m"), ("ndwi_gao", "10m"), ("b11", "20m")):
        series = read_series(chain.path(next(path for path in task.outputs if f"/{grid}/" in path)))
        with rasterio.open(chain.path(next(p for p in raster_task.outputs if f"_{name}." in p))) as raster:
            pixels = raster.read(1)[FIELD[grid]]
        kept = pixels != NODATA
        assert 0 < np.count_nonzero(kept) < kept.size
        assert np.count_nonzero(kept) == series.values(f"{name}_count")[0]
        assert pixels[kept].mean() * 1e-4 == pytest.approx(series.values(f"{name}_mean")[0], abs=2e-5)
    assert raster_task.opens_imagery == chain.done[raster_task.id].rasters_opened
