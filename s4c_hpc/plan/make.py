"""Ask every stage for its rows and hold them against what was done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError, InternalError, NoInputsError, listing
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.core.stage import PlanContext, Stage
from s4c_hpc.core.stage import stages as installed_stages
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.plan.classify import classify
from s4c_hpc.plan.existing import are_there
from s4c_hpc.plan.graph import Graph, coded, flattened
from s4c_hpc.plan.ledger import DONE_SCHEMA, FAILED_SCHEMA, HISTORY_SCHEMA, Ledger, read_ledger
from s4c_hpc.plan.model import Plan
from s4c_hpc.plan.obsolete import made_by, obsolete_outputs, spent_outputs
from s4c_hpc.plan.predict import measured_stages, predict_seconds

_MEASURED = [
    field.name for field in HISTORY_SCHEMA if not (pa.types.is_list(field.type) or pa.types.is_string(field.type))
]
"""Columns of finished attempts that predictions may need: numbers and names. The texts are as large as the plan."""


def make_plan(
    workspace: Workspace,
    config: Config,
    *,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
) -> Plan:
    """Every task of the workspace, which of them are to do, and why.

    Reads the state tables as they are: ``execute.update_state`` brings them up to date first.

    Parameters
    ----------
    stages : plan these stages and what their tasks need; all by default
    retry_quarantined : whether tasks that were given up are tried again
    registry : stages in order; the installed ones by default

    Raises
    ------
    ConfigError
        If a name in ``stages`` is not a stage.
    NoInputsError
        If there is not a single task.
    InternalError
        If two tasks have one id or write one file, or one depends on nothing that is planned.
    """
    registry = installed_stages() if registry is None else registry
    wanted = frozenset(registry if stages is None else stages)
    tasks = _ask(workspace, config, _with_upstream(wanted, registry))
    if not tasks.num_rows:
        raise NoInputsError(
            f"there is nothing to plan for the stages {', '.join(wanted & registry.keys())}",
            where=str(workspace.root),
            hint="see what 's4c catalog list' and 's4c parcels list' find",
        )
    check_rows(tasks)
    pa.default_memory_pool().release_unused()  # what was needed to look texts up, as much as the plan itself
    is_whole = wanted == frozenset(registry)
    if not is_whole:
        tasks = _only_needed(tasks, wanted)
    return _judged(workspace, config, tasks, registry, is_whole=is_whole, retry_quarantined=retry_quarantined)


def judge_again(plan: Plan, registry: Mapping[str, Stage] | None = None) -> Plan:
    """The same tasks held against what has been done by now; no stage is asked again.

    Parameters
    ----------
    registry : as in ``make_plan``
    """
    registry = installed_stages() if registry is None else registry
    return _judged(plan.workspace, plan.config, plan.tasks, registry, is_whole=plan.is_whole)


def _judged(
    workspace: Workspace,
    config: Config,
    tasks: pa.Table,
    registry: Mapping[str, Stage],
    *,
    is_whole: bool,
    retry_quarantined: bool = False,
) -> Plan:
    state = workspace.state
    removable = config.retention.spent_stages
    deliverable = [name for name, stage in registry.items() if stage.deliverable]
    failed = read_ledger(state / "failed.parquet", FAILED_SCHEMA)
    history = Ledger(state / "history.parquet", HISTORY_SCHEMA)
    graph = Graph.of(tasks)
    status = classify(
        tasks,
        graph,
        Ledger(state / "done.parquet", DONE_SCHEMA),
        failed,
        partial(are_there, workspace.root),
        {name: stage.tolerates_missing for name, stage in registry.items()},
        max_attempts=config.execute.max_attempts,
        retry_quarantined=retry_quarantined,
        removable=removable,
    )
    obsolete: list[str] = []
    spent: list[str] = []
    if is_whole:  # what a part of the stages does not write or read, another one may
        obsolete = _there(workspace, obsolete_outputs(tasks, graph, status, failed, history, deliverable))
    if is_whole and removable:
        spent = _there(workspace, spent_outputs(tasks, graph, status, made_by(history, removable)))
    measured = history.read(_MEASURED)
    return Plan(
        workspace,
        config,
        tasks,
        status,
        predict_seconds(tasks, measured),
        obsolete=tuple(obsolete),
        spent=tuple(spent),
        is_whole=is_whole,
        measured=measured_stages(measured),
    )


def _there(workspace: Workspace, paths: pa.Array) -> list[str]:
    """Those of workspace-relative paths that exist."""
    chunked = pa.chunked_array([paths])
    found: list[str] = chunked.filter(pa.array(are_there(workspace.root, chunked))).to_pylist()
    return found


def check_rows(tasks: pa.Table) -> None:
    """Refuse a plan in which two rows are one task or write one file."""
    if twice := _repeated(tasks["id"]):
        rows = tasks.filter(pc.equal(tasks["id"], twice)).to_pylist()
        raise InternalError(f"two tasks have the same id: {_both(rows)}", where=twice)
    row_of, paths = flattened(tasks["outputs"])
    if twice := _repeated(paths):
        rows = tasks.take(pa.array(row_of[np.asarray(pc.equal(paths, twice))])).to_pylist()
        raise InternalError(f"two tasks write the same file: {_both(rows)}", where=twice)


def _ask(workspace: Workspace, config: Config, asked: Mapping[str, Stage]) -> pa.Table:
    upstream: dict[str, pa.Table] = {}
    known: dict[str, object] = {}
    for name, stage in asked.items():
        context = PlanContext(workspace, config, dict(upstream), known)
        batches = list(stage.tasks(context))
        for batch in batches:
            if not batch.schema.equals(PLAN_SCHEMA):
                raise InternalError(f"stage {name} plans rows with other columns than PLAN_SCHEMA", where=name)
        upstream[name] = pa.Table.from_batches(batches, PLAN_SCHEMA)
    return pa.concat_tables([PLAN_SCHEMA.empty_table(), *upstream.values()]).unify_dictionaries()


def _with_upstream(wanted: frozenset[str], registry: Mapping[str, Stage]) -> dict[str, Stage]:
    """The wanted stages and every stage whose rows they read, in order."""
    if unknown := sorted(wanted - registry.keys()):
        raise ConfigError(
            f"no stage is called {listing(unknown)}", where="stages", hint=f"stages are {', '.join(registry)}"
        )
    asked = set(wanted)
    for name in reversed(list(registry)):
        if name in asked:
            asked.update(registry[name].after)
    return {name: stage for name, stage in registry.items() if name in asked}


def _only_needed(tasks: pa.Table, wanted: frozenset[str]) -> pa.Table:
    stage, names = coded(tasks["stage"])
    keep = np.asarray([name in wanted for name in names.to_pylist()], dtype=bool)[stage]
    return tasks.filter(pa.array(Graph.of(tasks).ancestors(keep)))


def _repeated(values: pa.ChunkedArray) -> str | None:
    """A value that occurs more than once, if any."""
    if pc.count_distinct(values).as_py() == len(values):
        return None
    counts = pc.value_counts(values)
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    return str(several[0]["values"]) if len(several) else None


def _both(rows: list[dict[str, object]]) -> str:
    return " and ".join(f"{row['stage']} {row['tile']} {row['subject']} ({row['id']})" for row in rows[:2])
