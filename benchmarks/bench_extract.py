"""Extraction of one generated tile beside exactextract, the same work in the same run.

Work: count, mean, standard deviation, minimum, maximum and median of one uint16 band for every parcel, coverage
weighted. Ours is ``s4c run`` with one worker on a workspace whose products are scanned and whose parcels are imported:
it makes the mask, the index, the stack and the series, each synced to disk and journalled, and starts dask. Import,
which also finds overlaps and duplicates, has no counterpart in the peer and is given apart.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.generate import CRS, RES_M, SIZES, ULX, ULY, prepare
from benchmarks.measure import Cost, cost_of, median_cost

S4C = [sys.executable, "-m", "s4c_hpc.cli"]
STATISTICS = ["count", "mean", "stdev", "min", "max", "median"]


def config(home: Path, size: str) -> str:
    """Configuration of a workspace on a generated tile."""
    extent = SIZES[size].pixels * RES_M
    return f"""
[site]
name = "bench"
season_start = 2020-01-01
season_end = 2020-12-31
[[sources]]
kind = "geotiff"
root = "{home}"
pattern = "B08_{{datetime}}.tif"
datetime_format = "%Y%m%d"
tile = "BENCH"
bands = {{ B08 = 1 }}
[parcels]
file = "{home}/parcels.gpkg"
id_columns = ["parcel_id"]
[[grid.tiles]]
id = "BENCH"
crs = "{CRS}"
ulx = {ULX}
uly = {ULY}
width_m = {extent}
height_m = {extent}
[extract]
weighting = "coverage"
buffer_m = {{ 10m = 0 }}
[variables]
bands = ["B08"]
indices = []
statistics = {STATISTICS}
[execute]
workers = 1
"""


def measure(folder: Path, size: str = "M", runs: int = 3) -> dict[str, Any]:
    """Costs of both, the ratio of their CPU seconds, and whether they agree."""
    home = prepare(folder, size)
    raster = home / "B08_0.tif"
    dated = home / "B08_20200501.tif"
    if not dated.exists():
        dated.hardlink_to(raster)
    workspace, peer_out = home / "workspace", home / "peer.parquet"
    costs: dict[str, list[Cost]] = {"import": [], "ours": [], "peer": []}
    for _ in range(runs):
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
        (workspace / "s4c.toml").write_text(config(home, size))
        here = ["--workspace", str(workspace)]
        cost_of([*S4C, "catalog", "scan", *here])
        costs["import"].append(cost_of([*S4C, "parcels", "import", *here]))
        costs["ours"].append(cost_of([*S4C, "run", "--stage", "stats", *here]))
        peer = [sys.executable, str(Path(__file__).with_name("peer_exactextract.py"))]
        costs["peer"].append(cost_of([*peer, str(raster), str(home / "parcels.gpkg"), str(peer_out)]))
    median = {name: median_cost(values) for name, values in costs.items()}
    stages = pq.read_table(workspace / "state" / "history.parquet").to_pylist()
    return {
        "size": size,
        "parcels": SIZES[size].parcels,
        "runs": runs,
        **{f"{name}_cpu_s": round(cost.cpu_s, 2) for name, cost in median.items()},
        **{f"{name}_wall_s": round(cost.wall_s, 2) for name, cost in median.items()},
        **{f"{name}_peak_mib": round(cost.peak_bytes / 2**20) for name, cost in median.items()},
        "stage_cpu_s": {s["stage"]: round(s["cpu_s"], 2) for s in stages},
        "cpu_ratio": round(median["ours"].cpu_s / median["peer"].cpu_s, 3),
        "largest_relative_difference": compare(workspace, peer_out),
    }


def compare(workspace: Path, peer_out: Path) -> dict[str, float]:
    """Largest relative difference by statistic over all parcels; the peer truncates the median of integer rasters."""
    peer = pq.read_table(peer_out).sort_by("parcel_id")
    parcels = pq.read_table(workspace / "parcels" / "v0001" / "parcels.parquet", columns=["NewID", "ori_id"])
    series = pa.ipc.open_file(str(next(workspace.rglob("series/s2/10m/*.arrow")))).read_all()
    number = dict(zip(parcels["NewID"].to_pylist(), map(int, parcels["ori_id"].to_pylist()), strict=True))
    order = np.argsort([number[n] for n in series["NewID"].to_pylist()])
    found: dict[str, float] = {}
    for name in STATISTICS:
        ours = series[f"b08_{name}"].to_numpy()[order].astype(float)
        theirs = peer[name].to_numpy().astype(float) * (1.0 if name == "count" else 1e-4)
        if name == "median":
            ours = _as_truncated(ours * 1e4, theirs * 1e4) * 1e-4
        both = np.isfinite(ours)
        assert np.array_equal(both, np.isfinite(theirs)), f"{name} is missing for different parcels"
        found[name] = float(np.max(np.abs(ours - theirs)[both] / np.maximum(np.abs(theirs[both]), 1e-4), initial=0.0))
    return found


def _as_truncated(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Ours as the peer prints quantiles of integer rasters; single precision leaves 1e-3 DN open on either side."""
    low, high = np.floor(ours - 1e-3), np.floor(ours + 1e-3)
    return np.where(np.abs(low - theirs) < 0.5, low, high)
