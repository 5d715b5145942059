"""A Landsat scene over two tiles: a raster for each, its own pixels of 30 m, cut to the tile."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from support.chain import Chain
from support.landsat import CLEAR, build_landsat

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.rasters import NODATA

ULX, ULY, SIZE_M = 600_000, 5_400_000, 2_400
SHAPE = (82, 162)
"""Of the scene, whose first pixel begins 15 m north and west of the first tile."""
CLOUD = 22280
"""Value of QA_PIXEL where a cloud is told with high confidence."""


def test_each_tile_has_its_part_of_the_scene(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    quality = np.full(SHAPE, CLEAR, np.uint16)
    quality[20:30, 60:100] = CLOUD
    red, infrared = (rng.integers(8000, 30_000, SHAPE).astype(np.uint16) for _ in range(2))
    red[40, 40] = 0
    saturation = np.zeros(SHAPE, np.uint16)
    dn = {"SR_B4": red, "SR_B5": infrared, "QA_PIXEL": quality, "QA_RADSAT": saturation}
    time = dt.datetime(2023, 6, 25, 10, 2, tzinfo=dt.UTC)
    build_landsat(
        tmp_path / "archive", time=time, processed="20230701", ulx=ULX - 15, uly=ULY + 15, shape=SHAPE, dn=dn, block=16
    )
    tiles = [
        {"id": tile, "crs": "EPSG:32632", "ulx": ulx, "uly": ULY, "width_m": SIZE_M, "height_m": SIZE_M}
        for tile, ulx in (("32UPU", ULX), ("32UQU", ULX + SIZE_M))
    ]
    fields = [shapely.box(x + 500, ULY - 1000, x + 900, ULY - 600) for x in (ULX, ULX + SIZE_M)]
    gpd.GeoDataFrame({"id": [1, 2]}, geometry=fields, crs="EPSG:32632").to_file(tmp_path / "parcels.gpkg")
    config = Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2023-01-01", "season_end": "2023-12-31"},
            "sources": [{"kind": "landsat-c2l2", "root": str(tmp_path / "archive")}],
            "grid": {"tiles": tiles},
            "parcels": {"file": str(tmp_path / "parcels.gpkg"), "id_columns": ["id"]},
            "variables": {"bands": ["B04"], "indices": []},
            "rasters": {"variables": ["ndvi"]},
        }
    )
    chain = Chain(Workspace(tmp_path / "ws"))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    rows = chain.run(config, ["l3b"])["l3b"]
    assert [task.tile for task in rows] == ["32UPU", "32UQU"]
    r, n = (np.where(band == 0, np.nan, band * 2.75e-5 - 0.2) for band in (red, infrared))
    expected = np.round(np.where(quality == CLEAR, (n - r) / (n + r), np.nan) / 1e-4)
    expected = np.where(np.isfinite(expected) & (np.abs(expected) <= 32767), expected, NODATA)
    # The second tile begins 2415 m east of the scene's corner: in its 81st column of 30 m.
    for task, first, last in ((rows[0], 0, 81), (rows[1], 80, 161)):
        (output,) = task.outputs
        assert output.startswith(f"tiles/{task.tile}/raster/l8/20230625_")
        with rasterio.open(chain.path(output)) as raster:
            assert tuple(raster.transform)[:6] == (30.0, 0.0, ULX - 15 + 30 * first, 0.0, -30.0, ULY + 15)
            assert np.array_equal(raster.read(1), expected[:81, first:last])
        assert task.opens_imagery == chain.done[task.id].rasters_opened == 4
