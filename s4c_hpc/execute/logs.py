"""What attempts at a task left to read: their logs, or at least how they ended."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.manifest import read_wave, wave_names, wave_path
from s4c_hpc.execute.state import read_journals
from s4c_hpc.execute.status import status
from s4c_hpc.plan import run_folders


def task_logs(workspace: Workspace, task: str) -> list[Path]:
    """Logs of all attempts at a task, oldest first; attempts that had nothing to say have none.

    Parameters
    ----------
    task : id of the task, or its beginning
    """
    logs = (
        run.log(chunk.stage, chunk.attempt)
        for run in run_folders(workspace)
        for wave in wave_names(run)
        for chunk in read_wave(wave_path(run, wave))
        if any(key.startswith(task) for key in chunk.ids)
    )
    return [path for path in logs if path.is_file() and path.stat().st_size]


def task_reason(workspace: Workspace, task: str) -> str | None:
    """How the last attempt at a task ended, or why there was none, in one line; ``None`` if no task is called that.

    Parameters
    ----------
    task : id of the task, or its beginning; of several tasks the first one is told
    """
    found = status(workspace)
    for problem in found.problems if found else ():
        if problem.id.startswith(task):
            return f"{problem.name}: {problem.state}: {problem.reason}"
    history, _, _ = read_journals(workspace)
    rows = history.filter(pc.starts_with(history["id"], task))
    if rows.num_rows:
        last = rows.sort_by([("id", "descending"), ("finished", "ascending")]).to_pylist()[-1]
        end = "done" if last["kind"] == "done" else f"failed ({last['kind']}): {last['reason']}"
        return f"{last['stage']} {last['tile']} {last['subject']}: {end}, attempt {last['attempts']}"
    for run in found.running if found else ():
        if run.id.startswith(task):
            return f"{run.name}: running"
    return None
