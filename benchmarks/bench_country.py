"""A country-year on 50 nodes under different QoS settings, by simulation: makespan and utilisation.

Nothing is run. Durations are figures measured (or extrapolated, or assumed: ``SOURCES`` says which) for whole tiles.

``python -m benchmarks.bench_country [--figure FILE]`` prints JSON and draws.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from s4c_hpc.drawing.svg import Scale, drawing, element, join
from s4c_hpc.plan import Machine, NodeGroup, Queue, QueueLimits, Workload, simulate

GIB = 1 << 30
TILES, DATES, PAIRS, MONTHS = 150, 70, 236, 12
TILES_A_PAIR = 4
"""An S1 frame of 250 by 170 km holds about four tiles: a pair is processed once and gathered on each."""
NODES, CORES, NODE_BYTES = 50, 32, 192 * GIB
SPREAD = 0.3
"""Standard deviation of the log of durations; that of whole tiles of one country, assumed."""


@dataclass(frozen=True)
class StageCost:
    """A task of one stage on a whole tile."""

    seconds: float
    cpus: int = 1
    mem_bytes: int = GIB


COSTS = {
    "mask": StageCost(2.6),
    "index": StageCost(2.0),
    "gather-s1": StageCost(4.0),
    "gather": StageCost(86.0),
    "stats-s1": StageCost(2.5),
    "stats": StageCost(6.0),
    "merge": StageCost(10.0, mem_bytes=2 * GIB),
}
S1 = {
    "snap": StageCost(1800.0, cpus=8, mem_bytes=32 * GIB),
    "native": StageCost(150.0, cpus=4, mem_bytes=4 * GIB),
}
SOURCES = {
    "mask, index": "measured, README.md of this folder: 50 000 parcels on a tile of 10980 pixels",
    "gather": "JP2 at 15 s for a band of 10980 pixels, extrapolated from a measured 4096 (4 bands of 10 m, 7 of 20 m)",
    "stats": "measured 0.3 s for a band of 200 000 parcels; ten bands and ten indices",
    "gather-s1, stats-s1": "DEFLATE at 0.9 s for a band of 10980 pixels, measured; four layers of 20 m",
    "merge": "assumed",
    "snap": "32 GB advised by SNAP's FAQ, gpt -q 8 as in Sen4CAP; 30 min are ASSUMED (its step timeout is 60 min)",
    "native": "10 CPU min for a pair of 27 bursts, extrapolated from one measured burst; 4 GB is its target",
}


def country(s1: StageCost, seed: int = 0) -> Workload:
    """Tasks of all tiles: mask, index of three grids, images and statistics of S2 and S1, a marker file a month."""
    rng = np.random.default_rng(seed)
    costs = {"s1": s1, **COSTS}
    n_pairs = -(-TILES // TILES_A_PAIR) * PAIRS
    sizes = {
        "s1": n_pairs, "mask": TILES, "index": 3 * TILES, "gather-s1": TILES * PAIRS, "gather": TILES * DATES,
        "stats-s1": TILES * PAIRS, "stats": TILES * DATES, "merge": TILES * MONTHS,
    }  # fmt: skip
    offsets = dict(zip(sizes, np.cumsum([0, *sizes.values()][:-1]).tolist(), strict=True))

    def rows(name: str) -> npt.NDArray[np.int64]:
        return np.arange(offsets[name], offsets[name] + sizes[name], dtype=np.int64)

    def tile_of(name: str) -> npt.NDArray[np.int64]:
        return np.arange(sizes[name], dtype=np.int64) // (sizes[name] // TILES)

    edges = []
    for image, statistics, n in (("gather-s1", "stats-s1", PAIRS), ("gather", "stats", DATES)):
        tile = tile_of(image)
        edges += [(rows(image), offsets["mask"] + tile), (rows(statistics), rows(image))]
        edges += [(rows(statistics), offsets["index"] + 3 * tile + grid) for grid in range(3)]
        month = np.tile(np.arange(n) * MONTHS // n, TILES)
        edges.append((offsets["merge"] + tile * MONTHS + month, rows(statistics)))
    edges.append((rows("index"), offsets["mask"] + tile_of("index")))
    tile = tile_of("gather-s1")
    edges.append((rows("gather-s1"), offsets["s1"] + tile // TILES_A_PAIR * PAIRS + np.tile(np.arange(PAIRS), TILES)))
    waiting, needed = (np.concatenate(side).astype(np.int64) for side in zip(*edges, strict=True))
    order = np.argsort(waiting, kind="stable")
    stage = np.repeat(np.arange(len(sizes)), list(sizes.values())).astype(np.int32)
    n_tasks = len(stage)
    by_stage = [costs[name] for name in sizes]
    seconds = np.asarray([c.seconds for c in by_stage])[stage] * np.exp(SPREAD * rng.standard_normal(n_tasks))
    s1_tile = np.arange(n_pairs) // PAIRS * TILES_A_PAIR
    return Workload(
        stages=tuple(sizes),
        stage=stage,
        cpus=np.asarray([c.cpus for c in by_stage], dtype=np.int64)[stage],
        mem_bytes=np.asarray([c.mem_bytes for c in by_stage], dtype=np.int64)[stage],
        seconds=seconds,
        predicted_s=np.asarray([c.seconds for c in by_stage])[stage],
        waiting=waiting[order],
        needed=needed[order],
        tile=np.concatenate([s1_tile, *(tile_of(name) for name in list(sizes)[1:])]).astype(np.int32),
        common=np.full(n_tasks, 0.2),
        noise=np.full(n_tasks, SPREAD),
    )


def settings() -> dict[str, dict[str, Any]]:
    """Queues by name of the setting."""
    everything = NODES * NODE_BYTES

    def each(limits: QueueLimits) -> dict[str, tuple[Queue, ...]]:
        return {name: (Queue(name=name, limits=limits),) for name in ("s1", *COSTS)}

    def s1(share: float, max_submitted: int | None) -> dict[str, tuple[Queue, ...]]:
        limits = QueueLimits(grp_mem_bytes=int(share * everything), max_submitted=max_submitted)
        return {"s1": (Queue(name="s1", limits=limits),)}

    return {
        "one queue for all, GrpJobs=1": {"default_queues": (Queue(name="all", limits=QueueLimits(grp_jobs=1)),)},
        "a queue a stage, GrpJobs=1": {"queues": each(QueueLimits(grp_jobs=1))},
        "a queue a stage, GrpJobs=10": {"queues": each(QueueLimits(grp_jobs=10))},
        "a queue a stage, GrpJobs=50": {"queues": each(QueueLimits(grp_jobs=50))},
        "S1: 25 % of memory": {"queues": s1(0.25, 500)},
        "S1: 50 % of memory": {"queues": s1(0.50, 500)},
        "S1: 75 % of memory": {"queues": s1(0.75, 500)},
        "S1: 50 %, S1 may fill the window": {"queues": s1(0.50, None)},
        "no limits": {},
    }


def measure() -> dict[str, Any]:
    """Every setting with both ways to process S1."""
    base = Machine(
        nodes=(NodeGroup(count=NODES, cpus=CORES, mem_bytes=NODE_BYTES),),
        window=2000,
        chunk_s=300.0,
        min_chunk_s=30.0,
        start_overhead_s=5.0,
    )
    rows = []
    for backend, cost in S1.items():
        load = country(cost)
        for name, values in settings().items():
            began = time.perf_counter()
            schedule = simulate(load, replace(base, **values))
            rows.append(
                {
                    "s1": backend,
                    "setting": name,
                    "makespan_h": round(schedule.finish_s / 3600, 2),
                    "utilisation": round(schedule.utilisation, 3),
                    "s2_statistics_done_h": round(schedule.stages["stats"][1] / 3600, 2),
                    "s1_done_h": round(schedule.stages["s1"][1] / 3600, 2),
                    "simulated_in_s": round(time.perf_counter() - began, 1),
                }
            )
    return {
        "tiles": TILES, "s2_dates": DATES, "s1_pairs": PAIRS, "tasks": len(load),
        "nodes": NODES, "cores_a_node": CORES, "memory_a_node_gib": NODE_BYTES // GIB,
        "sources": SOURCES, "rows": rows,
    }  # fmt: skip


def figure(rows: list[dict[str, Any]]) -> str:
    """Makespans (logarithmic) and utilisations as bars."""
    line, left, wide = 22.0, 240.0, 330.0
    marks: list[Markup] = []
    hours = [row["makespan_h"] for row in rows]
    low, high = np.log10(min(hours)) - 0.2, np.log10(max(hours))
    scale = Scale(float(low), float(high), 0.0, wide)
    y = 34.0
    for backend in S1:
        marks.append(element("text", f"S1 by {backend}", x=8, y=y, font_weight="bold"))
        for row in (r for r in rows if r["s1"] == backend):
            y += line
            h, used = row["makespan_h"], row["utilisation"]
            marks += [
                element("text", row["setting"], x=left - 8, y=y, text_anchor="end"),
                element("rect", x=left, y=y - 11, width=scale(float(np.log10(h))), height=14, fill="#3b6ea5"),
                element("text", _duration(h), x=left + scale(float(np.log10(h))) + 5, y=y),
                element("rect", x=660, y=y - 11, width=100, height=14, fill="#dddddd"),
                element("rect", x=660, y=y - 11, width=100 * used, height=14, fill="#4c9a5b"),
                element("text", f"{100 * used:.0f} %", x=766, y=y),
            ]
        y += 2 * line
    head = [
        element("text", "makespan (logarithmic)", x=left, y=16),
        element("text", "cores in use", x=660, y=16),
        element("rect", width=820, height=y, fill="#ffffff"),
    ]
    group = element("g", join([head[2], *head[:2], *marks]), font_family="sans-serif", font_size=12, fill="#222222")
    label = f"A country-year, {TILES} tiles, on {NODES} nodes of {CORES} cores: makespan by QoS setting"
    return str(drawing(group, width=820, height=y, label=label, standalone=True)) + "\n"


def _duration(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.0f} days"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.bench_country", description=__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw, e.g. benchmarks/figures/country.svg")
    options = parser.parse_args()
    found = measure()
    if options.figure is not None:
        options.figure.write_text(figure(found["rows"]), encoding="utf-8")
    print(json.dumps(found, indent=2))
