"""How the chain of ticks of a detached run is, told from what it leaves on disk."""

from __future__ import annotations

import time
from dataclasses import dataclass

from s4c_hpc.execute.detach import Scope, why_stopped
from s4c_hpc.execute.queue_view import read_view
from s4c_hpc.plan import RunFolder

MISSED_TICKS = 5
SLACK_S = 120.0
"""A tick is overdue after so many intervals and so many seconds: it is a job, and starts when the queue lets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfDrive:
    """A chain of ticks."""

    last_tick: float | None
    """When a tick last looked at the queue, seconds since 1970; ``None`` before the first."""
    since: float
    """The same, or when the run was handed over."""
    interval_s: float
    """Pause between two ticks."""
    stopped: str | None
    """Why there will be no further tick, if so."""
    is_overdue: bool

    @property
    def state(self) -> str:
        """``running``, ``stopped`` or ``stalled``."""
        if self.stopped is not None:
            return "stopped"
        return "stalled" if self.is_overdue else "running"


def self_drive(run: RunFolder, now: float | None = None) -> SelfDrive | None:
    """The chain of ticks of a run, or ``None`` if it was not handed to one.

    Parameters
    ----------
    now : seconds since 1970; the present by default
    """
    try:
        scope = Scope.read(run)
    except FileNotFoundError:
        return None
    view = read_view(run)
    last = None if view is None or view.t < scope.since else view.t
    site = scope.config.slurm
    # The view is made anew at most every poll_s.
    interval_s = max(site.tick_s, site.poll_s)
    since = last or scope.since
    return SelfDrive(
        last_tick=last,
        since=since,
        interval_s=interval_s,
        stopped=why_stopped(run),
        is_overdue=(now or time.time()) - since > MISSED_TICKS * interval_s + SLACK_S,
    )
