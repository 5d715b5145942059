"""How far a run is, as a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s4c_hpc.execute.board import Board, State
from s4c_hpc.plan import Span


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
    """Predicted, in seconds; ``None`` as long as nobody knows what the run runs on."""
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
    def of(cls, board: Board, left: Span | None) -> Progress:
        """The moment that ``board`` shows.

        Parameters
        ----------
        left : what ``Clock.left`` says of it
        """
        counts = np.bincount(board.state[board.planned_todo], minlength=len(State))
        return cls(
            total=int(board.planned_todo.sum()),
            done=int(counts[State.DONE]),
            running=int(counts[State.RUNNING]),
            submitted=int(counts[State.SUBMITTED]),
            waiting=int(counts[State.WAITING]),
            failed=int(counts[State.FAILED]),
            quarantined=int(counts[State.QUARANTINED]),
            blocked=int(counts[State.BLOCKED]),
            seconds_left=None if left is None else left.seconds,
            current=board.name(board.last_begun) if board.last_begun >= 0 else "",
        )
