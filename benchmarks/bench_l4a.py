"""Features of a season: the kernel beside its peers, the whole step beside the kernel, two ranks beside one.

usage: python -m benchmarks.bench_l4a [--folder DIR] [--runs N] [--pairs N] [--peers PYTHON]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.l4a_season import prepare
from s4c_hpc.features.moments import Members, moments
from s4c_hpc.features.temporal import bridge, composite, count_observations

DATES, BANDS, WEEKS = 70, 10, 52
PARCEL_PIXELS, PARCELS = 128, 1280
AT_A_TIME = 1 << 14

SEASONS = ((5490, 12), (2744, 60))
"""Side in pixels and dates, as in the figures of the reference."""

LONG = (5490, 60)
"""For ranks: 4 million pixels of parcels, 60 dates."""

REFERENCE_CPU_S = {(5490, 12): 129.6, (2744, 60): 188.5}
"""Sen4CAP's OpticalFeatures on a season of the same size, measured on another day (it decodes imagery, too)."""


def observations(n: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.int64]]:
    """(n_dates, n_bands, n) values, (n_dates, n) 1 where there is no cloud, (n_dates,) week; half is cloudy."""
    rng = np.random.default_rng(3)
    days = np.sort(rng.choice(7 * WEEKS, DATES, replace=False))
    base = rng.integers(500, 4000, (BANDS, n), dtype=np.uint16)
    x = np.empty((DATES, BANDS, n), np.uint16)
    for t in range(DATES):
        x[t] = base + np.uint16(1000 + 800 * np.sin(days[t] / 58.0)) + rng.integers(0, 60, (1, n), dtype=np.uint16)
    clear = rng.random((DATES, n // 16)) < 0.5
    return x, np.repeat(clear, 16, axis=1).astype(np.uint8), (days // 7).astype(np.int64)


Piece = tuple[list[NDArray[np.uint16]], NDArray[np.uint8]]
"""(n_dates, AT_A_TIME) values of each band, and where they are valid: as they are taken out of stacks."""


def pieces_of(x: NDArray[np.uint16], valid: NDArray[np.uint8]) -> list[Piece]:
    """Observations as the stage has them; peers get them in one array, as they like it."""
    parts = [slice(start, start + AT_A_TIME) for start in range(0, x.shape[2], AT_A_TIME)]
    return [
        ([np.ascontiguousarray(x[:, band, part]) for band in range(BANDS)], np.ascontiguousarray(valid[:, part]))
        for part in parts
    ]


def kernel(pieces: list[Piece], week: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n_bands, n_weeks, 2, n_parcels): weekly means, gaps filled, mean and standard deviation of parcels."""
    whole = np.arange(0, AT_A_TIME + 1, PARCEL_PIXELS, dtype=np.int64)
    members: Members = whole, np.zeros(whole.size, np.int64), np.empty(0)
    one, none = np.ones(DATES, np.float32), np.zeros(DATES, np.float32)
    counts, share = np.empty((WEEKS, AT_A_TIME), np.uint8), np.empty((WEEKS, AT_A_TIME), np.float32)
    filled, part = np.empty_like(share), np.empty((WEEKS, 2, whole.size - 1), np.float32)
    found = np.empty((BANDS, WEEKS, 2, len(pieces) * (whole.size - 1)), np.float32)
    for number, (bands, valid) in enumerate(pieces):
        at = slice(number * (whole.size - 1), (number + 1) * (whole.size - 1))
        count_observations(valid, week, counts)
        bridge(counts, WEEKS, share)
        for band, stored in enumerate(bands):
            composite(stored, valid, one, none, week, counts, share, filled)
            moments(filled, members, _POPULATION, part)
            found[band, :, :, at] = part
    return found


_POPULATION = False


def measure_kernel(runs: int, peers: str | None) -> dict[str, Any]:
    """Million pixel-dates a CPU second, and what peers take for the same."""
    n = PARCEL_PIXELS * PARCELS
    x, valid, week = observations(n)
    pieces = pieces_of(x, valid)
    ours = kernel(pieces, week)
    seconds = []
    for _ in range(runs):
        began = time.process_time()
        kernel(pieces, week)
        seconds.append(time.process_time() - began)
    cpu_s = statistics.median(seconds)
    found: dict[str, Any] = {
        "pixel_dates": x.size,
        "cpu_s": round(cpu_s, 3),
        "million_pixel_dates_per_cpu_s": round(x.size / cpu_s / 1e6, 1),
    }
    if peers is None:
        return found
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, x=x, valid=valid.astype(bool), week=week, n_weeks=WEEKS, size=PARCEL_PIXELS)
        for name in ("bottleneck", "xarray", "eo-learn"):
            script = str(Path(__file__).with_name("peer_l4a.py"))
            times = []
            for _ in range(min(runs, 3)):
                done = subprocess.run(
                    [peers, script, name, str(source), str(target)], capture_output=True, text=True, check=True
                )
                times.append(json.loads(done.stdout.splitlines()[-1])["cpu_s"])
            theirs = np.load(target)
            mean = ours[:, :, 0].transpose(1, 0, 2)
            found[name] = {
                "cpu_s": round(statistics.median(times), 2),
                "times_ours": round(statistics.median(times) / cpu_s, 1),
                "largest_relative_difference": float(np.max(np.abs(theirs["mean"] / mean - 1))),
            }
    return found


def step_costs(folder: Path, side: int, n_dates: int, ranks: int) -> list[dict[str, float]]:
    """What each rank of a step says."""
    command = [sys.executable, "-m", "benchmarks.l4a_season", str(folder), str(side), str(n_dates)]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command.append(str(Path(out) / "features.arrow"))
        if ranks > 1:
            command = [str(Path(sys.executable).with_name("mpiexec.gforker")), "-n", str(ranks), *command]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def measure_step(folder: Path, runs: int) -> dict[str, Any]:
    """CPU seconds of the whole step, and what is not reading."""
    found = {}
    for side, n_dates in SEASONS:
        prepare(folder, side, n_dates)
        rows = [step_costs(folder, side, n_dates, 1)[0] for _ in range(runs)]
        cpu_s = statistics.median(row["cpu_s"] for row in rows)
        kernel_s = statistics.median(row["cpu_s"] - row["reading_cpu_s"] for row in rows)
        megapixels = side**2 / 1e6
        found[f"{side} x {side}, {n_dates} dates"] = {
            "parcel_pixels": rows[0]["parcel_pixels"],
            "cpu_s": round(cpu_s, 2),
            "kernel_cpu_s": round(kernel_s, 2),
            "step / kernel": round(cpu_s / kernel_s, 2),
            "cpu_s_per_megapixel_and_date": round(cpu_s / megapixels / n_dates, 4),
            "reference / ours": round(REFERENCE_CPU_S[side, n_dates] / cpu_s, 1),
        }
    return found


def measure_ranks(folder: Path, pairs: int) -> dict[str, Any]:
    """One rank and two, in turn, on a season that takes one some seconds."""
    side, n_dates = LONG
    prepare(folder, side, n_dates)
    efficiency, growth = [], []
    for _ in range(pairs):
        (alone,) = step_costs(folder, side, n_dates, 1)
        both = step_costs(folder, side, n_dates, 2)
        efficiency.append(alone["wall_s"] / (2 * max(row["wall_s"] for row in both)))
        growth.append(sum(row["cpu_s"] for row in both) / alone["cpu_s"] - 1)
    return {
        "pairs": pairs,
        "load": os.getloadavg(),
        "median_efficiency": round(statistics.median(efficiency), 3),
        "efficiencies": [round(one, 3) for one in sorted(efficiency)],
        "median_cpu_growth": round(statistics.median(growth), 3),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="bench_l4a", description="Features of a season; prints JSON.")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"))  # noqa: S108 - as the other benches
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--peers", help="a Python that has eo-learn, xarray, bottleneck and dask")
    options = parser.parse_args()
    found = {
        "kernel": measure_kernel(options.runs, options.peers),
        "step": measure_step(options.folder, options.runs),
        "ranks": measure_ranks(options.folder, options.pairs),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
