"""The beginning of a run, with the lease held: what is wanted, and whether an earlier run is at it already."""

from __future__ import annotations

import contextlib
import importlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from s4c_hpc.config import Config
from s4c_hpc.core.errors import SchedulerError, TemporaryError, is_disk_full
from s4c_hpc.core.log import get_logger
from s4c_hpc.core.stage import Stage
from s4c_hpc.core.text import human_bytes
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import End, Executor, Run
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.cluster_facts import ask_cluster, keep_cluster
from s4c_hpc.execute.journal import Kind
from s4c_hpc.execute.losses import Losses
from s4c_hpc.execute.state import update_state
from s4c_hpc.plan import Plan, RunFolder, is_run_id, latest_run, make_plan, new_run_id
from s4c_hpc.slurm.client import SlurmClient

ExecutorFactory = Callable[[RunFolder, Config], contextlib.AbstractContextManager[Executor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What is wanted and the run that makes it."""

    plan: Plan
    run: Run | None
    """``None`` if everything is up to date."""

    @property
    def board(self) -> Board:
        """The run's board."""
        assert self.run is not None  # noqa: S101 - for the type checker
        return self.run.board


def executor_of(config: Config) -> ExecutorFactory:
    """What makes the executor that ``execute.executor`` names."""
    # Late: each brings libraries that the other has no use for.
    name = config.execute.executor
    module = importlib.import_module(f"s4c_hpc.execute.{'local' if name == 'local' else 'slurm_executor'}")
    factory: ExecutorFactory = getattr(module, f"{name}_executor")
    return factory


def current_plan(
    workspace: Workspace,
    config: Config,
    *,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
) -> Plan:
    """What would run and why, as of now; see ``plan.make_plan``."""
    update_state(workspace)
    return make_plan(workspace, config, stages=stages, retry_quarantined=retry_quarantined, registry=registry)


def begin(
    workspace: Workspace,
    config: Config,
    *,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
    executor: ExecutorFactory | None = None,
    stopped: Callable[[], None] = lambda: None,
) -> Begun:
    """Plan, and find or make the run folder. The caller holds the lease.

    Parameters
    ----------
    executor : stops what an earlier run has left in a queue; if it is not given, a cluster is asked what it has
    stopped : called when there is work and before anything is begun; raises if it shall not be

    Raises
    ------
    SchedulerError, ConfigError, SlurmMissing, SlurmUnreachable
        If there is no cluster that could take jobs; then nothing was begun.
    """
    earlier = left_behind(workspace)
    clean_up(workspace, keep=earlier.folder if earlier else None)
    plan = current_plan(workspace, config, stages=stages, retry_quarantined=retry_quarantined, registry=registry)
    if earlier is not None and (
        retry_quarantined or plan.is_up_to_date or config.execute.executor == "local" or not is_at_it(earlier, plan)
    ):
        get_logger("driver").warning("jobs of an earlier run are cancelled", run=earlier.folder.id)
        frozen = earlier.folder.frozen_config()
        try:
            with (executor or executor_of(frozen))(earlier.folder, frozen) as left:
                stop_attempts(earlier, left)
        except (SchedulerError, TemporaryError) as error:
            error.hint = f"{error.hint or ''}; if that cluster is gone for good: 's4c cancel --forget'".lstrip("; ")
            raise
        earlier.close()
        shutil.rmtree(earlier.folder.scratch, ignore_errors=True)
        earlier = None
        plan = current_plan(workspace, config, stages=stages, retry_quarantined=retry_quarantined, registry=registry)
    if plan.is_up_to_date:
        return Begun(plan=plan, run=None)
    stopped()
    if earlier is not None:
        earlier.losses = Losses()  # whoever runs it again has seen to what stopped it
        return Begun(plan=plan, run=earlier)
    plan.check_space()
    cluster = None
    if executor is None and config.execute.executor == "slurm":  # before there is a run that could not go on
        cluster = ask_cluster(SlurmClient.of(config.slurm), config.slurm)
    newest = latest_run(workspace)
    with telling_of_full_disk(workspace, lambda: plan.total.bytes_out):
        folder = plan.write(workspace.runs / new_run_id(newest.id if newest else None))
        if cluster is not None:
            keep_cluster(folder, cluster)
        return Begun(plan=plan, run=Run(folder, config.execute.max_attempts))


def left_behind(workspace: Workspace) -> Run | None:
    """The newest run, if it has attempts that nobody has closed and that may live on: jobs in a queue."""
    folder = latest_run(workspace)
    if folder is None:
        return None
    config = folder.frozen_config()
    if config.execute.executor == "local":  # its workers died with their driver
        return None
    run = Run(folder, config.execute.max_attempts)
    run.refresh()
    return run if run.open else None


def is_at_it(run: Run, plan: Plan) -> bool:
    """Whether going on with ``run`` makes what ``plan`` wants."""
    if run.board.is_settled or run.board.stopped_by is not None:
        return False
    ids, wanted = run.board.tasks["id"], plan.tasks["id"]
    return len(ids) == len(wanted) and bool(pc.all(pc.is_in(wanted, value_set=ids.combine_chunks())).as_py())


def stop_attempts(run: Run, executor: Executor) -> None:
    """Stop what is open and settle it: what was begun was cancelled.

    Strays of a run that has come to its end are stopped as far as they let themselves be.
    """
    if run.open or run.has_strays:
        try:
            executor.cancel()
        except SchedulerError as error:
            if not run.board.is_settled:
                raise
            get_logger("driver").warning("jobs that were given up may be in the queue still", reason=str(error))
    run.refresh()
    for attempt in list(run.open):
        run.close_attempt(attempt, End(kind=Kind.CANCELLED, what="stopped before it was done"))


def bytes_left(board: Board) -> int:
    """Predicted size of what is not written yet."""
    left = (board.state < State.DONE) & board.planned_todo
    return int(np.asarray(board.tasks["bytes_out"])[left].sum())


def clean_up(workspace: Workspace, keep: RunFolder | None) -> None:
    """Remove what killed drivers and workers left: with the lease held, nobody is at work on it.

    Other folders beside those of runs belong to commands that need no lease and may be at work now.

    Parameters
    ----------
    keep : a run whose jobs may be at work
    """
    for scratch in workspace.temporary.glob("*"):
        if is_run_id(scratch.name) and (keep is None or scratch.name != keep.id):
            shutil.rmtree(scratch, ignore_errors=True)
    newest = latest_run(workspace)
    manifests = newest.manifests.glob(".*.tmp") if newest else ()
    for draft in (*workspace.state.glob(".*.tmp"), *workspace.runs.glob(".*.tmp"), *manifests):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def telling_of_full_disk(workspace: Workspace, bytes_left: Callable[[], int]) -> Iterator[None]:
    """Turn the system's error of a full disk into one that says how much room is needed."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(workspace, "the driver cannot write", bytes_left()) from error


def disk_full(workspace: Workspace, what: str, needed_bytes: int) -> TemporaryError:
    """The error that tells of a full disk."""
    free = shutil.disk_usage(workspace.root).free
    return TemporaryError(
        f"the disk is full ({what}): {human_bytes(needed_bytes)} are still to be written, {human_bytes(free)} is free",
        where=str(workspace.root),
        hint=f"free at least {human_bytes(max(needed_bytes - free, 0))} and run again",
    )
