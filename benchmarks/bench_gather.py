"""``gather`` and ``stats`` of a Sentinel-2 L2A SAFE beside the bare decoding of the same files.

The product is a quarter of a tile: real metadata, twelve generated bands and the scene classification as lossless
JPEG2000 in blocks of 1024 pixels. Ours makes stacks of all of them and the default variables of 50 000 parcels.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.generate import CRS, ULX, ULY, Size, band, parcels
from benchmarks.measure import cost_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.safe import NATIVE_M, build_safe, image_path  # noqa: E402 - found on the path just given

S4C = [sys.executable, "-m", "s4c_hpc.cli"]
QUARTER = Size(5490, 50_000)
SIDE_M = 54_900
SENSED = dt.datetime(2020, 5, 1, 10, tzinfo=dt.UTC)


def config(home: Path) -> str:
    """Configuration of a workspace on the generated product: default variables, coverage weighting."""
    return f"""
[site]
name = "bench"
season_start = 2020-01-01
season_end = 2020-12-31
[[sources]]
kind = "sentinel2-l2a"
root = "{home}/archive"
[parcels]
file = "{home}/parcels.gpkg"
id_columns = ["parcel_id"]
[[grid.tiles]]
id = "32UPU"
crs = "{CRS}"
ulx = {ULX}
uly = {ULY}
width_m = {SIDE_M}
height_m = {SIDE_M}
[extract]
weighting = "coverage"
buffer_m = {{ 10m = 0, 20m = 0 }}
[execute]
workers = 1
"""


def prepare(folder: Path) -> Path:
    """Product and parcels, made once; returns their folder."""
    home = folder / "safe"
    if not (home / "parcels.gpkg").exists():
        shutil.rmtree(home, ignore_errors=True)
        dn = {
            name: band(Size(SIDE_M // res_m, 0), seed) + np.uint16(1000)
            for seed, (name, res_m) in enumerate(NATIVE_M.items())
        }
        side = SIDE_M // 20
        classes = np.random.default_rng(7).choice(np.array([4, 5, 6, 9], np.uint8), (side // 40 + 1, side // 40 + 1))
        scl = np.kron(classes, np.ones((40, 40), np.uint8))[:side, :side]
        epsg = int(CRS.partition(":")[2])
        build_safe(
            home / "archive", sensing=SENSED, dn=dn, scl=scl, tile="32UPU", epsg=epsg, ulx=ULX, uly=ULY, size_m=SIDE_M
        )
        parcels(QUARTER).to_file(home / "parcels.gpkg")
    return home


def images(home: Path) -> list[str]:
    """Files that ``gather`` decodes."""
    (safe,) = (home / "archive").glob("*.SAFE")
    return [str(image_path(safe, name)) for name in (*NATIVE_M, "SCL")]


def decode_s(files: list[str]) -> float:
    """CPU seconds of decoding files, in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("peer_decode.py")), *files]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def stage_s(workspace: Path, stage: str) -> tuple[float, int]:
    """CPU seconds and raster openings of all tasks of a stage that this workspace has done."""
    rows = [row for row in pq.read_table(workspace / "state" / "history.parquet").to_pylist() if row["stage"] == stage]
    return sum(row["cpu_s"] for row in rows), len(rows)


def measure(folder: Path, runs: int = 3) -> dict[str, Any]:
    """CPU seconds of both, and ratios pair by pair."""
    home = prepare(folder)
    workspace = home / "workspace"
    pairs = []
    for _ in range(runs):
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
        (workspace / "s4c.toml").write_text(config(home))
        here = ["--workspace", str(workspace)]
        for command in (["catalog", "scan"], ["parcels", "import"], ["run", "--stage", "index"]):
            cost_of([*S4C, *command, *here])
        decode = decode_s(images(home))
        whole = cost_of([*S4C, "run", "--stage", "stats", *here])
        gather, stats = stage_s(workspace, "gather")[0], stage_s(workspace, "stats")[0]
        pairs.append({"decode": decode, "gather": gather, "stats": stats, "process": whole.cpu_s})
        pairs[-1] |= {"ratio": (gather + stats) / decode, "process_ratio": whole.cpu_s / decode}
    return {
        "parcels": QUARTER.parcels,
        "pixels": QUARTER.pixels,
        "runs": runs,
        "load": os.getloadavg(),
        **{name: round(statistics.median(pair[name] for pair in pairs), 3) for name in pairs[0]},
        "ratios": [round(pair["ratio"], 3) for pair in pairs],
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path("/tmp/s4c-bench")), indent=2))  # noqa: S108 - where the other benches keep theirs
