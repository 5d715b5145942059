"""``python -m benchmarks.bench_parcels [N ...]``: import and check of N generated parcels, index build; prints JSON.

Import is ``s4c parcels import`` into a new workspace, check is ``s4c parcels check`` with and without counting pixels,
each as a whole process. Memory is the largest resident set and, of it, what is not pages of files (which the kernel
takes back when it needs them). The index is built in this process from 200 000 parcels of one tile, its kernels
compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import shapely

from benchmarks.bench_parcels_data import CRS, SOUTH, WEST, batches, declaration

TARGETS = {1_000_000: {"cpu_s": 60, "peak_gib": 3}, 10_000_000: {"peak_gib": 8}}
_SITE = """
[site]
name = "bench"
season_start = 2024-01-01
season_end = 2024-12-31
[parcels]
id_columns = ["parcel_id"]
crop_column = "crop"
"""


def measure(folder: Path, sizes: list[int], suffix: str) -> dict[str, Any]:
    """Every figure; generated files are kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in sizes:
        file = declaration(folder / f"declaration-{n}.{suffix}", n)
        row: dict[str, Any] = {"parcels": n, "file": file.name, "target": TARGETS.get(n), "load": os.getloadavg()}
        row["import"] = _import(folder, file)
        columns = ["--id-column", "parcel_id", "--crop-column", "crop"]
        row["check"] = _cost(["parcels", "check", str(file), "--no-pixels", *columns], allowed=(0, 5))
        row["check with pixels"] = _cost(["parcels", "check", str(file), *columns], allowed=(0, 5))
        rows.append(row)
    return {"declarations": rows, "index": index_build()}


def index_build(n_runs: int = 3) -> dict[str, Any]:
    """CPU seconds of the index of 200 000 parcels on the 10 m grid, by weighting; the best of some runs."""
    from s4c_hpc.config.model import Weighting  # noqa: PLC0415 - loaded when the other figures are taken
    from s4c_hpc.core.grid import Tile  # noqa: PLC0415
    from s4c_hpc.extract.farmland import farmland_mask  # noqa: PLC0415
    from s4c_hpc.extract.index import index_batches  # noqa: PLC0415
    from s4c_hpc.parcels import BLOCK  # noqa: PLC0415

    wkb = np.concatenate([b.column("geometry").to_numpy(zero_copy_only=False) for b in batches(200_000)])
    geometry = shapely.from_wkb(wkb)
    tile = Tile(id="bench", crs=CRS, ulx=WEST - 1000, uly=SOUTH + 108_800, width_m=109_800.0, height_m=109_800.0)
    cells = farmland_mask(geometry, tile, 40.0).cells(tile.grid(10.0))
    new_id = np.arange(1, len(geometry) + 1, dtype=np.int32)
    block = (np.arange(len(geometry)) // BLOCK).astype(np.int32)
    found: dict[str, Any] = {"parcels": len(geometry), "target_cpu_s": 1.5}
    for weighting, buffer_m in ((Weighting.COVERAGE, 0.0), (Weighting.CENTRE, 0.0), (Weighting.CENTRE, 5.0)):
        times = []
        for _ in range(n_runs):
            started = time.process_time()
            for _batch in index_batches(new_id, block, geometry, cells, weighting, buffer_m):
                pass
            times.append(time.process_time() - started)
        found[f"{weighting.value}, buffer {buffer_m:g} m"] = {"cpu_s": round(min(times), 2)}
    return found


def _import(folder: Path, file: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        workspace = Path(made) / "site"
        subprocess.run([sys.executable, "-m", "s4c_hpc.cli", "init", str(workspace)], check=True, capture_output=True)
        (workspace / "s4c.toml").write_text(_SITE)
        cost = _cost(["parcels", "import", str(file), "-w", str(workspace)], allowed=(0,))
        version = workspace / "parcels" / "v0001"
        counts = json.loads((version / "report.json").read_text())["counts"]
        size = sum(path.stat().st_size for path in version.iterdir())
        shutil.rmtree(workspace)
        return cost | {"bytes": size, "counts": {name: n for name, n in counts.items() if n}}


def _cost(arguments: list[str], allowed: tuple[int, ...]) -> dict[str, Any]:
    """CPU and wall seconds of a command, and the peaks of its memory."""
    started = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "s4c_hpc.cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    resident = anonymous = 0
    cpu_s = 0.0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            cpu_s = sum(process.cpu_times()[:2])
        except (OSError, psutil.Error):
            break
        fields = dict(line.split(":", 1) for line in status.splitlines())
        if "VmRSS" in fields:
            resident = max(resident, int(fields["VmRSS"].split()[0]))
            anonymous = max(anonymous, int(fields["RssAnon"].split()[0]))
        time.sleep(0.02)
    _, errors = process.communicate()
    if process.returncode not in allowed:
        raise RuntimeError(f"{' '.join(arguments)} left with {process.returncode}: {errors.decode()[-2000:]}")
    return {
        "cpu_s": round(cpu_s, 1),
        "wall_s": round(time.perf_counter() - started, 1),
        "peak_gib": round(resident / 2**20, 2),
        "peak_without_files_gib": round(anonymous / 2**20, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.bench_parcels", description="Measure; prints JSON.")
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--suffix", choices=["gpkg", "parquet"], default="gpkg")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"), help="where generated data is kept")  # noqa: S108 - a default, shown in --help
    options = parser.parse_args()
    print(json.dumps(measure(options.folder, options.sizes, options.suffix), indent=2))
