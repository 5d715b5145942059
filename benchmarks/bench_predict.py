"""How good predictions are: durations, memory and makespans of real runs of the whole chain, predicted and measured.

``python -m benchmarks.bench_predict --coefficients FILE`` also writes first coefficients from the runs with one worker.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import cost_of
from benchmarks.sized_tiles import prepare_sized
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.plan import HISTORY_SCHEMA, Machine, Workload, makespan, predict_seconds, read_ledger, simulate
from s4c_hpc.plan.coefficients import reference_of
from s4c_hpc.plan.fit import Z90, Floats, Reference, fit_line, learn
from s4c_hpc.plan.graph import Mask
from s4c_hpc.plan.predict import MIN_SAMPLES, SMALLEST_BYTES

S4C = [sys.executable, "-m", "s4c_hpc.cli"]
STAGES = ("mask", "index", "gather", "stats", "merge")
WORKERS = (1, 2, 1, 2, 1)
"""Workers of each run."""
APART = 20.0
"""Sizes learnt from and sizes predicted differ at least by this factor."""


def collect(folder: Path, workers: Sequence[int] = WORKERS) -> list[Path]:
    """Run the chain on tiles of many sizes, once for each number of workers; folders with what was kept of each run."""
    kept = []
    for i, count in enumerate(workers):
        workspace = prepare_sized(folder, count)
        here = ["--workspace", str(workspace)]
        for name in ("tiles", "markers", "run", "state"):
            shutil.rmtree(workspace / name, ignore_errors=True)
        if not (workspace / "catalog").exists():
            cost_of([*S4C, "catalog", "scan", *here])
            cost_of([*S4C, "parcels", "import", *here])
        cost_of([*S4C, "run", *here])
        kept.append(keep(workspace, folder / "results" / str(i), count))
    demo = folder / "demo"
    shutil.rmtree(demo, ignore_errors=True)
    cost_of([*S4C, "demo", "--workspace", str(demo)])
    return [*kept, keep(demo, folder / "results" / "demo", 2)]


def keep(workspace: Path, result: Path, workers: int) -> Path:
    """What is needed of a workspace's only run."""
    result.mkdir(parents=True, exist_ok=True)
    (run,) = (workspace / "run").iterdir()
    for path in (workspace / "state" / "history.parquet", run / "plan.parquet", run / "estimates.parquet"):
        shutil.copy(path, result)
    (result / "workers.json").write_text(json.dumps(workers))
    return result


def measure(folder: Path) -> dict[str, Any]:
    """Run, then compare."""
    return compare(collect(folder / "predict"))


def compare(results: Collection[Path]) -> dict[str, Any]:
    """Predictions beside what was measured in these runs."""
    histories = {path: read_ledger(path / "history.parquet", HISTORY_SCHEMA) for path in results}
    sized = [history for path, history in histories.items() if path.name != "demo"]
    alone = first_lines([h for p, h in histories.items() if p.name != "demo" and _workers(p) == 1])
    shared = [h for p, h in histories.items() if p.name != "demo" and _workers(p) > 1]
    return {
        "makespan": [makespan_error(path, histories) for path in results],
        "durations": {stage: duration_errors(*_columns(sized, stage, "wall_s")) for stage in STAGES},
        # Coefficients of the runs with one worker, tasks of the others: the tiles are the same, the tasks are not.
        "durations_with_coefficients": {
            stage: duration_errors(*_columns(shared, stage, "wall_s"), reference_of(alone["stages"][stage]["seconds"]))
            for stage in STAGES
        },
        "durations_cpu": {stage: duration_errors(*_columns(sized, stage, "cpu_s")) for stage in STAGES},
        "memory": {stage: memory_bounds(list(histories.values()), stage) for stage in STAGES},
    }


def makespan_error(path: Path, histories: dict[Path, pa.Table]) -> dict[str, Any]:
    """Makespan of one run: simulated with measured durations, and predicted from the other runs alone."""
    history, n_workers = histories[path], _workers(path)
    end = np.asarray(history["finished"].cast(pa.int64())) / 1e6
    real = float(end.max() - (end - np.asarray(history["wall_s"])).min())
    tasks = pq.read_table(path / "plan.parquet", schema=PLAN_SCHEMA)
    order = pc.index_in(tasks["id"].combine_chunks(), value_set=history["id"].combine_chunks())
    measured_s = np.asarray(history["wall_s"].take(order))
    others = pa.concat_tables([h for p, h in histories.items() if p != path])
    predicted = predict_seconds(tasks, others)
    workload = Workload.of(tasks, predicted, np.ones(tasks.num_rows, dtype=bool))
    thought_s = np.asarray(pq.read_table(path / "estimates.parquet")["seconds"])
    machine = Machine.local(n_workers)
    replayed = simulate(replace(workload, seconds=measured_s, predicted_s=thought_s), machine)
    ahead = makespan(workload, machine)
    return {
        "run": path.name,
        "workers": n_workers,
        "real_s": round(real, 2),
        "with_measured_durations_s": round(replayed.finish_s, 2),
        "ratio": round(replayed.finish_s / real, 3),
        "predicted_s": [round(s, 2) for s in (ahead.low_s, ahead.seconds, ahead.high_s)],
        "predicted_ratio": round(ahead.seconds / real, 3),
    }


def duration_errors(work: Floats, seconds: Floats, reference: Reference | None = None) -> dict[str, Any]:
    """Errors on sizes ``APART`` times larger (and smaller) than the largest (smallest) learnt from."""
    return {
        "to_larger": _errors(work, seconds, work <= work.max() / APART, work >= work.max() / 2, reference),
        "to_smaller": _errors(work, seconds, work >= work.min() * APART, work <= work.min() * 2, reference),
    }


def memory_bounds(histories: Sequence[pa.Table], stage: str) -> dict[str, Any]:
    """Bounds asked for beside measured peaks, also above what the process held before the task."""
    bound, peak, base = (
        np.concatenate([np.asarray(_of_stage(h, stage)[name], dtype=np.float64) for h in histories])
        for name in ("mem_bytes", "peak_anon_bytes", "base_anon_bytes")
    )
    above = np.maximum(peak - base, SMALLEST_BYTES)
    ratio = (bound - base) / above
    return {
        "tasks": len(peak),
        "over_the_bound": int((peak > bound).sum()),
        "median_bound_to_peak": round(float(np.median(bound / peak)), 2),
        "median_above_the_base": round(float(np.median(ratio)), 2),
        "smallest_above_the_base": round(float(ratio.min()), 2),
        "of_the_largest_tasks": round(float(np.median(ratio[above >= 0.8 * above.max()])), 2),
    }


def first_lines(histories: Sequence[pa.Table]) -> dict[str, Any]:
    """First coefficients from runs, in the format of ``configs/coefficients.json``."""
    stages = {}
    for stage in STAGES:
        work, seconds = _columns(histories, stage, "wall_s")
        _, peak = _columns(histories, stage, "peak_anon_bytes")
        _, base = _columns(histories, stage, "base_anon_bytes")
        above = np.maximum(peak - base, SMALLEST_BYTES)
        stages[stage] = {
            "seconds": _described(work, np.maximum(seconds, 1e-3)),
            "memory": _described(work, above),
            "base_bytes": int(np.median(base)),
            "tasks": len(work),
        }
    return {
        "format": 1,
        "measured_on": f"{platform.processor() or platform.machine()}, one worker, "
        "benchmarks/bench_predict.py (generated tiles of 512 to 10368 pixels)",
        "stages": stages,
    }


def _described(work: Floats, value: Floats) -> dict[str, float]:
    line = fit_line(work, value)
    low, high = np.quantile(np.log(value / line.at(work)), [0.1, 0.9])
    return {
        "fixed": float(f"{line.fixed:.4g}"),
        "rate": float(f"{line.rate:.4g}"),
        "spread": round(float(high - low) / (2 * Z90), 3),
        "work_low": float(f"{work.min():.4g}"),
        "work_high": float(f"{work.max():.4g}"),
    }


def _errors(work: Floats, seconds: Floats, known: Mask, asked: Mask, reference: Reference | None) -> dict[str, Any]:
    model = learn(work[known], np.maximum(seconds[known], 1e-3), reference, least=MIN_SAMPLES)
    if model is None:
        return {"learnt_from": int(known.sum()), "predicted": 0}
    expected, low, high, _ = model.predict(work[asked])
    measured = np.maximum(seconds[asked], 1e-3)
    error = np.abs(np.log(expected / measured))
    middle, p90 = np.quantile(error, [0.5, 0.9])
    return {
        "learnt_from": int(known.sum()),
        "predicted": int(asked.sum()),
        "sizes_apart": round(
            float(max(work[asked].min() / work[known].max(), work[known].min() / work[asked].max())), 1
        ),
        "median_log": round(float(middle), 3),
        "p90_log": round(float(p90), 3),
        "median_percent": round(100 * float(np.expm1(middle)), 1),
        "p90_percent": round(100 * float(np.expm1(p90)), 1),
        "within_interval": round(float(((measured >= low) & (measured <= high)).mean()), 2),
    }


def _workers(result: Path) -> int:
    return int(json.loads((result / "workers.json").read_text()))


def _columns(histories: Iterable[pa.Table], stage: str, name: str) -> tuple[Floats, Floats]:
    rows = [_of_stage(history, stage) for history in histories]
    work, values = (
        np.concatenate([np.asarray(table[column], dtype=np.float64) for table in rows]) for column in ("work", name)
    )
    return work, values


def _of_stage(history: pa.Table, stage: str) -> pa.Table:
    return history.filter(
        pc.and_(pc.equal(history["stage"].cast(pa.string()), stage), pc.equal(history["kind"], "done"))
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.bench_predict", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"))  # noqa: S108 - a default, shown in --help
    parser.add_argument("--again", action="store_true", help="compare the runs that are there, run nothing")
    parser.add_argument("--coefficients", type=Path, help="write first coefficients to this file")
    options = parser.parse_args()
    root = options.folder / "predict"
    found = sorted((root / "results").iterdir()) if options.again else collect(root)
    print(json.dumps(compare(found), indent=2))
    if options.coefficients is not None:
        alone = [p for p in found if p.name != "demo" and _workers(p) == 1]
        tables = [read_ledger(p / "history.parquet", HISTORY_SCHEMA) for p in alone]
        options.coefficients.write_text(json.dumps(first_lines(tables), indent=1) + "\n")
