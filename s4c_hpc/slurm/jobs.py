"""A job that is to be submitted, as values."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A single job, or an array of jobs that differ in nothing but their index."""

    name: str
    """Its identity, unique to a submission: Slurm gives job ids out again after a crash of its controller."""
    comment: str
    """For people who look at the queue or the accounts: the run's id."""
    words: tuple[str, ...]
    """Arguments of python. The index of an array element is added as the last one."""
    output: str
    """Absolute path pattern of the log, made by ``log_pattern``."""
    workdir: str
    """Folder that the program starts in."""
    cpus: int
    """Cores of an element; with ``ranks``, a core a rank."""
    ranks: int | None = None
    """Processes of an MPI element; None where MPI has no part."""
    mem_bytes: int
    """Memory of a whole element, all ranks together, in bytes."""
    walltime_s: int
    """Time limit in seconds; Slurm counts in minutes, so it is rounded up."""
    n_elements: int | None = None
    """Elements 0 ... n-1 of an array; None: a job that is no array."""
    throttle: int | None = None
    """Most elements that run at a time."""
    qos: str | None = None
    partition: str | None = None
    account: str | None = None
    begin_s: int | None = None
    """Seconds to wait before it may start."""
    requeue: bool = False
    """Slurm itself starts it again when it lost its node."""
    singleton: bool = False
    """Waits for all jobs of the same name and user."""


def own_job() -> int | None:
    """Number of the job that this process runs in; ``None`` outside of Slurm."""
    text = os.environ.get("SLURM_JOB_ID")
    return None if text is None else int(text)
