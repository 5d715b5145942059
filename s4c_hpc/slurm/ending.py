"""How a job ended, in the words that decide what happens next."""

from __future__ import annotations

from enum import StrEnum


class Ending(StrEnum):
    """The reason for which a job is no longer there."""

    DONE = "done"
    """Its program returned 0."""
    FAILED = "failed"
    """Its program failed."""
    MEMORY = "memory"
    """Killed for using more memory than it had asked for."""
    TIME = "time"
    """Killed at its time limit or deadline."""
    PREEMPTED = "preempted"
    """Had to make room for a job of higher rank."""
    NODE_FAIL = "node_fail"
    """Its node went away."""
    CANCELLED = "cancelled"
    """scancel, by a user or an administrator."""
    FORGOTTEN = "forgotten"
    """Submitted, but neither queued nor accounted for: the controller lost it. Its script may still run."""
    NEVER_SUBMITTED = "never_submitted"
    """There was no answer to its submission, and no trace of it since."""


_OF_STATE = {
    "COMPLETED": Ending.DONE,
    "FAILED": Ending.FAILED,
    "OUT_OF_MEMORY": Ending.MEMORY,
    "TIMEOUT": Ending.TIME,
    "DEADLINE": Ending.TIME,
    "PREEMPTED": Ending.PREEMPTED,
    "NODE_FAIL": Ending.NODE_FAIL,
    "BOOT_FAIL": Ending.NODE_FAIL,
    "LAUNCH_FAILED": Ending.NODE_FAIL,
    "RECONFIG_FAIL": Ending.NODE_FAIL,
    "CANCELLED": Ending.CANCELLED,
    "REVOKED": Ending.CANCELLED,
}


def ending_of(state: str) -> Ending | None:
    """Ending that goes with a state of squeue or sacct; None while the job is there, or for a state not known here."""
    return _OF_STATE.get(state)
