"""What can go wrong between us and Slurm. The class says what a caller may do next."""

from __future__ import annotations

from s4c_hpc.core.errors import ExitCode, SchedulerError, TemporaryError


class SlurmMissing(SchedulerError):  # noqa: N818 - names the fact
    """A Slurm program is not installed here: nothing was asked of Slurm."""


class SlurmUnreachable(TemporaryError):  # noqa: N818
    """A daemon did not answer, or not in time: what Slurm knows is unknown, ask again later."""


class SlurmUnknown(SlurmUnreachable):
    """No slurm.conf is found: to a run of days an outage like any other, to a person the wrong machine."""

    exit_code = ExitCode.SCHEDULER


class SlurmFailed(SchedulerError):  # noqa: N818
    """A Slurm program ran and refused, or said something that cannot be read."""


class SubmitRefused(SchedulerError):  # noqa: N818
    """sbatch said no, and will say no again: no job was made, the request has to change."""


class SubmitTooLarge(SubmitRefused):
    """sbatch refused a job for its memory, cores or time: a smaller one may pass."""


class SubmitLater(TemporaryError):  # noqa: N818
    """sbatch said no for now: no job was made, the same request may pass later."""


class SubmitUnreachable(SubmitLater):
    """The controller was not there to be asked: the queue may have all the room in the world."""


class SubmitInDoubt(TemporaryError):  # noqa: N818
    """sbatch gave no answer: a job may have been made. Look for its name before submitting again."""
