"""What a plan will cost, stage by stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from s4c_hpc.plan.classify import PlanState


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSummary:
    """One line of a plan's table; costs are those of the tasks to do."""

    stage: str
    todo: int
    done: int
    quarantined: int
    blocked: int
    cpu_hours: float
    """Predicted."""
    max_mem_bytes: int
    """Largest memory that a task asks for."""
    bytes_out: int
    """Predicted size of what is written."""
    files_out: int
    """Number of files written (inodes)."""
    opens_imagery: int
    """Number of raster files opened."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def summarize(tasks: pa.Table, status: pa.Table, estimates: pa.Table) -> list[StageSummary]:
    """One line per stage, in the order of the plan.

    Parameters
    ----------
    tasks, status, estimates : (n_tasks,) a plan and its side tables, row by row
    """
    stage = np.asarray(tasks["stage"].to_pylist(), dtype=object)
    state = np.asarray(status["state"].to_pylist(), dtype=object)
    core_s = np.asarray(estimates["seconds"]) * np.asarray(tasks["cpus"])
    n_files = np.asarray(tasks["outputs"].combine_chunks().value_lengths()) if tasks.num_rows else np.zeros(0, int)
    lines = []
    for name in dict.fromkeys(stage.tolist()):
        here = stage == name
        todo = here & (state == PlanState.TODO.value)

        def total(values: np.ndarray, rows: np.ndarray = todo) -> int:
            return int(np.asarray(values)[rows].sum())

        lines.append(
            StageSummary(
                stage=name,
                todo=int(todo.sum()),
                done=int((here & (state == PlanState.DONE.value)).sum()),
                quarantined=int((here & (state == PlanState.QUARANTINED.value)).sum()),
                blocked=int((here & (state == PlanState.BLOCKED.value)).sum()),
                cpu_hours=float(core_s[todo].sum() / 3600),
                max_mem_bytes=int(np.asarray(tasks["mem_bytes"])[todo].max(initial=0)),
                bytes_out=total(np.asarray(tasks["bytes_out"])),
                files_out=total(n_files),
                opens_imagery=total(np.asarray(tasks["opens_imagery"])),
            )
        )
    return lines


def add_up(lines: list[StageSummary]) -> StageSummary:
    """The last line of the table."""
    return StageSummary(
        stage="total",
        todo=sum(line.todo for line in lines),
        done=sum(line.done for line in lines),
        quarantined=sum(line.quarantined for line in lines),
        blocked=sum(line.blocked for line in lines),
        cpu_hours=sum(line.cpu_hours for line in lines),
        max_mem_bytes=max((line.max_mem_bytes for line in lines), default=0),
        bytes_out=sum(line.bytes_out for line in lines),
        files_out=sum(line.files_out for line in lines),
        opens_imagery=sum(line.opens_imagery for line in lines),
    )
