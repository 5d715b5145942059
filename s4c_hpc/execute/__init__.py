"""Execution: journals, the idempotent step ``advance``, the local executor, and a run from end to end."""

from s4c_hpc.execute.advance import Executor, Run, advance
from s4c_hpc.execute.lease import Owner, current_owner
from s4c_hpc.execute.logs import task_logs, task_reason
from s4c_hpc.execute.progress import Progress
from s4c_hpc.execute.run import RunResult, current_plan, run
from s4c_hpc.execute.state import fold_journals
from s4c_hpc.execute.status import Problem, RunningTask, RunStatus, StatusLine, cancel, status
from s4c_hpc.execute.worker import run_chunk
from s4c_hpc.plan import worker_count

__all__ = [
    "Executor",
    "Owner",
    "Problem",
    "Progress",
    "Run",
    "RunResult",
    "RunStatus",
    "RunningTask",
    "StatusLine",
    "advance",
    "cancel",
    "current_owner",
    "current_plan",
    "fold_journals",
    "run",
    "run_chunk",
    "status",
    "task_logs",
    "task_reason",
    "worker_count",
]
