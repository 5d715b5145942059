"""Where attempts at a task left their logs."""

from __future__ import annotations

from pathlib import Path

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.manifest import read_wave, wave_names, wave_path
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
    return [path for path in logs if path.is_file()]
