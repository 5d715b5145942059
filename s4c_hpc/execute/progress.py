"""How far a run is, as a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s4c_hpc.execute.board import Board, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of a run. The counts but ``total`` add up to ``total``: the tasks that the plan wants run."""

    total: int
    done: int
    running: int
    submitted: int
    """Handed to the executor, not begun."""
    waiting: int
    failed: int
    quarantined: int
    blocked: int
    seconds_left: float | None
    """Predicted, in seconds; ``None`` until something was measured."""
    current: str
    """The task that began last, ``stage tile subject``; empty before the first."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.running or self.submitted or self.waiting)

    @property
    def n_problems(self) -> int:
        """Tasks that ended without a result."""
        return self.failed + self.quarantined + self.blocked

    @classmethod
    def of(cls, board: Board, slots: int) -> Progress:
        """The moment that ``board`` shows, for an executor with ``slots`` cores."""
        counts = np.bincount(board.state[board.planned_todo], minlength=len(State))
        left = board.planned_todo & (board.state < State.DONE)
        pace = board.measured_s / board.expected_s if board.expected_s > 0 else None
        return cls(
            total=int(board.planned_todo.sum()),
            done=int(counts[State.DONE]),
            running=int(counts[State.RUNNING]),
            submitted=int(counts[State.SUBMITTED]),
            waiting=int(counts[State.WAITING]),
            failed=int(counts[State.FAILED]),
            quarantined=int(counts[State.QUARANTINED]),
            blocked=int(counts[State.BLOCKED]),
            seconds_left=None if pace is None else float(board.seconds[left].sum()) * pace / max(slots, 1),
            current=board.name(board.last_begun) if board.last_begun >= 0 else "",
        )
