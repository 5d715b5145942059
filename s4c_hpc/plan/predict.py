"""How long tasks will take and how much memory: from tasks that were done here, else elsewhere, else what they ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.coefficients import StageCoefficients, first_coefficients
from s4c_hpc.plan.fit import Z90, Model, learn
from s4c_hpc.plan.graph import coded
from s4c_hpc.plan.ledger import ESTIMATE_SCHEMA

MIN_SAMPLES: Final = 3
"""Finished tasks of a stage below which its history alone is not asked, and its predictions are called rough."""
MAX_SAMPLES: Final = 4096
"""Newest finished tasks of a stage that are learnt from."""
WALLTIME_SHARES: Final = (0.0005, 0.003, 0.3)
"""Low, expected and high of the time asked for, where nothing is known. That time is for whole tiles on slow disks;
low and expected fit small sites, high fits a full tile."""
SHORTEST_S: Final = 1e-3
SMALLEST_BYTES: Final = 1 << 20
"""Measurements below these are noise: they are taken for these."""
SAFETY: Final = 2.0
"""Of the time asked for over the high prediction: who asks for too little is killed."""
FLOOR_S: Final = 10.0
"""Asked for on top of that, for each task: compilation, an archive that wakes up. A job adds its start."""


@dataclass(frozen=True, slots=True)
class StagePredictor:
    """What is known of one stage."""

    seconds: Model | None
    memory: Model | None
    base_bytes: int
    samples: int
    """Finished tasks of this workspace that it rests on."""


def measured_stages(history: pa.Table) -> frozenset[str]:
    """Stages with enough finished tasks in ``history`` (``HISTORY_SCHEMA``) to predict from."""
    finished = history["stage"].filter(pc.equal(history["kind"], "done"))
    counts = pc.value_counts(finished.cast(pa.string())).to_pylist()
    return frozenset(row["values"] for row in counts if row["counts"] >= MIN_SAMPLES)


def predict_seconds(tasks: pa.Table, history: pa.Table) -> pa.Table:
    """Predicted wall time and memory of each row.

    Parameters
    ----------
    tasks : (n_tasks,) rows of a plan
    history : finished attempts, ``HISTORY_SCHEMA``

    Returns
    -------
    (n_tasks,) rows in ``ESTIMATE_SCHEMA``; how a stage is learnt, see ``fit.learn``
    """
    work = np.asarray(tasks["work"], dtype=np.float64)
    walltime_s = np.asarray(tasks["walltime_s"], dtype=np.float64)
    low, expected, high = np.outer(WALLTIME_SHARES, walltime_s)
    common = np.full(len(work), np.log(WALLTIME_SHARES[2] / WALLTIME_SHARES[0]) / (2 * Z90))
    memory = np.asarray(tasks["mem_bytes"], dtype=np.int64).copy()
    samples = np.zeros(len(work), dtype=np.int32)
    code, names = stage_codes(tasks)
    for number, predictor in enumerate(predictors(names, history)):
        rows = np.flatnonzero(code == number)
        samples[rows] = predictor.samples
        if predictor.seconds is not None:
            expected[rows], low[rows], high[rows], common[rows] = predictor.seconds.predict(work[rows])
        if predictor.memory is not None:
            memory[rows] = predictor.base_bytes + predictor.memory.predict(work[rows])[0]
    return pa.table([tasks["id"], expected, low, high, common, memory, samples], schema=ESTIMATE_SCHEMA)


def predictors(stages: list[str], history: pa.Table) -> list[StagePredictor]:
    """What is known of each of these stages.

    Parameters
    ----------
    history : finished attempts, ``HISTORY_SCHEMA``; the newest ``MAX_SAMPLES`` tasks of each stage are used
    """
    shipped = first_coefficients()
    is_done = np.asarray(pc.equal(history["kind"], "done"), dtype=bool)
    code, known = stage_codes(history)
    finished = np.asarray(history["finished"].cast(pa.int64()))
    columns = history.select(["work", "wall_s", "peak_anon_bytes", "base_anon_bytes", "run"])
    found = []
    for name in stages:
        rows = np.flatnonzero(is_done & (code == known.index(name))) if name in known else np.zeros(0, dtype=np.int64)
        if len(rows) > MAX_SAMPLES:
            rows = rows[np.argpartition(finished[rows], -MAX_SAMPLES)[-MAX_SAMPLES:]]
        found.append(_learn_stage(columns.take(pa.array(rows)), shipped.get(name)))
    return found


def walltime_to_ask(estimates: pa.Table, tasks: pa.Table) -> npt.NDArray[np.int64]:
    """Seconds of wall time to ask a scheduler for, for each row; the tasks of a chunk add up.

    ``SAFETY`` times the high prediction and ``FLOOR_S``, and never more than the stage's own bound; that bound itself
    where too little of the stage has been measured here.

    Parameters
    ----------
    estimates, tasks : (n_tasks,) a plan's side table (``ESTIMATE_SCHEMA``) and its rows
    """
    bound = np.asarray(tasks["walltime_s"], dtype=np.int64)
    wanted = np.ceil(np.asarray(estimates["high_s"]) * SAFETY + FLOOR_S)
    is_measured = np.asarray(estimates["samples"]) >= MIN_SAMPLES
    # The smaller one first: a prediction far beyond any bound does not fit an integer.
    return np.where(is_measured, np.minimum(wanted, bound), bound).astype(np.int64)


def stage_codes(tasks: pa.Table) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Stage of each row as an index of the names returned, which are in the order of the plan."""
    code, values = coded(tasks["stage"])
    used, first = np.unique(code, return_index=True)
    order = used[np.argsort(first)]
    place = np.zeros(len(values), dtype=np.int32)
    place[order] = np.arange(len(order))
    return place[code], values.take(pa.array(order)).to_pylist()


def _learn_stage(finished: pa.Table, shipped: StageCoefficients | None) -> StagePredictor:
    work = np.asarray(finished["work"], dtype=np.float64)
    wall_s = np.maximum(np.asarray(finished["wall_s"], dtype=np.float64), SHORTEST_S)
    peak = np.asarray(finished["peak_anon_bytes"], dtype=np.float64)
    base = np.asarray(finished["base_anon_bytes"], dtype=np.float64)
    _, run = np.unique(np.asarray(finished["run"].cast(pa.string()).to_pylist(), dtype=object), return_inverse=True)
    told = peak > 0  # old kernels do not tell
    above = np.maximum(peak - base, SMALLEST_BYTES)
    base_bytes = int(np.median(base[told])) if told.any() else shipped.base_bytes if shipped else 0
    return StagePredictor(
        seconds=learn(work, wall_s, shipped.seconds if shipped else None, least=MIN_SAMPLES, run=run),
        memory=learn(work[told], above[told], shipped.memory if shipped else None, least=MIN_SAMPLES),
        base_bytes=base_bytes,
        samples=len(work),
    )
