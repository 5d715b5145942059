"""Stop the run of a workspace: its driver, and its jobs if they live on without one."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass

import psutil

from s4c_hpc.core.errors import SchedulerError, TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import End
from s4c_hpc.execute.begin import executor_of, left_behind, stop_attempts
from s4c_hpc.execute.detach import give_up, is_detached
from s4c_hpc.execute.glance import look_at
from s4c_hpc.execute.journal import Kind
from s4c_hpc.execute.lease import Owner, current_owner, lease
from s4c_hpc.execute.state import update_state
from s4c_hpc.execute.submissions import never_submitted
from s4c_hpc.plan import RunFolder, latest_run

CANCEL_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What was stopped."""

    owner: Owner | None
    """The driver."""
    attempts: int
    """Jobs, or array elements, that were taken out of the queue."""
    detached: bool
    """Whether a run was that drove itself."""

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was at work."""
        return self.owner is None and not self.attempts and not self.detached


def cancel(workspace: Workspace, *, forget: bool = False) -> Cancelled:
    """Stop what is at work for a workspace and wait until it has gone; what is done stays done.

    Parameters
    ----------
    forget : jobs of a cluster that is gone for good are given up unasked; should one be at work after all, its
        results are discarded as those of a twin

    Raises
    ------
    SchedulerError
        If the driver is on another machine, is someone else's, or does not stop; if jobs do not end.
    """
    newest = latest_run(workspace)
    detached = newest is not None and is_detached(newest)
    if newest is not None and detached:
        if _is_settled(newest):  # its last tick puts the workspace in order
            return Cancelled(owner=None, attempts=0, detached=False)
        give_up(newest, "cancelled by 's4c cancel'")  # no further tick
    owner = current_owner(workspace)
    if detached and owner is not None and not owner.is_here:
        _wait_for_tick(workspace)
    elif owner is not None:
        _stop_driver(workspace, owner)
    with lease(workspace):
        left = left_behind(workspace)
        if left is None:
            return Cancelled(owner=owner, attempts=0, detached=detached)
        n_open = len(left.open.keys() - never_submitted(left.folder, left.open))
        config = left.folder.frozen_config()
        if forget:
            for attempt in list(left.open):
                left.close_attempt(attempt, End(kind=Kind.CANCELLED, what="given up by a person", may_live=True))
        else:
            with executor_of(config)(left.folder, config) as executor:
                stop_attempts(left, executor)
        left.close()
        if not forget:
            shutil.rmtree(left.folder.scratch, ignore_errors=True)
    update_state(workspace)
    return Cancelled(owner=owner, attempts=n_open, detached=detached)


def _is_settled(run: RunFolder) -> bool:
    return look_at(run, run.frozen_config().execute.max_attempts).board.is_settled


def _wait_for_tick(workspace: Workspace) -> None:
    deadline = time.monotonic() + CANCEL_TIMEOUT_S
    while (owner := current_owner(workspace)) is not None:
        if time.monotonic() > deadline:
            raise TemporaryError(
                f"a driver is still at work: {owner}", where=str(workspace.root), hint="cancel again when it has ended"
            )
        time.sleep(0.1)


def _stop_driver(workspace: Workspace, owner: Owner) -> None:
    if not owner.is_here:
        raise SchedulerError(
            f"the driver is not a process of this machine: {owner}",
            where=str(workspace.root),
            hint=f"run 's4c cancel' on {owner.host}"
            if owner.job is None
            else f"'scancel {owner.job}' ends it; then give 's4c cancel' again",
        )
    try:
        os.kill(owner.pid, signal.SIGTERM)
        os.kill(owner.pid, signal.SIGCONT)  # one that is held (Ctrl-Z) would not hear it
    except ProcessLookupError:
        return  # it ended by itself just now
    except PermissionError as error:
        user = psutil.Process(owner.pid).username()
        raise SchedulerError(
            f"the driver, process {owner.pid}, belongs to {user}: it cannot be stopped by others",
            where=str(workspace.root),
            hint=f"ask {user} to run 's4c cancel', or wait for it ('s4c status')",
        ) from error
    deadline = time.monotonic() + CANCEL_TIMEOUT_S
    while current_owner(workspace) == owner:
        if time.monotonic() > deadline:
            raise SchedulerError(
                f"the driver does not stop within {CANCEL_TIMEOUT_S:g} s: {owner}",
                where=str(workspace.root),
                hint=f"'kill -9 {owner.pid}' is safe: the next 's4c run' goes on where it was",
            )
        time.sleep(0.1)
