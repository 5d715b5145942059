"""A run that drives itself: a chain of tiny jobs, each of which advances it once and submits the next.

A tick submits its successor before it does anything else, so that a tick that is killed does not break the chain.
Slurm runs one of them at a time (``singleton``); the lease keeps them and people apart.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from s4c_hpc.config import Config
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.errors import ConfigError, S4cError, SchedulerError, TemporaryError, is_disk_full
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.log import get_logger
from s4c_hpc.core.stage import Stage
from s4c_hpc.core.text import human_seconds
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import Run, advance
from s4c_hpc.execute.begin import (
    ExecutorFactory,
    begin,
    bytes_left,
    current_plan,
    disk_full,
    executor_of,
    stop_attempts,
)
from s4c_hpc.execute.cluster_facts import known_cluster
from s4c_hpc.execute.lease import DriverAtWork, lease
from s4c_hpc.execute.losses import Losses
from s4c_hpc.execute.metrics import MetricsFile
from s4c_hpc.execute.retire import retire, retire_spent
from s4c_hpc.execute.state import folded_s_ago, n_attempts, update_state
from s4c_hpc.execute.submissions import tick_name
from s4c_hpc.plan import Plan, RunFolder, latest_run
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.jobs import JobSpec, own_job
from s4c_hpc.slurm.rows import QueueRow
from s4c_hpc.slurm.script import batch_script, log_pattern

TICK_WALLTIME_S = 1800
"""Unless the longest job of the cluster is shorter."""
TICK_BYTES = 512 << 20
TICK_BYTES_PER_TASK = 1500
"""Of the plan and the history that a tick holds in memory."""
FOLD_INTERVAL_S = 300.0
"""Pause between two folds: a fold costs seconds for a million tasks, and ``s4c status`` reads what is newer."""
RETIRE_INTERVAL_S = 60.0
"""Pause between two removals of what everyone has read."""
STAND_IN_SHARE = 0.8
"""Of its time that a tick goes on in the place of a successor that Slurm does not take: the queue may be full for a
while."""
FILE_TRIES = 5
FILE_PAUSE_S = 30.0
"""Pause after the file system failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """A run that goes on by itself."""

    plan: Plan
    run: str | None
    """``None`` if everything is up to date."""
    job: int | None
    """The first tick."""
    retired: tuple[str, ...] = ()
    """Workspace-relative files that were removed, since this configuration no longer makes or reads them."""


def run_detached(
    workspace: Workspace,
    config: Config,
    *,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
    executor: ExecutorFactory | None = None,
) -> Detached:
    """Plan, and hand the run to a chain of ticks; returns at once. Parameters and errors as of ``run``.

    Raises
    ------
    ConfigError
        If this cannot be: not on Slurm, or nodes may not submit.
    """
    if config.execute.executor != "slurm":
        raise ConfigError(
            "only a run on Slurm can go on by itself",
            where="--detach",
            hint="add --executor slurm, or leave --detach out",
        )
    if not config.slurm.nodes_may_submit:
        raise ConfigError(
            "nodes may not submit jobs here, and a detached run is driven by its nodes",
            where="slurm.nodes_may_submit",
            hint="leave --detach out, and keep 's4c run' alive in a screen, tmux or a job of its own",
        )
    wanted = None if stages is None else list(stages)
    with lease(workspace):
        begun = begin(
            workspace,
            config,
            stages=wanted,
            retry_quarantined=retry_quarantined,
            registry=registry,
            executor=executor,
        )
        if begun.run is None:
            retired = retire(workspace, (*begun.plan.obsolete, *begun.plan.spent))
            return Detached(plan=begun.plan, run=None, job=None, retired=retired)
        begun.run.close()
        folder = begun.run.folder
        n_tasks = begun.plan.tasks.num_rows + n_attempts(workspace)
        scope = Scope(stages=wanted, config=config, n_tasks=n_tasks, since=time.time())
        before = _scope_path(folder).read_text(encoding="utf-8") if is_detached(folder) else None
        scope.write(folder)
        _stopped_path(folder).unlink(missing_ok=True)
        try:
            job = _submit_tick(folder, scope, SlurmClient.of(config.slurm), begin_s=None)
        except BaseException:
            if before is None:
                _scope_path(folder).unlink()  # it does not drive itself
            else:  # the chain that was there goes on as it was
                write_text(_scope_path(folder), before)
            raise
        return Detached(plan=begun.plan, run=folder.id, job=job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What ticks need to know of a run beyond its plan."""

    stages: list[str] | None
    """Those that were asked for."""
    config: Config
    """That of whoever detached it: the site may have changed since the run was begun."""
    n_tasks: int
    """Of its plan and of the history."""
    since: float
    """When it was detached, seconds since 1970: what went wrong before is forgiven."""

    def write(self, folder: RunFolder) -> None:
        """Keep it beside the plan."""
        values = {
            "stages": self.stages,
            "config": self.config.model_dump(mode="json"),
            "n_tasks": self.n_tasks,
            "since": self.since,
        }
        write_text(_scope_path(folder), canonical_json(values))

    @classmethod
    def read(cls, folder: RunFolder) -> Scope:
        """That of a detached run."""
        values = json.loads(_scope_path(folder).read_bytes())
        return cls(**{**values, "config": Config.model_validate(values["config"])})


def is_detached(folder: RunFolder) -> bool:
    """Whether a run was handed to a chain of ticks that has not given up."""
    return _scope_path(folder).is_file() and why_stopped(folder) is None


def take_over(folder: RunFolder) -> None:
    """Drive a run in the foreground, whoever drove it before.

    A chain of ticks that is alive finds the driver at work, and goes on after it if it is interrupted; one that gave
    up is over.
    """
    if is_detached(folder):
        get_logger("driver").info("takes over a run that drove itself", run=folder.id)
    else:  # the chain first: without it nobody asks why it stopped
        _scope_path(folder).unlink(missing_ok=True)
        _stopped_path(folder).unlink(missing_ok=True)


def why_stopped(folder: RunFolder) -> str | None:
    """Why a detached run stopped before its end, if it did."""
    try:
        return _stopped_path(folder).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def tick(folder: RunFolder) -> None:
    """Submit the next tick and advance the run once; at its end, put the workspace in order.

    Where Slurm does not take the next tick, this one goes on in its place as long as it can.

    Raises
    ------
    S4cError
        If the run cannot go on; the reason stands where ``s4c status`` finds it, and no tick follows.
    """
    if not is_detached(folder) or latest_run(folder.workspace) != folder:
        return  # given up, or overtaken by a person or a newer run
    try:
        _drive(folder, Scope.read(folder))
    except S4cError as error:
        give_up(folder, str(error))
        raise
    except Exception as error:
        give_up(folder, f"a tick broke down: {type(error).__name__}: {error}; see {_log_folder(folder)}")
        raise


def _drive(folder: RunFolder, scope: Scope) -> None:
    stand_in_s = STAND_IN_SHARE * _tick_walltime_s(folder, scope)
    until = time.monotonic() + stand_in_s
    trouble = _submit_successor(folder, scope)
    while not _advance_patiently(folder, scope) and trouble is not None:
        if time.monotonic() > until:
            raise SchedulerError(
                f"Slurm has not taken the next tick for {human_seconds(stand_in_s)}: {trouble}",
                where=str(folder.root),
                hint="jobs in the queue go on; 's4c run --detach' goes on from here",
            )
        time.sleep(scope.config.slurm.tick_s)
        trouble = _submit_successor(folder, scope)


def _advance_patiently(folder: RunFolder, scope: Scope) -> bool:
    """Advance the run once, or find that this is not possible now; whether nothing is left to do."""
    for n_before in range(FILE_TRIES):
        try:
            with lease(folder.workspace):
                return _advance_once(folder, scope)
        except DriverAtWork as error:  # a person's 's4c run', which has told that it takes over
            get_logger("tick").info("left to the driver at work", run=folder.id, reason=error.what)
            return False
        except TemporaryError as error:  # Slurm does not answer: the next tick sees
            get_logger("tick").warning("nothing was done", run=folder.id, reason=str(error))
            return False
        except OSError as error:  # a network file system that is away for a moment
            get_logger("tick").warning("files cannot be used", run=folder.id, reason=str(error))
            if n_before + 1 == FILE_TRIES or is_disk_full(error):
                raise
            time.sleep(FILE_PAUSE_S)
    raise AssertionError  # the last try returns or raises


def _advance_once(folder: RunFolder, scope: Scope) -> bool:
    """Whether that was the last step."""
    workspace, config = folder.workspace, scope.config
    run = Run(folder, config.execute.max_attempts)
    run.losses = Losses(since=scope.since)
    try:
        with executor_of(config)(folder, config) as executor:
            progress = advance(run, executor)
            if folded_s_ago(workspace) > FOLD_INTERVAL_S:
                update_state(workspace)
            if scope.stages is None and config.retention.spent_stages and _is_time_to_retire(folder):
                retire_spent(folder, run.board, config.retention.spent_stages)
            MetricsFile(config).advanced(run)
            stopped_by = run.board.stopped_by
            if not progress.is_settled and stopped_by is None:
                return False
            stop_attempts(run, executor)
    except OSError as error:
        if not is_disk_full(error):
            raise
        give_up(folder, str(disk_full(workspace, "the driver cannot write", bytes_left(run.board))))
        return True
    finally:
        run.close()
    update_state(workspace)
    MetricsFile(config).advanced(run)
    shutil.rmtree(folder.scratch, ignore_errors=True)
    if stopped_by is not None:
        give_up(folder, str(disk_full(workspace, stopped_by.reason, bytes_left(run.board))))
    else:
        now = current_plan(workspace, config, stages=scope.stages)
        retire(workspace, (*now.obsolete, *now.spent))
        _cancel_ticks(folder, config)
    return True


def _is_time_to_retire(folder: RunFolder) -> bool:
    """Whether no tick has removed anything for a while; whoever asks is taken to do so now."""
    stamp = folder.root / "retired.stamp"
    try:
        if time.time() - stamp.stat().st_mtime < RETIRE_INTERVAL_S:
            return False
    except FileNotFoundError:
        pass
    stamp.touch()
    return True


def _submit_successor(folder: RunFolder, scope: Scope) -> str | None:
    """Have a next tick in the queue, unless there is one; why there is none, if so."""
    client = SlurmClient.of(scope.config.slurm)
    own = own_job()
    try:
        if not has_successor(_ticks(folder, client), own):
            _submit_tick(folder, scope, client, begin_s=scope.config.slurm.tick_s)
    except TemporaryError as error:
        get_logger("tick").warning("the next tick is not submitted yet", run=folder.id, reason=str(error))
        return str(error)
    return None


def _submit_tick(folder: RunFolder, scope: Scope, client: SlurmClient, *, begin_s: int | None) -> int:
    site = scope.config.slurm
    logs = _log_folder(folder)
    logs.mkdir(parents=True, exist_ok=True)
    job = JobSpec(
        name=tick_name(folder),
        comment=folder.id,
        words=("-m", "s4c_hpc.execute.tick", str(folder.root)),
        output=log_pattern(logs, "tick.log"),
        workdir=str(folder.workspace.root),
        cpus=1,
        mem_bytes=TICK_BYTES + TICK_BYTES_PER_TASK * scope.n_tasks,
        walltime_s=_tick_walltime_s(folder, scope),
        qos=site.qos,
        partition=site.partition,
        account=site.account,
        begin_s=begin_s,
        singleton=True,
        requeue=True,  # killed before it has submitted its successor, it would be the last
    )
    return client.submit(batch_script(job, site, python=site.launch.python or sys.executable))


def _tick_walltime_s(folder: RunFolder, scope: Scope) -> int:
    cluster, minutes = known_cluster(folder), scope.config.slurm.max_minutes
    longest_s = [None if cluster is None else cluster.most.walltime_s, None if minutes is None else minutes * 60]
    return min([TICK_WALLTIME_S, *(s for s in longest_s if s is not None)])


def give_up(folder: RunFolder, why: str) -> None:
    """End the chain of ticks, and keep the reason for ``s4c status``."""
    try:
        write_text(_stopped_path(folder), why)
    finally:  # on a full disk as well
        _cancel_ticks(folder, folder.frozen_config())


def _cancel_ticks(folder: RunFolder, config: Config) -> None:
    """Cancel the successors; this very tick goes on to its end."""
    own = own_job()
    client = SlurmClient.of(config.slurm)
    with contextlib.suppress(TemporaryError, SchedulerError):  # else they find out for themselves
        client.cancel(sorted({row.job_id for row in _ticks(folder, client)} - {own}))


def has_successor(ticks: Iterable[QueueRow], own: int | None) -> bool:
    """Whether a tick is in the queue that will go on after job ``own``; one that is about to leave it will not.

    Slurm starts a ``singleton`` while the one before it is still COMPLETING (an epilog that takes its time).
    """
    return any(row.job_id != own and not row.state.startswith("COMPLETING") for row in ticks)


def _ticks(folder: RunFolder, client: SlurmClient) -> list[QueueRow]:
    return [row for row in client.queue(names_start=tick_name(folder)) if row.name == tick_name(folder)]


def _log_folder(folder: RunFolder) -> Path:
    return folder.root / "logs" / "tick"


def _scope_path(folder: RunFolder) -> Path:
    return folder.root / "detached.json"


def _stopped_path(folder: RunFolder) -> Path:
    return folder.root / "stopped.txt"
