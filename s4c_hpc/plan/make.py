"""Ask every stage for its rows and hold them against what was done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError, InternalError, NoInputsError, listing
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.core.stage import PlanContext, Stage
from s4c_hpc.core.stage import stages as installed_stages
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.plan.classify import classify
from s4c_hpc.plan.graph import Graph, flattened
from s4c_hpc.plan.ledger import DONE_SCHEMA, FAILED_SCHEMA, HISTORY_SCHEMA, read_ledger
from s4c_hpc.plan.model import Plan
from s4c_hpc.plan.obsolete import obsolete_outputs
from s4c_hpc.plan.predict import measured_stages, predict_seconds


def make_plan(
    workspace: Workspace,
    config: Config,
    *,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
) -> Plan:
    """Every task of the workspace, which of them are to do, and why.

    Reads the state tables as they are: ``execute.fold_journals`` brings them up to date first.

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
    done = read_ledger(workspace.state / "done.parquet", DONE_SCHEMA)
    failed = read_ledger(workspace.state / "failed.parquet", FAILED_SCHEMA)
    history = read_ledger(workspace.state / "history.parquet", HISTORY_SCHEMA)
    _, outputs = flattened(tasks["outputs"])
    status = classify(
        tasks,
        done,
        failed,
        existing_files(workspace, outputs.to_pylist()),
        {name: stage.tolerates_missing for name, stage in registry.items()},
        max_attempts=config.execute.max_attempts,
        retry_quarantined=retry_quarantined,
    )
    obsolete: set[str] = set()
    if is_whole:  # what a part of the stages does not write, another one may
        deliverable = {name for name, stage in registry.items() if stage.deliverable}
        obsolete = obsolete_outputs(tasks, status, failed, history, deliverable)
        obsolete &= existing_files(workspace, obsolete)
    return Plan(
        workspace,
        config,
        tasks,
        status,
        predict_seconds(tasks, history),
        obsolete=tuple(sorted(obsolete)),
        is_whole=is_whole,
        measured=measured_stages(history),
    )


def existing_files(workspace: Workspace, paths: Iterable[str]) -> set[str]:
    """Workspace-relative files in the folders that ``paths`` lie in: one listing a folder, no stat a file."""
    folders = {path.rpartition("/")[0] for path in paths}
    found: set[str] = set()
    for folder in sorted(folders):
        try:
            with os.scandir(workspace.root / folder) as entries:
                found.update(f"{folder}/{entry.name}".lstrip("/") for entry in entries)
        except FileNotFoundError:
            continue
    return found


def check_rows(tasks: pa.Table) -> None:
    """Refuse a plan in which two rows are one task or write one file."""
    if twice := _repeated(tasks["id"].combine_chunks()):
        rows = tasks.filter(pc.equal(tasks["id"], twice)).to_pylist()
        raise InternalError(f"two tasks have the same id: {_both(rows)}", where=twice)
    row_of, paths = flattened(tasks["outputs"])
    if twice := _repeated(paths):
        rows = tasks.take(pa.array(row_of).filter(pc.equal(paths, twice))).to_pylist()
        raise InternalError(f"two tasks write the same file: {_both(rows)}", where=twice)


def _ask(workspace: Workspace, config: Config, asked: Mapping[str, Stage]) -> pa.Table:
    upstream: dict[str, pa.Table] = {}
    for name, stage in asked.items():
        context = PlanContext(workspace, config, dict(upstream))
        batches = list(stage.tasks(context))
        for batch in batches:
            if not batch.schema.equals(PLAN_SCHEMA):
                raise InternalError(f"stage {name} plans rows with other columns than PLAN_SCHEMA", where=name)
        upstream[name] = pa.Table.from_batches(batches, PLAN_SCHEMA)
    return pa.concat_tables(upstream.values()).unify_dictionaries().combine_chunks() if upstream else _no_tasks()


def _no_tasks() -> pa.Table:
    return PLAN_SCHEMA.empty_table()


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
    keep = pc.is_in(tasks["stage"].cast(pa.string()), value_set=pa.array(sorted(wanted)))
    return tasks.filter(pa.array(Graph.of(tasks).ancestors(keep.to_numpy())))


def _repeated(values: pa.Array) -> str | None:
    """A value that occurs more than once, if any."""
    counts = pc.value_counts(values)
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    return str(several[0]["values"]) if len(several) else None


def _both(rows: list[dict[str, object]]) -> str:
    return " and ".join(f"{row['stage']} {row['tile']} {row['subject']} ({row['id']})" for row in rows[:2])
