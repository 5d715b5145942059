"""The error hierarchy and the one table from error to exit code.

Every message has three parts: what went wrong, where, and what to do about it.
"""

from __future__ import annotations

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """What the ``s4c`` command tells the shell."""

    OK = 0
    """Done, or already up to date."""
    USAGE = 2
    """Wrong command line (click's own code)."""
    CONFIG = 3
    INPUT = 4
    PARTIAL = 5
    """Finished, but some tasks failed or some inputs are quarantined."""
    NO_INPUTS = 6
    """Nothing matched: no product, no parcel."""
    SCHEDULER = 7
    EXTERNAL = 8
    INTERNAL = 9
    TEMPORARY = 75
    """Try again later (EX_TEMPFAIL): disk full, interrupted, another driver at work."""


class S4cError(Exception):
    """Base of every error that s4c-hpc raises on purpose."""

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        """Join the three parts of a message.

        Parameters
        ----------
        what : what went wrong, one sentence without a final stop
        where : file, key path, parcel or tile id
        hint : what the reader can do about it
        """
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what, where, hint)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.hint is None else f"{text}; {self.hint}"


class ConfigError(S4cError, ValueError):
    """A configuration value is missing, unknown or contradictory."""

    exit_code = ExitCode.CONFIG


class InputError(S4cError, ValueError):
    """An input file holds something that cannot be used; tried again only on request."""

    exit_code = ExitCode.INPUT


class MissingDataError(InputError, FileNotFoundError):
    """A file that was promised is not there or cannot be read."""


class NoInputsError(S4cError):
    """Nothing matched: success with zero inputs is not success."""

    exit_code = ExitCode.NO_INPUTS


class SchedulerError(S4cError, RuntimeError):
    """The executor (dask, Slurm) did not do what was asked of it."""

    exit_code = ExitCode.SCHEDULER


class ExternalToolError(S4cError, RuntimeError):
    """A program that is not ours failed."""

    exit_code = ExitCode.EXTERNAL


class TemporaryError(S4cError, RuntimeError):
    """Nothing is wrong with the work: disk full, interrupted, busy. Run again later."""

    exit_code = ExitCode.TEMPORARY


class ResourceExceeded(TemporaryError):  # noqa: N818 - names the fact, as MemoryError does not
    """A task needed more memory, time or disk than it had asked for."""


class InternalError(S4cError, RuntimeError):
    """A bug in s4c-hpc."""

    exit_code = ExitCode.INTERNAL


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the system says that there is no room: none on the disk, or none in the user's quota."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def listing(items: list[str], limit: int = 10) -> str:
    """Join names for a message, cut at ``limit`` with the total count."""
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown}, ... ({len(items)} in all)"
