"""Where a workspace's last run stands, also while another process drives it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from s4c_hpc.core.log import get_logger
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.clock import Clock
from s4c_hpc.execute.glance import Glance, look_at, n_unsettled
from s4c_hpc.execute.lease import Owner, current_owner
from s4c_hpc.execute.manifest import Chunk
from s4c_hpc.execute.progress import Progress
from s4c_hpc.execute.queue_status import QueueStatus, queue_status
from s4c_hpc.execute.self_drive import SelfDrive, self_drive
from s4c_hpc.execute.status_lines import StatusLine, stage_lines, status_lines
from s4c_hpc.execute.submissions import never_submitted
from s4c_hpc.plan import RunFolder, Span, run_folders

_LOCAL_WORDS = ("for a free core or memory", "for a worker to begin")
_SLURM_WORDS = ("to be put into the queue", "in the queue")
"""What tasks wait for that could run, and those that were handed out."""


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
    executor: str
    """``local`` or ``slurm``."""
    owner: Owner | None
    """The process that drives it now, or ``None``: it is over, was interrupted, or is between two ticks."""
    self_drive: SelfDrive | None
    """How its chain of ticks is, if it was handed to one (``--detach``)."""
    n_open: int
    """Chunks that are in the queue or at work; on Slurm these are array elements."""
    progress: Progress
    left: Span | None
    """Time left with its interval, in seconds; ``None`` as long as nobody knows what it runs on."""
    lines: tuple[StatusLine, ...]
    """By stage in their order, then by tile."""
    waiting: dict[str, int]
    """Why tasks wait -> how many do."""
    queue: QueueStatus | None
    """What the driver last saw in the queue of the cluster."""
    running: tuple[RunningTask, ...]
    """Tasks that are running, in the order of the plan."""
    problems: tuple[Problem, ...]
    """Tasks that ended without a result, in the order of the plan, from this run or an earlier one."""
    t: float
    """When this was so, seconds since 1970."""

    @property
    def is_active(self) -> bool:
        """Whether a driver is at work at this moment."""
        return self.owner is not None

    @property
    def state(self) -> str:
        """In a word.

        ``running`` (with a driver, or by ticks); ``complete`` when everything is settled; else ``stopped`` (its ticks
        gave up), ``stalled`` (its ticks are overdue) or ``interrupted``, with something left to do.
        """
        if self.is_active:
            return "running"
        if self.progress.is_settled:
            return "complete"
        return "interrupted" if self.self_drive is None else self.self_drive.state

    @property
    def stages(self) -> tuple[StatusLine, ...]:
        """Totals of each stage, in their order; the tile is empty."""
        return stage_lines(self.lines)

    def to_json(self) -> dict[str, Any]:
        """The status as values for ``json.dumps``; keys are stable, see the fields."""
        stages = [{key: value for key, value in asdict(line).items() if key != "tile"} for line in self.stages]
        return {"format": 1, "active": self.is_active, "state": self.state, "stages": stages, **asdict(self)}


def status(workspace: Workspace) -> RunStatus | None:
    """The last run of a workspace, or ``None`` if there was none; changes nothing, and asks no scheduler."""
    owner = current_owner(workspace)  # before the journals: a run that ends meanwhile is then seen settled
    for folder in reversed(run_folders(workspace)):
        config = folder.frozen_config()
        try:
            seen = look_at(folder, config.execute.max_attempts)
            break
        except pa.ArrowInvalid as error:
            get_logger("status").warning(
                "run passed over: its plan is damaged", run=str(folder.root), reason=str(error)
            )
    else:
        return None
    gone: Collection[str] = ()
    if config.execute.executor != "local":  # jobs live on without a driver
        gone = never_submitted(folder, seen.open)
    elif owner is None:  # its workers died with it
        gone = seen.open
    for attempt in gone:
        seen.board.ended(attempt)
    still = {attempt: chunk for attempt, chunk in seen.open.items() if attempt not in gone}
    seen = Glance(board=seen.board, open=still)
    return describe(folder, seen.board, seen.open, owner, Clock(folder, seen.board), executor=config.execute.executor)


def describe(
    folder: RunFolder, board: Board, chunks: Mapping[str, Chunk], owner: Owner | None, clock: Clock, *, executor: str
) -> RunStatus:
    """A board in words.

    Parameters
    ----------
    chunks : attempts that nobody has closed
    """
    names = {State.FAILED: "failed", State.QUARANTINED: "quarantined", State.BLOCKED: "blocked"}
    left = clock.left()
    without = np.flatnonzero(board.state > State.DONE)
    at_work = np.flatnonzero(board.state == State.RUNNING)
    is_slurm = executor == "slurm"
    return RunStatus(
        run=folder.id,
        executor=executor,
        owner=owner,
        self_drive=self_drive(folder) if is_slurm else None,
        n_open=sum(n_unsettled(board, chunk) > 0 for chunk in chunks.values()),
        progress=Progress.of(board, left),
        left=left,
        lines=tuple(status_lines(board)),
        waiting=_waiting(board, *_SLURM_WORDS if is_slurm else _LOCAL_WORDS),
        queue=queue_status(folder) if is_slurm else None,
        running=tuple(
            RunningTask(id=key, name=name) for key, name in zip(*_ids_and_names(board, at_work), strict=True)
        ),
        problems=tuple(
            Problem(id=key, name=name, state=names[State(board.state[row])], reason=board.reasons.get(row, ""))
            for row, key, name in zip(without.tolist(), *_ids_and_names(board, without), strict=True)
        ),
        t=time.time(),
    )


def _ids_and_names(board: Board, rows: npt.NDArray[np.int64]) -> tuple[list[str], Iterable[str]]:
    some = board.tasks.select(["id", "stage", "tile", "subject"]).take(pa.array(rows))
    parts = zip(*(some[name].to_pylist() for name in ("stage", "tile", "subject")), strict=True)
    return some["id"].to_pylist(), map(" ".join, parts)


def _waiting(board: Board, ready: str, submitted: str) -> dict[str, int]:
    waiting = board.state == State.WAITING
    upstream = waiting & board.graph.any_needed(board.state < State.DONE)
    paused = waiting & ~upstream & (board.not_before > time.time())
    counts = {
        "for other tasks": int(upstream.sum()),
        "for a pause after a temporary failure": int(paused.sum()),
        ready: int((waiting & ~upstream & ~paused).sum()),
        submitted: board.count(State.SUBMITTED),
    }
    return {reason: count for reason, count in counts.items() if count}
