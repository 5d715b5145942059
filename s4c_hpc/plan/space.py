"""Whether what a plan writes may be written: the site's quota and the disk's free space."""

from __future__ import annotations

from s4c_hpc.core.errors import ConfigError, TemporaryError
from s4c_hpc.core.text import human_bytes
from s4c_hpc.plan.summary import StageSummary


def check_space(
    total: StageSummary,
    *,
    max_bytes: int | None,
    max_files: int | None,
    scratch_bytes: int,
    free_bytes: int,
    where: str,
) -> None:
    """Refuse a plan that does not fit.

    Parameters
    ----------
    total : the sums of the plan
    max_bytes, max_files : the site's quota, if any
    scratch_bytes : most that running tasks need beside their outputs
    free_bytes : free on the workspace's file system
    where : the workspace, for the message

    Raises
    ------
    ConfigError
        Over the site's own quota.
    TemporaryError
        Not enough free space.
    """
    if max_bytes is not None and total.bytes_out > max_bytes:
        raise ConfigError(
            f"the plan writes {human_bytes(total.bytes_out)}, the quota is {human_bytes(max_bytes)}",
            where=where,
            hint="raise quota.max_bytes, or plan fewer variables, products or stages",
        )
    if max_files is not None and total.files_out > max_files:
        raise ConfigError(
            f"the plan writes {total.files_out} files, the quota is {max_files}",
            where=where,
            hint="raise quota.max_files, or plan fewer products or stages",
        )
    needed = total.bytes_out + scratch_bytes
    if total.todo and needed > free_bytes:
        raise TemporaryError(
            f"the plan needs {human_bytes(needed)} of disk, {human_bytes(free_bytes)} is free",
            where=where,
            hint=f"free {human_bytes(needed - free_bytes)} and run again",
        )
