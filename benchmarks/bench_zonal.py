"""``s4c zonal`` beside exactextract, GDAL's fractional zonal statistics and bare decoding, on generated tiles.

``python -m benchmarks.bench_zonal [--runs N] [--dates N] [--peer-dates]`` prints JSON. Work: count, mean, standard
deviation, minimum, maximum, median (GDAL: no median) of uint16 DEFLATE, coverage weighted, GPKG in, table out, whole
processes. Runs of the peers alternate with ours, so that a neighbour's load meets all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely

from benchmarks.generate import SIZES, prepare
from benchmarks.measure import Cost, cost_of, median_cost

HERE = Path(__file__).parent
STATISTICS = ("count", "mean", "stdev", "min", "max", "median")


def ours(rasters: Sequence[Path], home: Path, out: str, *more: str) -> list[str]:
    """Our command."""
    files = [*map(str, rasters), str(home / "parcels.gpkg")]
    return [sys.executable, "-m", "s4c_hpc.cli", "zonal", *files, "-o", str(home / out), "--id", "parcel_id", *more]


def peer(script: str, *words: str | Path) -> list[str]:
    """A script beside this file."""
    return [sys.executable, str(HERE / script), *map(str, words)]


def alternating(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, Cost]:
    """Median cost of each command; they take turns."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            costs[name].append(cost_of(command))
    return {name: median_cost(found) for name, found in costs.items()}


def told(costs: Mapping[str, Cost], beside: str) -> dict[str, Any]:
    """Figures of all commands, and the CPU of one relative to each of the others."""
    figures = {
        name: {"cpu_s": round(c.cpu_s, 2), "wall_s": round(c.wall_s, 2), "peak_mib": round(c.peak_bytes / 2**20)}
        for name, c in costs.items()
    }
    others = {name: round(costs[beside].cpu_s / c.cpu_s, 3) for name, c in costs.items() if name != beside}
    return {"commands": figures, f"cpu_of_{beside}_over": others}


def library() -> Path | None:
    """GDAL 3.12 or newer inside pyogrio's wheel."""
    if pyogrio.__gdal_version__ < (3, 12, 0):
        return None
    folder = Path(pyogrio.__file__).parent.with_name("pyogrio.libs")
    return next(iter(sorted(folder.glob("libgdal*.so*"))), None)


def one_date(folder: Path, size: str, runs: int) -> dict[str, Any]:
    """One raster, nothing cached."""
    home = prepare(folder, size)
    raster, parcels = home / "B08_0.tif", home / "parcels.gpkg"
    commands = {
        "ours": ours([raster], home, "zonal.arrow"),
        "exactextract": peer("peer_exactextract.py", raster, parcels, home / "peer.parquet"),
    }
    gdal = library()
    if gdal is not None:
        commands["gdal_fractional"] = peer("peer_gdal_zonal.py", gdal, raster, parcels, home / "gdal.csv")
    found = told(alternating(commands, runs), "ours")
    return {
        "parcels": SIZES[size].parcels,
        **found,
        **({} if gdal else {"gdal_fractional": "not run: pyogrio's GDAL is older than 3.12"}),
        "largest_relative_difference": compare(home),
    }


def compare(home: Path) -> dict[str, float]:
    """Largest relative difference from exactextract by statistic, over valid polygons (it does not repair the others).

    The median is truncated first, as it truncates.
    """
    _, _, wkb, (number,) = pyogrio.raw.read(home / "parcels.gpkg", columns=["parcel_id"])
    valid = shapely.is_valid(shapely.from_wkb(wkb))[np.argsort(number)]
    mine = pa.ipc.open_file(str(home / "zonal.arrow")).read_all().sort_by("parcel_id")
    other = pq.read_table(home / "peer.parquet").sort_by("parcel_id")
    found = {}
    for name in STATISTICS:
        a, b = mine[f"B08_0_{name}"].to_numpy(), other[name].to_numpy().astype(float)
        a = np.floor(a + 1e-6) if name == "median" else a
        both = np.isfinite(a) & np.isfinite(b) & valid
        found[name] = float(np.max(np.abs(a - b)[both] / np.maximum(np.abs(b[both]), 1e-3), initial=0.0))
    return found


def many_dates(folder: Path, size: str, dates: int, runs: int, *, with_peer: bool) -> dict[str, Any]:
    """Several rasters in one call, the pixels of the parcels from an index."""
    home = prepare(folder, size, dates)
    rasters = [home / f"B08_{i}.tif" for i in range(dates)]
    index = home / "zonal_index.arrow"
    index.unlink(missing_ok=True)
    cost_of(ours(rasters[:1], home, "first.arrow", "--index", str(index)))
    commands = {
        "ours": ours(rasters, home, "dates.arrow", "--index", str(index)),
        "decode": peer("peer_decode.py", *rasters),
    }
    costs = alternating(commands, runs)
    if with_peer:
        command = peer(
            "peer_exactextract.py", ",".join(map(str, rasters)), home / "parcels.gpkg", home / "peer10.parquet"
        )
        costs["exactextract, one run"] = cost_of(command)
    return {
        "parcels": SIZES[size].parcels,
        "dates": dates,
        "index_mib": index.stat().st_size >> 20,
        **told(costs, "ours"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.bench_zonal", description="Measure s4c zonal; prints JSON.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dates", type=int, default=10)
    parser.add_argument("--sizes", nargs="*", choices=["S", "M", "L"], default=["S", "L"])
    parser.add_argument("--peer-dates", action="store_true", help="exactextract on all dates too: minutes and 14 GiB")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"), help="where generated data is kept")  # noqa: S108
    options = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()}
    for size in options.sizes:
        found[f"{size}, one date, cold"] = one_date(options.folder, size, options.runs)
        print(json.dumps(found), file=sys.stderr)
    if options.dates:
        found[f"{options.sizes[-1]}, dates"] = many_dates(
            options.folder, options.sizes[-1], options.dates, options.runs, with_peer=options.peer_dates
        )
    found["load_at_end"] = os.getloadavg()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
