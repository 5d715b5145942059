"""From a SAFE product to series, in one process: what its special DN do to the numbers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from support.chain import Chain
from support.safe import build_safe

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.series import read_series

ULX, ULY, SIZE_M = 600_000, 5_400_000, 1200


def test_saturated_pixels_are_left_out_of_what_uses_their_band(tmp_path: Path) -> None:
    """Sen2Cor's classes say vegetation everywhere; half of the parcel has a red that the sensor could not measure."""
    rng = np.random.default_rng(3)
    red, infrared = (
        rng.integers(low, high, (120, 120)).astype(np.uint16) for low, high in ((1300, 1900), (3500, 5500))
    )
    red[:, 50:] = 65_535
    build_safe(
        tmp_path / "archive",
        baseline="05.09",
        sensing=dt.datetime(2023, 6, 25, 10, 10, tzinfo=dt.UTC),
        tile="32UPU",
        epsg=32632,
        ulx=ULX,
        uly=ULY,
        size_m=SIZE_M,
        dn={"B04": red, "B08": infrared},
        scl=np.full((60, 60), 4, np.uint8),
    )
    square = shapely.box(ULX + 400, ULY - 600, ULX + 600, ULY - 400)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[square], crs="EPSG:32632").to_file(tmp_path / "parcels.gpkg")
    tile = {"id": "32UPU", "crs": "EPSG:32632", "ulx": ULX, "uly": ULY, "width_m": SIZE_M, "height_m": SIZE_M}
    config = Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2023-01-01", "season_end": "2023-12-31"},
            "sources": [{"kind": "sentinel2-l2a", "root": str(tmp_path / "archive")}],
            "grid": {"tiles": [tile]},
            "parcels": {"file": str(tmp_path / "parcels.gpkg"), "id_columns": ["id"]},
            "extract": {"buffer_m": {"10m": 0, "20m": 0, "60m": 0}},
            "variables": {"bands": ["B04", "B08"], "indices": ["ndvi"]},
        }
    )
    chain = Chain(Workspace(tmp_path / "ws"))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    (task,) = chain.run(config, ["mask", "index", "gather", "stats"])["stats"]
    series = read_series(chain.path(task.outputs[0]))
    b04, b08 = (dn[40:60, 40:60] * 1e-4 - 0.1 for dn in (red, infrared))
    measured = np.s_[:, :10]
    ndvi = ((b08 - b04) / (b08 + b04))[measured]
    found = {name: float(series.values(name)[0]) for name in series.names}
    assert (found["b04_count"], found["ndvi_count"], found["b08_count"]) == (200, 200, 400)
    assert found["b04_mean"] == pytest.approx(b04[measured].mean(), rel=1e-6)
    assert found["b04_max"] == pytest.approx(b04[measured].max(), rel=1e-6)
    assert found["b08_mean"] == pytest.approx(b08.mean(), rel=1e-6)
    assert found["ndvi_mean"] == pytest.approx(ndvi.mean(), rel=1e-6)
    # Classes are what the source says of them.
    assert (found["n_valid"], found["n_saturated"], found["n_nodata"]) == (400, 0, 0)
