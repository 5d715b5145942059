"""Execution: journals, the idempotent step ``advance``, the local executor, and a run from end to end."""

from s4c_hpc.execute.advance import Executor, Run, advance
from s4c_hpc.execute.begin import current_plan
from s4c_hpc.execute.cancel import Cancelled, cancel
from s4c_hpc.execute.detach import Detached, run_detached
from s4c_hpc.execute.lease import Owner, current_owner
from s4c_hpc.execute.logs import NamedTask, TaskAttempt, task_attempts, task_state, tasks_called, tick_log
from s4c_hpc.execute.machine_of import machine_of
from s4c_hpc.execute.notes import Note, notes_of
from s4c_hpc.execute.progress import Progress
from s4c_hpc.execute.queue_status import QueueStatus, QueueUse
from s4c_hpc.execute.run import RunResult, run
from s4c_hpc.execute.self_drive import SelfDrive
from s4c_hpc.execute.state import fold_journals, update_state
from s4c_hpc.execute.status import Problem, RunningTask, RunStatus, status
from s4c_hpc.execute.status_lines import StatusLine
from s4c_hpc.execute.worker import run_chunk
from s4c_hpc.plan import worker_count

__all__ = [
    "Cancelled",
    "Detached",
    "Executor",
    "NamedTask",
    "Note",
    "Owner",
    "Problem",
    "Progress",
    "QueueStatus",
    "QueueUse",
    "Run",
    "RunResult",
    "RunStatus",
    "RunningTask",
    "SelfDrive",
    "StatusLine",
    "TaskAttempt",
    "advance",
    "cancel",
    "current_owner",
    "current_plan",
    "fold_journals",
    "machine_of",
    "notes_of",
    "run",
    "run_chunk",
    "run_detached",
    "status",
    "task_attempts",
    "task_state",
    "tasks_called",
    "tick_log",
    "update_state",
    "worker_count",
]
