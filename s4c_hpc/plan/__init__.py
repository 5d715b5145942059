"""Plans: rows, dependencies, identity, prediction, difference. Knows stages only through the registry."""

from s4c_hpc.plan.classify import PlanState
from s4c_hpc.plan.forecast import Span, makespan, paced, remaining
from s4c_hpc.plan.ledger import (
    DONE_SCHEMA,
    ESTIMATE_SCHEMA,
    FAILED_SCHEMA,
    HISTORY_SCHEMA,
    STATUS_SCHEMA,
    read_ledger,
)
from s4c_hpc.plan.machine import Machine, NodeGroup, Queue, QueueLimits
from s4c_hpc.plan.make import judge_again, make_plan
from s4c_hpc.plan.model import Plan
from s4c_hpc.plan.predict import predict_seconds, walltime_to_ask
from s4c_hpc.plan.run_folder import RunFolder, is_run_id, latest_run, new_run_id, run_folders
from s4c_hpc.plan.simulate import QueueUse, Schedule, simulate
from s4c_hpc.plan.summary import StageSummary
from s4c_hpc.plan.workers import worker_count
from s4c_hpc.plan.workload import Workload

__all__ = [
    "DONE_SCHEMA",
    "ESTIMATE_SCHEMA",
    "FAILED_SCHEMA",
    "HISTORY_SCHEMA",
    "STATUS_SCHEMA",
    "Machine",
    "NodeGroup",
    "Plan",
    "PlanState",
    "Queue",
    "QueueLimits",
    "QueueUse",
    "RunFolder",
    "Schedule",
    "Span",
    "StageSummary",
    "Workload",
    "is_run_id",
    "judge_again",
    "latest_run",
    "make_plan",
    "makespan",
    "new_run_id",
    "paced",
    "predict_seconds",
    "read_ledger",
    "remaining",
    "run_folders",
    "simulate",
    "walltime_to_ask",
    "worker_count",
]
