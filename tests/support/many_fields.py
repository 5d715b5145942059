"""A small tile of thousands of small fields, six blocks of them, and runs of its features on ranks of MPI."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from support.probe_mpi import MpiRun
from support.rasters import write_tif
from support.runs import InlineExecutor

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.task import Launch
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import current_plan, run
from s4c_hpc.execute.manifest import Chunk, Wave, attempt_name, write_wave
from s4c_hpc.parcels import import_parcels
from s4c_hpc.plan import new_run_id

SIDE = 75
"""Fields along an edge of the tile, each of 20 m."""
GRID = Grid(crs="EPSG:32632", ulx=600_000, uly=5_400_000, res_m=10, width=2 * SIDE, height=2 * SIDE)
DAYS = tuple(dt.date(2018, 4, 1) + dt.timedelta(days=i) for i in (0, 9, 20, 55, 61))
TOML = """
[site]
name = "small"
season_start = 2018-03-01
season_end = 2018-07-31
[[sources]]
kind = "geotiff"
root = "{root}/images"
pattern = "S2_{{datetime}}.tif"
tile = "SMALL"
bands = {{ B03 = 1, B04 = 2, B08 = 3, B11 = 4 }}
scale = 1e-4
mask_band = 5
mask_classes = {{ 1 = "valid", 2 = "cloud" }}
[[grid.tiles]]
id = "SMALL"
crs = "EPSG:32632"
ulx = 600000
uly = 5400000
width_m = 1500
height_m = 1500
[parcels]
file = "{root}/parcels.gpkg"
id_columns = ["id"]
[extract]
buffer_m = {{ 10m = 0 }}
[variables]
bands = ["B04"]
indices = []
statistics = ["mean"]
[features]
sets = ["optical"]
values_per_rank = 30000
"""


def build_many_fields(root: Path) -> str:
    """Images and a declaration below ``root``; returns the text of a configuration file."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    for day in DAYS:
        bands = rng.integers(1, 6000, (4, GRID.height, GRID.width), np.uint16)
        clouds = rng.choice(np.array([1, 2], np.uint16), (1, GRID.height, GRID.width), p=[0.7, 0.3])
        write_tif(root / "images" / f"S2_{day:%Y%m%d}T101020Z.tif", np.concatenate([bands, clouds]), GRID)
    x, y = np.meshgrid(GRID.ulx + 20.0 * np.arange(SIDE), GRID.uly - 20.0 * np.arange(1, SIDE + 1))
    wide = np.where(rng.random(x.size) < 0.1, 7.0, 20.0)  # some are one pixel, or none
    fields = shapely.box(x.ravel(), y.ravel(), x.ravel() + wide, y.ravel() + 20.0)
    gpd.GeoDataFrame({"id": np.arange(fields.size)}, geometry=fields, crs=GRID.crs).to_file(root / "parcels.gpkg")
    return TOML.format(root=root)


@dataclass(frozen=True)
class ManyFields:
    """A workspace with everything that the features need."""

    workspace: Workspace
    config: Config

    @classmethod
    def prepared(cls, root: Path, config: Config) -> ManyFields:
        """Make masks, indices and stacks."""
        workspace = Workspace(root / "ws")
        workspace.root.mkdir()
        workspace.config.touch()
        scan(config, workspace)
        import_parcels(None, workspace, config)
        result = run(workspace, config, executor=InlineExecutor(), stages=["gather", "index"])
        assert result.exit_code is ExitCode.OK, result.status
        return cls(workspace, config)

    def task(self) -> dict[str, Any]:
        """The plan row of the features."""
        plan = current_plan(self.workspace, self.config, stages=["features"])
        (row,) = (row for row in plan.tasks.to_pylist() if row["stage"] == "features")
        return dict(row)

    def on_ranks(self, ranks: int) -> MpiRun:
        """A run of the features alone, for so many ranks; nothing is started."""
        plan = current_plan(self.workspace, self.config, stages=["features"])
        (row,) = (row for row in plan.tasks.to_pylist() if row["stage"] == "features")
        folder = plan.write(self.workspace.runs / new_run_id())
        chunk = Chunk(
            attempt=attempt_name("000001", 0),
            stage="features",
            ids=(row["id"],),
            numbers=(1,),
            seconds=(60,),
            cpus=ranks,
            mem_bytes=row["mem_bytes"],
        )
        wave = Wave(name="000001", launch=Launch.MPI, chunks=(chunk,))
        write_wave(folder, wave)
        return MpiRun(folder, wave, self.workspace.root)

    def files(self) -> dict[str, bytes]:
        """Feature files by path."""
        root = self.workspace.root
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("tiles/*/features/**/*.*"))}

    def remove(self) -> dict[str, bytes]:
        """Remove the feature files; returns what was in them."""
        found = self.files()
        for path in found:
            (self.workspace.root / path).unlink()
        return found

    def private(self) -> list[Path]:
        """Unfinished files."""
        return [path for path in self.workspace.temporary.rglob("*") if path.is_file()]
