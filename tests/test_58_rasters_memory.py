"""Rasters of a large tile are made in bounded memory and scratch: measured in a fresh process, as a worker is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from support.rasters import write_tif

from s4c_hpc.core.grid import Grid

SIZE = 3072
"""Pixels of 10 m along an edge of the generated tile."""

GRID = Grid(crs="EPSG:32632", ulx=600_000, uly=5_400_000, res_m=10, width=SIZE, height=SIZE)

SCRIPT = """
import json, sys, threading, time
from pathlib import Path
from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.stage import stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.memory import MemoryPeak
from s4c_hpc.parcels import import_parcels
from support.chain import Chain

root = Path(sys.argv[1])
config = Config.model_validate(json.loads((root / "config.json").read_text()))
chain = Chain(Workspace(root / "ws"))
if sys.argv[2] == "prepare":
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    sys.exit()
(task,) = chain.plan(config, ["l3b"])["l3b"]
(chain.workspace.runs / "chain").mkdir(parents=True, exist_ok=True)
(chain.workspace.runs / "chain" / "products.parquet").write_bytes(chain.workspace.catalog.read_bytes())
scratch, over = [0], threading.Event()

def size(path):
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0

def watch():
    while not over.wait(0.02):
        scratch[0] = max(scratch[0], sum(size(path) for path in chain.workspace.temporary.rglob("*")))

watcher = threading.Thread(target=watch)
watcher.start()
with MemoryPeak() as peak:
    outcome = chain.run_task(stage("l3b"), task, config)
over.set()
watcher.join()
print(json.dumps({"peak": peak.peak_bytes, "base": peak.base_bytes, "asked": task.resources.mem_bytes,
                  "scratch": scratch[0], "promised": task.resources.scratch_bytes, "bytes_out": task.bytes_out,
                  "written": sum(chain.path(p).stat().st_size for p in outcome.outputs)}))
"""


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tile of 31 km with five layers in tiles of 512 pixels."""
    root = tmp_path_factory.mktemp("tile")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    smooth = (np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 4000 + 1).astype(np.uint16)
    layers = np.stack([smooth, smooth + 7, smooth.T, smooth[::-1], rng.integers(1, 3, smooth.shape, np.uint16)])
    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    write_tif(root / "images" / "S2_20180601T100000Z.tif", layers, GRID, **options)
    west, south, _, _ = GRID.bounds
    field = shapely.box(west + 100, south + 100, west + 600, south + 700)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[field], crs=GRID.crs).to_parquet(root / "parcels.parquet")
    source = {
        "kind": "geotiff",
        "root": str(root / "images"),
        "pattern": "S2_{datetime}.tif",
        "tile": "T",
        "bands": {"B02": 1, "B03": 2, "B04": 3, "B08": 4},
        "mask_band": 5,
        "mask_classes": {"1": "valid", "2": "cloud"},
    }
    own = {"id": "T", "crs": GRID.crs, "ulx": GRID.ulx, "uly": GRID.uly, "width_m": 10 * SIZE, "height_m": 10 * SIZE}
    config = {
        "site": {"name": "c", "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "sources": [source],
        "grid": {"tiles": [own]},
        "parcels": {"file": str(root / "parcels.parquet"), "id_columns": ["id"]},
        "rasters": {"variables": ["ndvi", "evi"]},
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
def test_measured_memory_scratch_and_bytes_stay_within_what_was_asked(tile: Path) -> None:
    figures = json.loads(_run(tile, "l3b"))
    assert figures["base"] < figures["peak"] <= figures["asked"]
    assert figures["peak"] < 400 << 20, "far less than the bands and rasters of the tile in memory"
    assert 0 < figures["scratch"] <= figures["promised"]
    assert figures["written"] <= figures["bytes_out"] <= 12 * figures["written"]
