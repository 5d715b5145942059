"""Rasters whose nodata is NaN, from the configuration to the markers: the same numbers as with a DN of 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio
from support.cli import DEMO_DATA
from support.runs import InlineExecutor

from s4c_hpc.catalog import scan
from s4c_hpc.config import load_config
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import run
from s4c_hpc.parcels import import_parcels

CONFIG = f"""
[site]
name = "nan"
season_start = 2018-01-01
season_end = 2018-12-31
[[sources]]
kind = "geotiff"
root = "images"
pattern = "S2_L2A_{{datetime}}.tif"
tile = "32UPU"
bands = {{ B04 = 1, B08 = 2 }}
nodata = %s
[parcels]
file = "{DEMO_DATA}/parcels.gpkg"
id_columns = ["parcel_id"]
[variables]
bands = ["B04"]
indices = ["ndvi"]
statistics = ["count", "mean", "min"]
"""


def markers(folder: Path, nodata: str, dtype: str) -> pa.Table:
    """Markers of one date of the demo with gaps, its values written as ``dtype``."""
    (folder / "images").mkdir(parents=True)
    (folder / "s4c.toml").write_text(CONFIG % nodata)
    name = "S2_L2A_20180507T102648Z.tif"
    with rasterio.open(DEMO_DATA / "images" / name) as raster:
        pixels, profile = raster.read([4, 8]).astype(dtype), {**raster.profile, "count": 2, "dtype": dtype}
    gaps = np.random.default_rng(0).random(pixels.shape) < 0.2
    pixels[gaps] = float(nodata)
    profile["nodata"] = float(nodata)
    with rasterio.open(folder / "images" / name, "w", **profile) as raster:
        raster.write(pixels)
    workspace, config = Workspace(folder), load_config(folder / "s4c.toml").config
    scan(config, workspace)
    import_parcels(None, workspace, config)
    assert run(workspace, config, executor=InlineExecutor()).exit_code is ExitCode.OK
    path = folder / "markers" / "mdb1" / "2018-05" / "nan_32UPU.arrow"
    return pa.ipc.open_file(str(path)).read_all()


def test_nan_means_the_same_as_a_number_would(tmp_path: Path) -> None:
    by_number = markers(tmp_path / "number", "0", "uint16")
    by_nan = markers(tmp_path / "nan", "nan", "float32")
    assert by_nan.column_names == by_number.column_names
    counts = by_number["s2_ndvi_count__20180507"].to_numpy()
    assert 0 < counts.sum() < by_number["s2_b04_count__20180507"].to_numpy().sum()
    for name in by_number.column_names:
        np.testing.assert_array_equal(by_nan[name].to_numpy(), by_number[name].to_numpy(), err_msg=name)
