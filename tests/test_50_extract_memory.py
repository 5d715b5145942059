"""What the stages ask for is an upper bound of what they take: measured in a fresh process, as a worker is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from support.polygons import star
from support.rasters import write_tif

from s4c_hpc.core.grid import Grid

SIZE = 4096
"""Pixels of 10 m along an edge of the generated tile."""

GRID = Grid(crs="EPSG:32632", ulx=600_000, uly=5_400_000, res_m=10, width=SIZE, height=SIZE)

SCRIPT = """
import json, sys
from pathlib import Path
from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.stage import stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.memory import MemoryPeak, anonymous_bytes
from s4c_hpc.parcels import import_parcels
from support.chain import Chain

root, step = Path(sys.argv[1]), sys.argv[2]
values = json.loads((root / "config.json").read_text())
if step == "widened":
    values["extract"]["dilate_m"] = {"cloud": 300}
    step = "gather"
config = Config.model_validate(values)
chain = Chain(Workspace(root / "ws"))
if step == "prepare":
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    chain.run(config, ["mask"])
    sys.exit()
rows = chain.plan(config, ["mask", "index", "gather"])
chain.done = {rows["mask"][0].id: rows["mask"][0]}  # it has outputs, which is all that is asked of it
(task,) = rows[step]
(chain.workspace.runs / "chain").mkdir(parents=True, exist_ok=True)
(chain.workspace.runs / "chain" / "products.parquet").write_bytes(chain.workspace.catalog.read_bytes())
with MemoryPeak() as peak:
    outcome = chain.run_task(stage(step), task, config)
print(json.dumps({"peak": peak.peak_bytes, "base": peak.base_bytes, "asked": task.resources.mem_bytes,
                  "n_rows": outcome.n_rows, "bytes_out": task.bytes_out,
                  "written": sum(chain.path(p).stat().st_size for p in outcome.outputs)}))
"""


@pytest.fixture(scope="module")
def country(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tile of 41 km with 20 000 parcels and five layers in tiles of 512 pixels."""
    root = tmp_path_factory.mktemp("country")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    smooth = (np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 4000 + 1).astype(np.uint16)
    layers = np.stack([smooth, smooth + 7, smooth.T, smooth[::-1], rng.integers(1, 3, smooth.shape, np.uint16)])
    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    write_tif(root / "images" / "S2_20180601T100000Z.tif", layers, GRID, **options)
    x, y = np.meshgrid(np.arange(150, 40_800, 290.0), np.arange(150, 40_800, 290.0))
    west, south, _, _ = GRID.bounds
    fields = [star(rng, west + a, south + b, 150, 24) for a, b in zip(x.ravel(), y.ravel(), strict=True)]
    frame = gpd.GeoDataFrame({"id": np.arange(len(fields))}, geometry=fields, crs=GRID.crs)
    frame[shapely.area(fields) > 0].to_parquet(root / "parcels.parquet")
    tile = {"id": "T", "crs": GRID.crs, "ulx": GRID.ulx, "uly": GRID.uly, "width_m": 10 * SIZE, "height_m": 10 * SIZE}
    source = {
        "kind": "geotiff",
        "root": str(root / "images"),
        "pattern": "S2_{datetime}.tif",
        "tile": "T",
        "bands": {"B02": 1, "B03": 2, "B04": 3, "B08": 4},
        "mask_band": 5,
        "mask_classes": {"1": "valid", "2": "cloud"},
    }
    config = {
        "site": {"name": "c", "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "sources": [source],
        "grid": {"tiles": [tile]},
        "parcels": {"file": str(root / "parcels.parquet"), "id_columns": ["id"]},
        "extract": {"weighting": "coverage"},
    }
    (root / "config.json").write_text(json.dumps(config))
    _run(root, "prepare")
    return root


def _run(root: Path, step: str) -> str:
    command = [sys.executable, "-c", SCRIPT, str(root), step]
    environment = {"PYTHONPATH": str(Path(__file__).parent), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("step", ["mask", "index", "gather", "widened"])
def test_measured_memory_and_bytes_stay_within_what_was_asked(country: Path, step: str) -> None:
    figures = json.loads(_run(country, step))
    assert figures["peak"] <= figures["asked"]
    assert figures["peak"] - figures["base"] > 0  # something was measured
    # An upper bound, within a factor that keeps a quota check honest.
    assert figures["written"] <= figures["bytes_out"] <= 12 * figures["written"]
