"""From a configuration to finished outputs: plan, write the plan, advance until everything is settled."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

from s4c_hpc.config import Config
from s4c_hpc.core.errors import ExitCode, SchedulerError, TemporaryError
from s4c_hpc.core.stage import Stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import Executor, Run, advance
from s4c_hpc.execute.begin import (
    ExecutorFactory,
    begin,
    bytes_left,
    disk_full,
    executor_of,
    stop_attempts,
    telling_of_full_disk,
)
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.detach import take_over
from s4c_hpc.execute.lease import lease
from s4c_hpc.execute.metrics import MetricsFile
from s4c_hpc.execute.progress import Progress
from s4c_hpc.execute.retire import retire, retire_spent
from s4c_hpc.execute.state import update_state
from s4c_hpc.execute.status import RunStatus, describe
from s4c_hpc.plan import Plan, judge_again

TICK_S = 0.25
"""Longest pause between two looks at the journals."""
FOLD_INTERVAL_S = 60.0
"""Pause between two folds into ``state/``: what other commands read while a run is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run that has come to its end."""

    plan: Plan
    status: RunStatus | None
    """``None`` if there was nothing to do and so no run."""
    retired: tuple[str, ...]
    """Workspace-relative files that were removed, since this configuration no longer makes them."""
    spent: tuple[str, ...] = ()
    """The same of files that nothing reads any more, where ``[retention]`` says so; at the end of the run."""

    @property
    def exit_code(self) -> ExitCode:
        """``PARTIAL`` if any task of the plan has no result, from this run or an earlier one."""
        if self.status is None:
            return ExitCode.PARTIAL if self.plan.total.quarantined or self.plan.total.blocked else ExitCode.OK
        return ExitCode.PARTIAL if self.status.problems else ExitCode.OK


def run(
    workspace: Workspace,
    config: Config,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    stages: Iterable[str] | None = None,
    retry_quarantined: bool = False,
    registry: Mapping[str, Stage] | None = None,
    executor: ExecutorFactory | None = None,
) -> RunResult:
    """Bring the workspace up to date, then remove the deliverables that the plan no longer makes, and what is spent.

    A run of some ``stages`` only removes nothing, nor does one that ends in an error. A run whose jobs live on
    without a driver is taken over, if it is still what is wanted; else its jobs are cancelled first.

    Parameters
    ----------
    on_progress : called in this thread a few times a second
    stages : bring only these stages up to date, and what they need
    retry_quarantined : also try tasks again that were given up
    registry : stages to plan with; the installed ones by default
    executor : where to run: makes the executor of one run; by default what ``execute.executor`` says

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
    stages = None if stages is None else list(stages)
    with stop_signals() as stop, lease(workspace):
        begun = begin(
            workspace,
            config,
            stages=stages,
            retry_quarantined=retry_quarantined,
            registry=registry,
            executor=executor,
            stopped=lambda: _raise_if_stopped(workspace, stop),
        )
        if begun.run is None:
            return _tidied(begun.plan, begun.plan, None)
        take_over(begun.run.folder)
        with telling_of_full_disk(workspace, lambda: bytes_left(begun.board)):
            spent_stages = config.retention.spent_stages if begun.plan.is_whole else frozenset()
            status = _drive(begun.run, config, executor or executor_of(config), on_progress, stop, spent_stages)
            return _tidied(begun.plan, judge_again(begun.plan, registry), status)


def _tidied(plan: Plan, now: Plan, status: RunStatus | None) -> RunResult:
    """The end of a run, which removes what nobody wants ``now``."""
    workspace = plan.workspace
    return RunResult(
        plan=plan, status=status, retired=retire(workspace, now.obsolete), spent=retire(workspace, now.spent)
    )


def _drive(
    run: Run,
    config: Config,
    make_executor: ExecutorFactory,
    on_progress: Callable[[Progress], None] | None,
    stop: list[int],
    spent_stages: frozenset[str],
) -> RunStatus:
    folder, board, workspace = run.folder, run.board, run.folder.workspace
    metrics, lives_on = MetricsFile(config), False
    try:
        with make_executor(folder, config) as executor:
            lives_on = executor.outlives_driver  # also if the next line raises
            ended = _advance_to_the_end(run, executor, on_progress, stop, metrics, spent_stages)
            lives_on = not ended and lives_on
            if not lives_on:
                stop_attempts(run, executor)
    except SchedulerError as error:
        if stop:  # the signal reached the workers as well: that they do not start is its doing
            raise stopped(workspace, stop[0], _how_far(board)) from error
        raise
    finally:
        run.close()
        if not lives_on:
            shutil.rmtree(folder.scratch, ignore_errors=True)
    update_state(workspace)
    metrics.advanced(run, is_last=True)
    if board.stopped_by is not None:
        raise disk_full(workspace, board.stopped_by.reason, bytes_left(board))
    if stop and not board.is_settled:
        raise stopped(workspace, stop[0], _how_far(board), jobs=len(run.open) if lives_on else 0)
    return describe(folder, board, run.open, None, run.clock, executor=config.execute.executor)


def _advance_to_the_end(
    run: Run,
    executor: Executor,
    on_progress: Callable[[Progress], None] | None,
    stop: list[int],
    metrics: MetricsFile,
    spent_stages: frozenset[str],
) -> bool:
    """Advance until nothing is left to do (``True``) or a signal came."""
    folded = time.monotonic()
    while not stop:
        progress = advance(run, executor)
        if on_progress is not None:
            on_progress(progress)
        metrics.advanced(run)
        if progress.is_settled or run.board.stopped_by is not None:
            return True
        if time.monotonic() - folded > FOLD_INTERVAL_S:
            update_state(run.folder.workspace)
            retire_spent(run.folder, run.board, spent_stages)
            folded = time.monotonic()
        _pause(executor, stop)
    return False


def _pause(executor: Executor, stop: list[int]) -> None:
    """Wait until it is time to look again, something ended, or a signal came."""
    until = time.monotonic() + executor.poll_s
    while not stop and time.monotonic() < until:
        if executor.wait(min(TICK_S, executor.poll_s)):
            return


def _how_far(board: Board) -> str:
    return f"{board.count(State.DONE)} of {board.tasks.num_rows} tasks are done"


def stopped(workspace: Workspace, number: int, how_far: str, *, jobs: int = 0) -> TemporaryError:
    """The error that tells of a signal.

    Parameters
    ----------
    jobs : that go on in a queue
    """
    hint = "nothing is lost, 's4c run' goes on from here"
    if jobs:
        hint = f"{jobs} jobs stay in the queue: 's4c run' takes them over, 's4c cancel' stops them"
    return TemporaryError(f"stopped by {signal.Signals(number).name}: {how_far}", where=str(workspace.root), hint=hint)


def _raise_if_stopped(workspace: Workspace, stop: list[int]) -> None:
    if stop:
        raise stopped(workspace, stop[0], "nothing was begun")


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
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
