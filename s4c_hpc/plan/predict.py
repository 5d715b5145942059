"""How long tasks will take: from tasks that were done before, else a share of the time they ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.ledger import ESTIMATE_SCHEMA

MIN_SAMPLES = 3
"""Finished tasks of a stage below which its history is not asked."""
QUANTILES = (0.1, 0.5, 0.9)
"""Of seconds per unit of work: low, expected, high."""
WALLTIME_SHARES = (0.0005, 0.003, 0.3)
"""Of the time asked for, where there is no history. That time is for whole tiles on slow disks; low and expected fit
small sites, high fits a full tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A predicted duration with its interval, in seconds."""

    seconds: float
    low_s: float
    high_s: float


def measured_stages(history: pa.Table) -> frozenset[str]:
    """Stages with enough finished tasks in ``history`` (``HISTORY_SCHEMA``) to predict from."""
    finished = history["stage"].filter(pc.equal(history["kind"], "done"))
    counts = pc.value_counts(finished.cast(pa.string())).to_pylist()
    return frozenset(row["values"] for row in counts if row["counts"] >= MIN_SAMPLES)


def predict_seconds(tasks: pa.Table, history: pa.Table) -> pa.Table:
    """Predicted wall time of each row.

    Parameters
    ----------
    tasks : (n_tasks,) rows of a plan
    history : finished attempts, ``HISTORY_SCHEMA``

    Returns
    -------
    (n_tasks,) rows in ``ESTIMATE_SCHEMA``: quantiles of seconds per unit of work of the stage, times the task's work
    """
    work = np.maximum(np.asarray(tasks["work"], dtype=np.float64), 1.0)
    walltime_s = np.asarray(tasks["walltime_s"], dtype=np.float64)
    columns = np.outer(WALLTIME_SHARES, walltime_s)
    finished = history.filter(pc.equal(history["kind"], "done"))
    measured = measured_stages(history)
    for name in pc.unique(tasks["stage"]).to_pylist():
        if name not in measured:
            continue
        known = finished.filter(pc.equal(finished["stage"], name))
        rate = np.asarray(known["wall_s"]) / np.maximum(np.asarray(known["work"]), 1.0)
        rows = np.asarray(pc.equal(tasks["stage"], name)).astype(bool)
        columns[:, rows] = np.outer(np.quantile(rate, QUANTILES), work[rows])
    low, expected, high = columns
    return pa.table([tasks["id"], expected, low, high], schema=ESTIMATE_SCHEMA)


def makespan(stage: list[str], estimates: pa.Table, n_workers: int) -> Span:
    """Time for all rows of ``estimates`` on ``n_workers`` equal workers, stage after stage.

    A stage takes at least its longest task, and at least its sum shared by all workers.

    Parameters
    ----------
    stage : (n_tasks,) stage of each row
    estimates : (n_tasks,) rows in ``ESTIMATE_SCHEMA``
    """
    names = np.asarray(stage, dtype=object)

    def total(column: str) -> float:
        seconds = np.asarray(estimates[column], dtype=np.float64)
        parts = [seconds[names == name] for name in dict.fromkeys(stage)]
        return float(sum(max(part.max(), part.sum() / max(n_workers, 1)) for part in parts))

    return Span(seconds=total("seconds"), low_s=total("low_s"), high_s=total("high_s"))
