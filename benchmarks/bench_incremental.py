"""An update of the parcels over 20 finished dates, beside the run that made them.

Of 50 000 parcels one per cent get another outline (moved by a few metres, so that the farmland mask holds them still).
Both figures are CPU seconds of the whole process tree of ``s4c run``: its plan, its tasks and its start, of modules
that are compiled as those of an installed package are. The import of the declaration, which reads and checks all of it
either way, is told apart. All dates are one raster of 20 names.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
from shapely import affinity

from benchmarks.bench_gather import QUARTER, ROOT, S4C, SIDE_M
from benchmarks.generate import CRS, ULX, ULY, band, parcels, write_raster
from benchmarks.measure import cost_of

DATES = 20
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
SHARE = 0.01


def config(home: Path, declaration: str) -> str:
    """Configuration of a workspace on the generated season: default variables, coverage weighting."""
    numbers = ", ".join(f"{name} = {i}" for i, name in enumerate(BANDS, 1))
    return f"""
[site]
name = "bench"
season_start = 2020-01-01
season_end = 2020-12-31
[[sources]]
kind = "geotiff"
root = "{home}/season"
pattern = "S2_{{datetime}}.tif"
datetime_format = "%Y%m%d"
tile = "BENCH"
bands = {{ {numbers} }}
[parcels]
file = "{home}/{declaration}"
id_columns = ["parcel_id"]
[[grid.tiles]]
id = "BENCH"
crs = "{CRS}"
ulx = {ULX}
uly = {ULY}
width_m = {SIDE_M}
height_m = {SIDE_M}
[extract]
weighting = "coverage"
buffer_m = {{ 10m = 0 }}
[execute]
workers = 1
"""


def prepare(folder: Path) -> Path:
    """The season and both declarations, made once; returns their folder."""
    home = folder / "incremental"
    if not (home / "second.parquet").exists():
        shutil.rmtree(home, ignore_errors=True)
        (home / "season").mkdir(parents=True)
        first = home / "season" / "S2_20200501.tif"
        write_raster(first, np.stack([band(QUARTER, seed) for seed in range(len(BANDS))]))
        for day in range(2, DATES + 1):
            (home / "season" / f"S2_202005{day:02d}.tif").hardlink_to(first)
        declared = parcels(QUARTER)
        declared.to_parquet(home / "first.parquet")
        moved(declared).to_parquet(home / "second.parquet")
    return home


def moved(declared: gpd.GeoDataFrame, seed: int = 2) -> gpd.GeoDataFrame:
    """One parcel in a hundred, moved by up to 10 m each way."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(declared), int(SHARE * len(declared)), replace=False)
    outlines = declared.geometry.to_numpy().copy()
    for i in chosen:
        outlines[i] = affinity.translate(outlines[i], *rng.uniform(-10.0, 10.0, 2))
    return declared.set_geometry(gpd.GeoSeries(outlines, crs=declared.crs))


def measure(folder: Path) -> dict[str, Any]:
    """CPU seconds of both runs, by stage as well, and what they opened."""
    home = prepare(folder)
    compileall.compile_dir(ROOT / "s4c_hpc", quiet=1)
    workspace = home / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    here = ["--workspace", str(workspace)]
    found: dict[str, Any] = {"parcels": QUARTER.parcels, "changed": SHARE, "dates": DATES, "bands": len(BANDS)}
    for name in ("first", "second"):
        (workspace / "s4c.toml").write_text(config(home, f"{name}.parquet"))
        if name == "first":
            cost_of([*S4C, "catalog", "scan", *here])
        imported = cost_of([*S4C, "parcels", "import", *here])
        begun = time.time()
        whole = cost_of([*S4C, "run", *here])
        done = [
            row
            for row in pq.read_table(workspace / "state" / "history.parquet").to_pylist()
            if row["finished"].timestamp() >= begun
        ]
        found[name] = {
            "import_cpu_s": round(imported.cpu_s, 2),
            "run_cpu_s": round(whole.cpu_s, 2),
            "run_wall_s": round(whole.wall_s, 2),
            "peak_mib": whole.peak_bytes >> 20,
            "tasks": len(done),
            "rasters_opened": sum(row["rasters_opened"] or 0 for row in done),
            "stage_cpu_s": _by_stage(done),
        }
    found["ratio"] = round(found["second"]["run_cpu_s"] / found["first"]["run_cpu_s"], 4)
    tasks = [sum(found[name]["stage_cpu_s"].values()) for name in ("second", "first")]
    found["ratio_of_tasks"] = round(tasks[0] / tasks[1], 4)
    found["load"] = os.getloadavg()
    return found


def _by_stage(done: list[dict[str, Any]]) -> dict[str, float]:
    stages = dict.fromkeys(row["stage"] for row in done)
    return {name: round(sum(row["cpu_s"] for row in done if row["stage"] == name), 2) for name in stages}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"))  # noqa: S108 - with the other benches
    print(json.dumps(measure(parser.parse_args().folder), indent=2))
