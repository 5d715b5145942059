"""A further index over 20 finished dates, beside its extraction from imagery.

Ours: a season of 20 dates is done with one band as variable; then NDVI is asked for, and ``s4c run`` makes it from the
stacks. Beside it stands the least that an extraction from imagery can cost: the bare decoding of the two bands that
NDVI needs, from DEFLATE or from JPEG2000, and the very same statistics. All dates are one raster under 20 names.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rasterio

from benchmarks.bench_gather import QUARTER, S4C, SIDE_M, decode_s
from benchmarks.bench_gather import prepare as prepare_safe
from benchmarks.generate import CRS, ULX, ULY, band, write_raster
from benchmarks.measure import cost_of

DATES = 20
NAMES = ("B04", "B08")


def config(home: Path, variables: str) -> str:
    """Configuration of a workspace on the generated season; ``variables`` are lines of that section."""
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
bands = {{ B04 = 1, B08 = 2 }}
[parcels]
file = "{home}/parcels.gpkg"
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
[variables]
{variables}
statistics = ["count", "mean", "stdev", "min", "max", "median"]
[execute]
workers = 1
"""


def prepare(folder: Path) -> tuple[Path, list[str]]:
    """The season and the JPEG2000 files of the same bands, made once."""
    safe = prepare_safe(folder)
    images = [str(next((safe / "archive").rglob(f"*_{name}_10m.jp2"))) for name in NAMES]
    home = folder / "season"
    if not (home / "parcels.gpkg").exists():
        shutil.rmtree(home, ignore_errors=True)
        (home / "season").mkdir(parents=True)
        first = home / "season" / "S2_20200501.tif"
        write_raster(first, np.stack([band(QUARTER, seed) for seed in range(len(NAMES))]))
        for day in range(2, DATES + 1):
            (home / "season" / f"S2_202005{day:02d}.tif").hardlink_to(first)
        (home / "parcels.gpkg").hardlink_to(safe / "parcels.gpkg")
    return home, images


def measure(folder: Path, runs: int = 3) -> dict[str, Any]:
    """CPU seconds for all dates, and ratios; ``alone`` makes NDVI, ``added`` the band's statistics anew as well."""
    home, images = prepare(folder)
    workspace = home / "workspace"
    here = ["--workspace", str(workspace)]
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    rows: list[dict[str, float]] = []
    with rasterio.open(home / "season" / "S2_20200501.tif") as raster:
        assert raster.count == len(NAMES)
    first = 'bands = ["B04"]\nindices = []'
    (workspace / "s4c.toml").write_text(config(home, first))
    for command in (["catalog", "scan"], ["parcels", "import"], ["run", "--stage", "stats"]):
        cost_of([*S4C, *command, *here])
    full = {name: _stage_s(workspace, name) for name in ("mask", "index", "gather", "stats")}
    for run in range(runs):
        # A formula that no run before has asked for: a text of its own, the same work.
        ndvi = f'formulas = {{ ndvi = "(B08 - B04) / (B08 + B04) * {run + 1}" }}'
        row = {
            "deflate": DATES * decode_s([str(home / "season" / "S2_20200501.tif")]),
            "jpeg2000": DATES * decode_s(images),
        }
        for name, bands in (("alone", ""), ("added", '"B04"')):
            known = set(_attempts(workspace))
            (workspace / "s4c.toml").write_text(config(home, f"bands = [{bands}]\nindices = []\n{ndvi}"))
            row[f"{name}_process"] = cost_of([*S4C, "run", "--stage", "stats", *here]).cpu_s
            new = [done for key, done in _attempts(workspace).items() if key not in known]
            assert len(new) == DATES
            assert {done["stage"] for done in new} == {"stats"}
            row[name] = sum(done["cpu_s"] for done in new)
            assert sum(done["rasters_opened"] or 0 for done in new) == 0
            for kind in ("deflate", "jpeg2000"):
                # Of an extraction by the same kernels; and over bare decoding, which slower kernels cannot flatter.
                row[f"{name} / ({kind} + {name})"] = row[name] / (row[kind] + row[name])
                row[f"{name} / {kind}"] = row[name] / row[kind]
        rows.append(row)
    return {
        "parcels": QUARTER.parcels,
        "pixels": QUARTER.pixels,
        "dates": DATES,
        "runs": runs,
        "load": os.getloadavg(),
        "first_run_stage_cpu_s": full,
        **{name: round(statistics.median(row[name] for row in rows), 4) for name in rows[0]},
    }


def _attempts(workspace: Path) -> dict[str, dict[str, Any]]:
    """Attempts that succeeded, by task."""
    return {row["id"]: row for row in pq.read_table(workspace / "state" / "history.parquet").to_pylist()}


def _stage_s(workspace: Path, stage: str) -> float:
    return round(sum(float(row["cpu_s"]) for row in _attempts(workspace).values() if row["stage"] == stage), 2)


if __name__ == "__main__":
    print(json.dumps(measure(Path("/tmp/s4c-bench")), indent=2))  # noqa: S108 - where the other benches keep theirs
