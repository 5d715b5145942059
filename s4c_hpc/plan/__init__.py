"""Plans: rows, dependencies, identity, prediction, difference. Knows stages only through the registry."""

from s4c_hpc.plan.classify import PlanState
from s4c_hpc.plan.ledger import (
    DONE_SCHEMA,
    ESTIMATE_SCHEMA,
    FAILED_SCHEMA,
    HISTORY_SCHEMA,
    STATUS_SCHEMA,
    read_ledger,
)
from s4c_hpc.plan.make import judge_again, make_plan
from s4c_hpc.plan.model import Plan
from s4c_hpc.plan.predict import Span, makespan, predict_seconds
from s4c_hpc.plan.run_folder import RunFolder, is_run_id, latest_run, new_run_id, run_folders
from s4c_hpc.plan.summary import StageSummary
from s4c_hpc.plan.workers import worker_count

__all__ = [
    "DONE_SCHEMA",
    "ESTIMATE_SCHEMA",
    "FAILED_SCHEMA",
    "HISTORY_SCHEMA",
    "STATUS_SCHEMA",
    "Plan",
    "PlanState",
    "RunFolder",
    "Span",
    "StageSummary",
    "is_run_id",
    "judge_again",
    "latest_run",
    "make_plan",
    "makespan",
    "new_run_id",
    "predict_seconds",
    "read_ledger",
    "run_folders",
    "worker_count",
]
