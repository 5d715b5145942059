"""Reading imagery for a stack from a shaky mount: waited for, and told apart from damage when it does not help."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from support.chain import Chain
from support.safe import build_safe, image_path

from s4c_hpc.catalog import archive, scan
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ExitCode, TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels

ULX, ULY, SIZE_M = 600_000, 5_400_000, 600


def config(root: Path) -> Config:
    tile = {"id": "32UPU", "crs": "EPSG:32632", "ulx": ULX, "uly": ULY, "width_m": SIZE_M, "height_m": SIZE_M}
    return Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-06-01", "season_end": "2018-06-30"},
            "sources": [{"kind": "sentinel2-l2a", "root": root / "archive"}],
            "archive": {"retries": 2, "backoff_s": 0.5},
            "grid": {"tiles": [tile]},
            "parcels": {"file": root / "parcels.gpkg", "id_columns": ["id"]},
        }
    )


def test_a_band_that_cannot_be_read_fails_its_task_for_now_and_the_next_try_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(archive, "_pause", pauses.append)
    field = shapely.box(ULX + 100, ULY - 400, ULX + 300, ULY - 100)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[field], crs="EPSG:32632").to_file(tmp_path / "parcels.gpkg")
    sensing = dt.datetime(2018, 6, 1, 10, 20, tzinfo=dt.UTC)
    safe = build_safe(
        tmp_path / "archive",
        baseline="02.14",
        sensing=sensing,
        tile="32UPU",
        epsg=32632,
        ulx=ULX,
        uly=ULY,
        size_m=SIZE_M,
    )
    asked, chain = config(tmp_path), Chain(Workspace(tmp_path / "ws"))
    scan(asked, chain.workspace)
    import_parcels(None, chain.workspace, asked)
    band = image_path(safe, "B8A")
    content = band.read_bytes()
    band.unlink()
    band.symlink_to("/proc/self/mem")  # reading it ends with EIO
    with pytest.raises(TemporaryError, match=r"B8A_20m\.jp2: cannot be read just now \(Input/output error") as caught:
        chain.run(asked, ("mask", "index", "gather"))
    assert caught.value.exit_code == ExitCode.TEMPORARY
    assert pauses == [0.5, 1.0], "as [archive] says"
    band.unlink()
    band.write_bytes(content)
    (task,) = chain.run(asked, ("mask", "index", "gather"))["gather"]
    assert chain.done[task.id].rasters_opened == task.opens_imagery
