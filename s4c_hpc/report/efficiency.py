"""What each stage asked for, what was predicted and what it used; and every attempt of what was tried again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.report.sources import DONE_COLUMNS, read_columns
from s4c_hpc.report.stage_order import in_order

HISTORY_COLUMNS = ("id", "stage", "tile", "subject", "run", "attempt", "kind", "reason", "wall_s", "twins", "finished")
_EVICTED = "evicted"
_P90 = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEfficiency:
    """Finished tasks of one stage: medians unless it says otherwise; NaN where a plan is gone."""

    stage: str
    tasks: int
    asked_s: float
    """Wall time asked for."""
    predicted_s: float
    wall_s: float
    """Wall time taken."""
    wall_p90_s: float
    """Nine of ten tasks took no longer."""
    asked_bytes: float
    """Memory asked for."""
    predicted_bytes: float
    peak_p90_bytes: float
    """Nine of ten tasks never held more anonymous memory."""
    peak_max_bytes: float
    cpu_share: float
    """Processor time over wall time times cores asked for, of all tasks together."""
    retries: dict[str, int]
    """Attempts that did not succeed, by the kind of their end."""
    evictions: int
    """Those of them that lost their place through no fault of their own."""
    twins: int
    """Outputs that were discarded, because another attempt at the same task had published them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a task."""

    run: str
    attempt: str
    kind: str
    """``done`` or the kind of failure."""
    reason: str
    wall_s: float
    finished: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedAgain:
    """A task with more than one attempt."""

    id: str
    name: str
    """``stage tile subject``."""
    attempts: tuple[Attempt, ...]
    """In the order of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """All of it."""

    stages: tuple[StageEfficiency, ...]
    tried_again: tuple[TriedAgain, ...]
    """By name."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name; keys are stable, times are ISO 8601."""
        return {"format": 1, **asdict(self)}


def efficiency(workspace: Workspace) -> Efficiency:
    """Read it from ``state/`` and the plans; empty before the first task is done.

    Raises
    ------
    InputError
        If a file is there but is not what it should be.
    """
    done = read_columns(workspace.state / "done.parquet", DONE_COLUMNS)
    history = read_columns(workspace.state / "history.parquet", HISTORY_COLUMNS)
    if done is None or history is None:
        return Efficiency(stages=(), tried_again=())
    planned = _planned(workspace, done)
    table = done.select(["stage", "walltime_s", "wall_s", "mem_bytes", "peak_anon_bytes", "cpu_s"])
    for name, values in planned.items():
        table = table.append_column(name, pa.array(values))
    names = in_order({*pc.unique(done["stage"]).to_pylist(), *pc.unique(history["stage"]).to_pylist()})
    return Efficiency(
        stages=tuple(
            _stage(name, table.filter(pc.equal(table["stage"], name)), history.filter(pc.equal(history["stage"], name)))
            for name in names
        ),
        tried_again=tuple(_tried_again(history)),
    )


def _stage(name: str, done: pa.Table, attempts: pa.Table) -> StageEfficiency:
    columns = {key: done[key].to_numpy().astype(np.float64) for key in done.column_names if key != "stage"}
    lost = attempts.filter(pc.not_equal(attempts["kind"], "done"))
    retries = {row["values"]: row["counts"] for row in pc.value_counts(lost["kind"]).to_pylist()}
    held_s = float((columns["wall_s"] * columns["cpus"]).sum())
    return StageEfficiency(
        stage=name,
        tasks=done.num_rows,
        asked_s=_quantile(columns["walltime_s"]),
        predicted_s=_quantile(columns["predicted_s"]),
        wall_s=_quantile(columns["wall_s"]),
        wall_p90_s=_quantile(columns["wall_s"], _P90),
        asked_bytes=_quantile(columns["mem_bytes"]),
        predicted_bytes=_quantile(columns["predicted_bytes"]),
        peak_p90_bytes=_quantile(columns["peak_anon_bytes"], _P90),
        peak_max_bytes=_quantile(columns["peak_anon_bytes"], 1.0),
        cpu_share=float(columns["cpu_s"].sum()) / held_s if held_s > 0 else float("nan"),
        retries=dict(sorted(retries.items())),
        evictions=retries.get(_EVICTED, 0),
        twins=int(pc.sum(attempts["twins"]).as_py() or 0),
    )


def _quantile(values: NDArray[np.float64], q: float = 0.5) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")


def _planned(workspace: Workspace, done: pa.Table) -> dict[str, NDArray[np.float64]]:
    """What the plan in whose run each task was done knew of it, (n_done,) each; NaN where that plan is gone."""
    found = {name: np.full(done.num_rows, np.nan) for name in ("cpus", "predicted_s", "predicted_bytes")}
    for run in pc.unique(done["run"]).to_pylist():
        rows = np.flatnonzero(np.asarray(pc.equal(done["run"], run)))
        ids = done["id"].take(pa.array(rows))
        parts = (
            ("plan.parquet", {"cpus": "cpus"}),
            ("estimates.parquet", {"predicted_s": "seconds", "predicted_bytes": "mem_bytes"}),
        )
        for file, columns in parts:
            table = read_columns(workspace.runs / run / file, ("id", *columns.values()))
            if table is None:
                continue
            places = pc.index_in(ids, value_set=table["id"].combine_chunks())
            for name, column in columns.items():
                values = table[column].take(places).cast(pa.float64())
                found[name][rows] = values.to_numpy(zero_copy_only=False)
    return found


def _tried_again(history: pa.Table) -> Iterable[TriedAgain]:
    counts = pc.value_counts(history["id"])
    again = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    rows = history.filter(pc.is_in(history["id"], value_set=again)).sort_by(
        [(key, "ascending") for key in ("stage", "tile", "subject", "id", "finished", "attempt")]
    )
    tasks: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        tasks.setdefault(row["id"], []).append(row)
    for key, attempts in tasks.items():
        first = attempts[0]
        yield TriedAgain(
            id=key,
            name=f"{first['stage']} {first['tile']} {first['subject']}",
            attempts=tuple(
                Attempt(**{name: row[name] for name in ("run", "attempt", "kind", "reason", "wall_s", "finished")})
                for row in attempts
            ),
        )
