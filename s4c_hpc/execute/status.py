"""Where a workspace's last run stands, also while another process drives it."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from s4c_hpc.config import Config
from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.core.log import get_logger
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import Run
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.lease import Owner, current_owner
from s4c_hpc.execute.progress import Progress
from s4c_hpc.plan import run_folders, worker_count

CANCEL_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """Tasks of one stage on one tile, by state; those done by earlier runs are in ``done``."""

    stage: str
    tile: str
    done: int
    running: int
    waiting: int
    """Handed out or not; see ``RunStatus.waiting``."""
    failed: int
    quarantined: int
    blocked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A task that ended without a result."""

    id: str
    name: str
    """``stage tile subject``."""
    state: str
    """``failed``, ``quarantined`` or ``blocked``."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task that a worker is at."""

    id: str
    name: str
    """``stage tile subject``."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run in detail."""

    run: str
    owner: Owner | None
    """Its driver, or ``None`` if it is over (or was interrupted: then not everything is settled)."""
    progress: Progress
    lines: tuple[StatusLine, ...]
    """By stage in their order, then by tile."""
    waiting: dict[str, int]
    """Why tasks wait -> how many do."""
    running: tuple[RunningTask, ...]
    """Tasks that are running, in the order of the plan."""
    problems: tuple[Problem, ...]
    """Tasks that ended without a result, in the order of the plan, from this run or an earlier one."""

    @property
    def is_active(self) -> bool:
        """Whether a driver is at work."""
        return self.owner is not None

    @property
    def state(self) -> str:
        """``running``; ``complete`` when everything is settled; else ``interrupted``, with something left to do."""
        if self.is_active:
            return "running"
        return "complete" if self.progress.is_settled else "interrupted"

    def to_json(self) -> dict[str, Any]:
        """The status as values for ``json.dumps``; keys are stable."""
        return {"format": 1, "active": self.is_active, "state": self.state, **asdict(self)}


def status(workspace: Workspace) -> RunStatus | None:
    """The last run of a workspace, or ``None`` if there was none; changes nothing."""
    owner = current_owner(workspace)  # before the journals: a run that ends meanwhile is then seen settled
    for folder in reversed(run_folders(workspace)):
        config = Config.model_validate(json.loads(folder.config.read_bytes()))
        try:
            run = Run(folder, config.execute.max_attempts)
            break
        except pa.ArrowInvalid as error:
            get_logger("status").warning(
                "run passed over: its plan is damaged", run=str(folder.root), reason=str(error)
            )
    else:
        return None
    run.refresh()
    if owner is None:
        for attempt in run.open:
            run.board.ended(attempt)
    return describe(folder.id, run.board, owner, slots=worker_count(config))


def describe(run_id: str, board: Board, owner: Owner | None, *, slots: int) -> RunStatus:
    """A board in words."""
    names = {State.FAILED: "failed", State.QUARANTINED: "quarantined", State.BLOCKED: "blocked"}
    ids = board.tasks["id"]
    problems = tuple(
        Problem(
            id=ids[int(row)].as_py(),
            name=board.name(int(row)),
            state=names[State(board.state[row])],
            reason=board.reasons.get(int(row), ""),
        )
        for row in np.flatnonzero(board.state > State.DONE)
    )
    return RunStatus(
        run=run_id,
        owner=owner,
        progress=Progress.of(board, slots),
        lines=tuple(_lines(board)),
        waiting=_waiting(board),
        running=tuple(
            RunningTask(id=ids[int(row)].as_py(), name=board.name(int(row)))
            for row in np.flatnonzero(board.state == State.RUNNING)
        ),
        problems=problems,
    )


def cancel(workspace: Workspace) -> Owner | None:
    """Stop the driver of a workspace and wait until it has gone; ``None`` if there was none.

    Raises
    ------
    SchedulerError
        If the driver is on another machine, is someone else's, or does not stop.
    """
    owner = current_owner(workspace)
    if owner is None:
        return None
    if not owner.is_here:
        raise SchedulerError(
            f"the driver is not a process of this machine: {owner}",
            where=str(workspace.root),
            hint=f"run 's4c cancel' on {owner.host}",
        )
    try:
        os.kill(owner.pid, signal.SIGTERM)
    except ProcessLookupError:
        return owner  # it ended by itself just now
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
    return owner


def _lines(board: Board) -> list[StatusLine]:
    tile = pa.concat_arrays(board.tasks["tile"].cast(pa.string()).chunks).dictionary_encode()
    tiles = tile.dictionary.to_pylist()
    keys = board.stage_code.astype(np.int64) * len(tiles) + np.asarray(tile.indices)
    table = np.zeros((len(board.stage_names) * len(tiles), len(State)), dtype=np.int64)
    np.add.at(table, (keys, board.state), 1)
    stages = list(dict.fromkeys(board.stage_code.tolist()))
    lines = []
    for stage in stages:
        for i, name in sorted(enumerate(tiles), key=lambda pair: str(pair[1])):
            counts = table[stage * len(tiles) + i]
            if counts.any():
                lines.append(
                    StatusLine(
                        stage=board.stage_names[stage],
                        tile=name,
                        done=int(counts[State.DONE]),
                        running=int(counts[State.RUNNING]),
                        waiting=int(counts[State.WAITING] + counts[State.SUBMITTED]),
                        failed=int(counts[State.FAILED]),
                        quarantined=int(counts[State.QUARANTINED]),
                        blocked=int(counts[State.BLOCKED]),
                    )
                )
    return lines


def _waiting(board: Board) -> dict[str, int]:
    waiting = board.state == State.WAITING
    upstream = waiting & board.graph.any_needed(board.state < State.DONE)
    paused = waiting & ~upstream & (board.not_before > time.time())
    counts = {
        "for other tasks": int(upstream.sum()),
        "for a pause after a temporary failure": int(paused.sum()),
        "for a free core or memory": int((waiting & ~upstream & ~paused).sum()),
        "for a worker to begin": board.count(State.SUBMITTED),
    }
    return {reason: count for reason, count in counts.items() if count}
