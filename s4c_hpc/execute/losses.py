"""When a run had better stop: its jobs end again and again before they get anywhere. Pure.

What a task is to blame for is counted for each task; what happens before a task begins is counted here. It is told
from the journals, so that a chain of ticks, each a new process, comes to the same end as one driver.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.execute.journal import Closed, Kind
from s4c_hpc.execute.manifest import wave_of

MAX_IDLE_LOSSES = 5
"""Chunks in a row that may vanish before their first task began: then workers cannot start at all."""
MAX_IDLE_WAVES = 20
"""Waves in a row that may lose their places before a first task began (nodes fail, sbatch does not answer, ...)."""
MIN_CANCELLED = 2
"""Jobs that must have been cancelled from outside, with none left, to take it for the wish that the run stops."""


@dataclass(frozen=True, slots=True)
class _Ended:
    closed: Closed
    began: bool


class Losses:
    """Attempts that ended since one last came to its orderly end."""

    def __init__(self, since: float = 0.0) -> None:
        """Begin to count at ``since``, in seconds since 1970."""
        self._since = since
        self._row: list[_Ended] = []

    def read(self, closed: Iterable[Closed], began: Iterable[str]) -> None:
        """Take in what journals tell of the past.

        Parameters
        ----------
        closed : all ends, in any order
        began : attempts that began a task
        """
        known = set(began)
        for event in sorted(closed, key=lambda event: event.t):
            self.ended(event, began=event.attempt in known)

    def ended(self, closed: Closed, *, began: bool) -> None:
        """Take in one end.

        Parameters
        ----------
        began : whether any of its tasks had begun
        """
        if closed.t < self._since:
            return
        if closed.kind is None:
            self._row.clear()
        elif closed.kind is not Kind.CANCELLED:  # that was ourselves
            self._row.append(_Ended(closed, began))

    def why_stop(self, n_open: int) -> SchedulerError | None:
        """The error to stop with, or ``None`` to go on.

        Parameters
        ----------
        n_open : attempts that have not ended
        """
        return (
            self._cancelled_from_outside()
            if n_open == 0 and self._row and self._row[-1].closed.kind is Kind.SCANCELLED
            else None
        ) or self._nothing_begins(n_open)

    def _cancelled_from_outside(self) -> SchedulerError | None:
        cancelled = 0
        for end in reversed(self._row):
            if end.closed.kind is not Kind.SCANCELLED:
                break
            cancelled += 1
        if cancelled < MIN_CANCELLED:
            return None
        return SchedulerError(
            f"all jobs that the run had in the queue were cancelled, but not by 's4c cancel': "
            f"{self._row[-1].closed.what} ({cancelled} jobs)",
            hint="ask the administrators why, then go on with 's4c run'",
        )

    def _nothing_begins(self, n_open: int) -> SchedulerError | None:
        idle: list[Closed] = []
        for end in reversed(self._row):
            if end.began:
                break
            idle.append(end.closed)
        # Somebody who cancels some of many jobs says nothing of whether workers start.
        excused = {Kind.EVICTED, Kind.SCANCELLED} if n_open else {Kind.EVICTED}
        at_fault = [closed for closed in idle if closed.kind not in excused]
        waves = {wave_of(closed.attempt) for closed in idle}
        if len(at_fault) >= MAX_IDLE_LOSSES:
            return SchedulerError(
                f"{len(at_fault)} chunks in a row ended before their first task began, the last one: "
                f"{at_fault[0].what}",
                hint="the run can be continued with 's4c run' once workers start",
            )
        if len(waves) >= MAX_IDLE_WAVES:
            return SchedulerError(
                f"{len(waves)} waves in a row lost their place before a first task began, the last one: {idle[0].what}",
                hint="see 'sinfo -R' and 'scontrol ping'; 's4c run' goes on from here",
            )
        return None
