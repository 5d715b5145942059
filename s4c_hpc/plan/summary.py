"""What a plan will cost, stage by stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.classify import PlanState
from s4c_hpc.plan.graph import Codes, coded


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
    (stage, names), (state, states) = coded(tasks["stage"]), coded(status["state"])
    state_names = states.to_pylist()
    count = np.bincount(stage * len(states) + state, minlength=len(names) * len(states)).reshape(len(names), -1)
    core_s = np.asarray(estimates["seconds"]) * np.asarray(tasks["cpus"])
    n_files = np.concatenate([[0], *(pc.list_value_length(chunk) for chunk in tasks["outputs"].chunks)])[1:]
    todo = state == state_names.index(PlanState.TODO) if PlanState.TODO in state_names else np.zeros(len(state), bool)

    def totals(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Sums over what is to do, by stage."""
        sums = np.bincount(stage[todo], np.asarray(values, dtype=np.float64)[todo], minlength=len(names))
        return sums.astype(np.float64)  # without weights to add they are whole numbers

    core, bytes_out, files, opens = map(totals, (core_s, tasks["bytes_out"], n_files, tasks["opens_imagery"]))
    most = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(most, stage[todo], np.asarray(tasks["mem_bytes"])[todo])
    lines = []
    for i in _in_order(stage).tolist():
        found = dict(zip(state_names, count[i].tolist(), strict=True))
        lines.append(
            StageSummary(
                stage=names[i].as_py(),
                todo=found.get(PlanState.TODO, 0),
                done=found.get(PlanState.DONE, 0),
                quarantined=found.get(PlanState.QUARANTINED, 0),
                blocked=found.get(PlanState.BLOCKED, 0),
                cpu_hours=float(core[i] / 3600),
                max_mem_bytes=int(most[i]),
                bytes_out=int(bytes_out[i]),
                files_out=int(files[i]),
                opens_imagery=int(opens[i]),
            )
        )
    return lines


def _in_order(codes: Codes) -> Codes:
    """Distinct codes in the order in which they first occur."""
    found, first = np.unique(codes, return_index=True)
    return found[np.argsort(first)]


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
