"""From what Slurm says of an attempt's end to what the run makes of it. Pure but for the log that it may ask for."""

from __future__ import annotations

from collections.abc import Callable

from s4c_hpc.execute.advance import End
from s4c_hpc.execute.element import STARTED_TWICE
from s4c_hpc.execute.journal import Kind
from s4c_hpc.execute.submissions import Submission
from s4c_hpc.slurm.ending import Ending
from s4c_hpc.slurm.reconcile import Sight

_KINDS = {
    Ending.FAILED: Kind.LOST,
    Ending.DONE: Kind.LOST,
    Ending.CANCELLED: Kind.SCANCELLED,
    Ending.FORGOTTEN: Kind.EVICTED,
    Ending.NEVER_SUBMITTED: Kind.EVICTED,
    Ending.NODE_FAIL: Kind.EVICTED,
    Ending.PREEMPTED: Kind.EVICTED,
    Ending.MEMORY: Kind.RESOURCE,
    Ending.TIME: Kind.TIME,
}


def end_of(
    sight: Sight, submission: Submission | None, *, was_away: bool = False, log_tail: Callable[[], str]
) -> End | None:
    """How an attempt ended; ``None`` if it has not, as far as is known.

    Parameters
    ----------
    submission : the answer to its wave
    was_away : the controller has lately been away: jobs that it does not remember are stopped, and called cancelled
    log_tail : reads the end of its log
    """
    if sight.ending is None:
        return None
    if sight.ending is Ending.NEVER_SUBMITTED and submission is not None and submission.refused:
        # Of no weight for the run: nothing was begun, and tasks that are refused for good are settled by that.
        return End(kind=Kind.CANCELLED, what=sight.reason, hint=submission.hint, final=submission.final)
    if sight.ending is Ending.CANCELLED and was_away:
        what = f"{sight.reason}, after the controller had been away: it stops what it does not remember"
        return End(kind=Kind.EVICTED, what=what, may_live=True)
    if sight.ending is Ending.FAILED and sight.reason == f"exit code {STARTED_TWICE:d}":
        what = "Slurm started it a second time, after its controller had crashed or by 'scontrol requeue'"
        return End(kind=Kind.EVICTED, what=what, may_live=True)
    what = f"on {sight.nodes}: {sight.reason}" if sight.nodes and sight.ending is Ending.FAILED else sight.reason
    if sight.ending is Ending.DONE:
        what = "its job ended without an error, but its journal does not tell of an end: see slurm.launch"
    if sight.ending in {Ending.FAILED, Ending.DONE} and (lines := log_tail().strip().splitlines()):
        what = f"{what}; its log ends with: {lines[-1].strip()}"
    return End(kind=_KINDS[sight.ending], what=what, may_live=sight.may_live)
