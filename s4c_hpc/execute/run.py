"""From a configuration to finished outputs: plan, write the plan, advance until everything is settled."""

from __future__ import annotations

import contextlib
import errno
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

import numpy as np

from s4c_hpc.config import Config
from s4c_hpc.core.errors import ExitCode, SchedulerError, TemporaryError
from s4c_hpc.core.stage import Stage
from s4c_hpc.core.text import human_bytes
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import Executor, Run, advance
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.journal import Kind
from s4c_hpc.execute.lease import lease
from s4c_hpc.execute.local import local_executor
from s4c_hpc.execute.progress import Progress
from s4c_hpc.execute.retire import retire
from s4c_hpc.execute.state import fold_journals
from s4c_hpc.execute.status import RunStatus, describe
from s4c_hpc.plan import Plan, RunFolder, is_run_id, judge_again, latest_run, make_plan, new_run_id

TICK_S = 0.25
"""Longest pause between two looks at the journals."""
FOLD_INTERVAL_S = 60.0
"""Pause between two folds into ``state/``: what other commands read while a run is on."""

ExecutorFactory = Callable[[RunFolder, Config], contextlib.AbstractContextManager[Executor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run that has come to its end."""

    plan: Plan
    status: RunStatus | None
    """``None`` if there was nothing to do and so no run."""
    retired: tuple[str, ...]
    """Workspace-relative files that were removed, since this configuration no longer makes them."""

    @property
    def exit_code(self) -> ExitCode:
        """``PARTIAL`` if any task of the plan has no result, from this run or an earlier one."""
        if self.status is None:
            return ExitCode.PARTIAL if self.plan.total.quarantined or self.plan.total.blocked else ExitCode.OK
        return ExitCode.PARTIAL if self.status.problems else ExitCode.OK


def current_plan(
    workspace: Workspace,
    config: Config,
    *,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
) -> Plan:
    """What would run and why, as of now; see ``plan.make_plan``."""
    fold_journals(workspace)
    return make_plan(workspace, config, stages=stages, retry_quarantined=retry_quarantined, registry=registry)


def run(
    workspace: Workspace,
    config: Config,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
    executor: ExecutorFactory = local_executor,
) -> RunResult:
    """Bring the workspace up to date, then remove the deliverables that the plan no longer makes.

    A run of some ``stages`` only removes nothing, nor does one that ends in an error.

    Parameters
    ----------
    on_progress : called in this thread a few times a second
    stages : bring only these stages up to date, and what they need
    retry_quarantined : also try tasks again that were given up
    registry : stages to plan with; the installed ones by default
    executor : where to run: makes the executor of one run

    Raises
    ------
    TemporaryError
        Another driver is at work, the disk is full, or SIGINT or SIGTERM came: run again to continue.
    ConfigError
        The plan is over the site's quota.
    NoInputsError
        There is nothing to plan.
    SchedulerError
        The executor does not work.
    """
    with _stop_signals() as stop, lease(workspace):
        _clean_up(workspace)
        plan = current_plan(workspace, config, stages=stages, retry_quarantined=retry_quarantined, registry=registry)
        if plan.is_up_to_date:
            return RunResult(plan=plan, status=None, retired=retire(workspace, plan.obsolete))
        if stop:
            raise _stopped(workspace, stop[0], "nothing was begun")
        plan.check_space()
        newest = latest_run(workspace)
        with _telling_of_full_disk(workspace, lambda: plan.total.bytes_out):
            folder = plan.write(workspace.runs / new_run_id(newest.id if newest else None))
            state = Run(folder, config.execute.max_attempts)
        with _telling_of_full_disk(workspace, lambda: _bytes_left(state.board)):
            status = _drive(state, config, executor, on_progress, stop)
            retired = retire(workspace, judge_again(plan, registry).obsolete)
        return RunResult(plan=plan, status=status, retired=retired)


def _drive(
    run: Run,
    config: Config,
    make_executor: ExecutorFactory,
    on_progress: Callable[[Progress], None] | None,
    stop: list[int],
) -> RunStatus:
    folder, board, workspace = run.folder, run.board, run.folder.workspace
    slots = 1
    try:
        with make_executor(folder, config) as executor:
            slots = executor.slots
            folded = time.monotonic()
            while not stop:
                progress = advance(run, executor)
                if on_progress is not None:
                    on_progress(progress)
                if progress.is_settled or run.board.stopped_by is not None:
                    break
                if time.monotonic() - folded > FOLD_INTERVAL_S:
                    fold_journals(workspace)
                    folded = time.monotonic()
                executor.wait(TICK_S)
            executor.cancel()
            run.refresh()
            for attempt in list(run.open):
                run.close_attempt(attempt, Kind.CANCELLED, "stopped before it was done")
    except SchedulerError as error:
        if stop:  # the signal reached the workers as well: that they do not start is its doing
            raise _stopped(workspace, stop[0], _how_far(board)) from error
        raise
    finally:
        run.close()
        shutil.rmtree(folder.scratch, ignore_errors=True)
    fold_journals(workspace)
    if board.stopped_by is not None:
        raise _disk_full(workspace, board.stopped_by.reason, _bytes_left(board))
    if stop and not board.is_settled:
        raise _stopped(workspace, stop[0], _how_far(board))
    return describe(folder.id, board, None, slots=slots)


def _how_far(board: Board) -> str:
    return f"{board.count(State.DONE)} of {board.tasks.num_rows} tasks are done"


def _bytes_left(board: Board) -> int:
    """Predicted size of what is not written yet."""
    left = (board.state < State.DONE) & board.planned_todo
    return int(np.asarray(board.tasks["bytes_out"])[left].sum())


@contextlib.contextmanager
def _telling_of_full_disk(workspace: Workspace, bytes_left: Callable[[], int]) -> Iterator[None]:
    """Turn the system's error of a full disk into one that says how much room is needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _disk_full(workspace, "the driver cannot write", bytes_left()) from error


def _stopped(workspace: Workspace, number: int, how_far: str) -> TemporaryError:
    return TemporaryError(
        f"stopped by {signal.Signals(number).name}: {how_far}",
        where=str(workspace.root),
        hint="nothing is lost, 's4c run' goes on from here",
    )


def _disk_full(workspace: Workspace, what: str, needed_bytes: int) -> TemporaryError:
    free = shutil.disk_usage(workspace.root).free
    return TemporaryError(
        f"the disk is full ({what}): {human_bytes(needed_bytes)} are still to be written, {human_bytes(free)} is free",
        where=str(workspace.root),
        hint=f"free at least {human_bytes(max(needed_bytes - free, 0))} and run again",
    )


def _clean_up(workspace: Workspace) -> None:
    """Remove what killed drivers and workers left: with the lease held, nobody is at work on it.

    Other folders beside those of runs belong to commands that need no lease and may be at work now.
    """
    for scratch in workspace.temporary.glob("*"):
        if is_run_id(scratch.name):
            shutil.rmtree(scratch, ignore_errors=True)
    newest = latest_run(workspace)
    manifests = newest.manifests.glob(".*.tmp") if newest else ()
    for draft in (*workspace.state.glob(".*.tmp"), *workspace.runs.glob(".*.tmp"), *manifests):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM while the context lasts; the second SIGINT interrupts at once.

    In a thread that may not handle signals the list stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
