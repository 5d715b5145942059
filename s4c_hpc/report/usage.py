"""Time and memory: what each stage asked for, and what it took."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from s4c_hpc.drawing.svg import spread
from s4c_hpc.drawing.text import duration, size
from s4c_hpc.report.sources import Sources
from s4c_hpc.report.stage_order import in_order
from s4c_hpc.report.usage_plot import MARKS, Point, byte_ticks, second_ticks, usage_plot

MAX_POINTS = 400
"""Tasks drawn; of more, an even spread of each stage's tasks ordered by what they took, the largest included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUsage:
    """All finished tasks of one stage."""

    stage: str
    slot: int
    """Number of its sign."""
    n: int
    cpu_s: float
    wall_s: float
    """Sum over its tasks."""
    longest_s: float
    predicted_s: float
    """Sum of what the plan predicted, NaN where a prediction is missing."""
    peak_bytes: int
    """Largest anonymous memory of a task."""
    asked_bytes: int
    """Largest memory asked for by a task."""
    n_over: int
    """Tasks that took more memory than they had asked for."""
    bytes_out: int
    rasters_opened: int


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the template needs."""

    stages: tuple[StageUsage, ...]
    memory_plot: Markup
    time_plot: Markup
    n_points: int
    n_tasks: int
    elapsed_s: float
    """From the start of the first task to the end of the last, pauses included."""
    decoded_once: bool
    """Whether no raster was opened after gather and no product was gathered twice for a tile, in any run; but for
    ``l3b``."""
    opened_for_rasters: int
    """Rasters opened a second time, for the rasters that were asked for."""
    n_attempts_more: int
    """Attempts beyond the first of each task."""


def usage(sources: Sources) -> Usage | None:
    """Sum up ``state/done.parquet``; ``None`` before the first task is done."""
    if sources.done.num_rows == 0:
        return None
    done = sources.done.append_column("predicted_s", pa.array(sources.predicted_s))
    order = in_order(pc.unique(done["stage"]).to_pylist())
    by_stage = {name: done.filter(pc.equal(done["stage"], name)) for name in order}
    stages = tuple(_stage_usage(rows, name, i) for i, (name, rows) in enumerate(by_stage.items()))
    picked = {name: _picked(rows, len(order)) for name, rows in by_stage.items()}
    memory = {name: _points(table, "mem_bytes", "peak_anon_bytes") for name, table in picked.items()}
    time = {name: _points(table, "predicted_s", "wall_s") for name, table in picked.items()}
    gathers = done.filter(pc.equal(done["stage"], "gather"))
    return Usage(
        stages=stages,
        memory_plot=usage_plot(memory, byte_ticks, size, "memory asked for", "peak memory"),
        time_plot=usage_plot(time, second_ticks, duration, "time predicted", "time taken"),
        n_points=sum(table.num_rows for table in picked.values()),
        n_tasks=done.num_rows,
        elapsed_s=_elapsed_s(done),
        decoded_once=sources.n_gathered_again == 0
        and all(s.rasters_opened == 0 for s in stages if s.stage not in {"gather", "l3b"})
        and gathers.group_by(["tile", "subject"]).aggregate([]).num_rows == gathers.num_rows,
        opened_for_rasters=sum(s.rasters_opened for s in stages if s.stage == "l3b"),
        n_attempts_more=max(sources.n_attempts - done.num_rows - sources.failed.num_rows, 0),
    )


def _stage_usage(rows: pa.Table, name: str, slot: int) -> StageUsage:
    def total(column: str) -> float:
        return float(pc.sum(rows[column]).as_py() or 0)

    def largest(column: str) -> float:
        return float(pc.max(rows[column]).as_py() or 0)

    return StageUsage(
        stage=name,
        slot=slot % len(MARKS),
        n=rows.num_rows,
        cpu_s=total("cpu_s"),
        wall_s=total("wall_s"),
        longest_s=largest("wall_s"),
        predicted_s=float(rows["predicted_s"].to_numpy().sum()),
        peak_bytes=int(largest("peak_anon_bytes")),
        asked_bytes=int(largest("mem_bytes")),
        n_over=int(pc.sum(pc.greater(rows["peak_anon_bytes"], rows["mem_bytes"])).as_py() or 0),
        bytes_out=int(total("bytes")),
        rasters_opened=int(total("rasters_opened")),
    )


def _elapsed_s(done: pa.Table) -> float:
    ended = done["finished"].cast(pa.timestamp("us", "UTC")).to_numpy().astype("int64") / 1e6
    return float(ended.max() - (ended - done["wall_s"].to_numpy()).min())


def _picked(rows: pa.Table, n_stages: int) -> pa.Table:
    ordered = rows.sort_by([("peak_anon_bytes", "ascending"), ("id", "ascending")])
    return ordered.take(pa.array(spread(rows.num_rows, MAX_POINTS // n_stages), pa.int64()))


def _points(rows: pa.Table, expected: str, taken: str) -> list[Point]:
    columns = [rows[name].to_pylist() for name in (expected, taken, "tile", "subject")]
    return [
        Point(expected=float(e), taken=float(t), name=f"{tile} {subject}")
        for e, t, tile, subject in zip(*columns, strict=True)
        # A logarithmic axis has no place for nothing, nor for what is not known.
        if e > 0 and t > 0
    ]
