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
    inodes: int = 0,
    free_inodes: int | None = None,
) -> None:
    """Refuse a plan that does not fit.

    Parameters
    ----------
    total : the sums of the plan
    max_bytes, max_files : the site's quota, if any
    scratch_bytes : most that running tasks need beside their outputs
    free_bytes : free on the workspace's file system
    where : the workspace, for the message
    inodes : files and folders that the plan makes in all, its own bookkeeping with them: see ``inodes_to_write``
    free_inodes : that may still be made on the file system; ``None`` where it has no such limit

    Raises
    ------
    ConfigError
        Over the site's own quota.
    TemporaryError
        Not enough free space, or not enough free inodes.
    """
    if max_bytes is not None and total.bytes_out > max_bytes:
        raise ConfigError(
            f"the plan writes {human_bytes(total.bytes_out)}, the quota is {human_bytes(max_bytes)}",
            where=where,
            hint="raise quota.max_bytes, or plan fewer variables, products or stages",
        )
    n_files = max(inodes, total.files_out)
    if max_files is not None and n_files > max_files:
        raise ConfigError(
            f"the plan writes {_files(total, n_files)}, the quota is {max_files}",
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
    if total.todo and free_inodes is not None and n_files > free_inodes:
        raise TemporaryError(
            f"the plan writes {_files(total, n_files)}, {free_inodes} inodes are free",
            where=where,
            hint="delete small files on this file system, or have the number of inodes raised ('df -i'), and run again",
        )


def space_text(
    total: StageSummary,
    *,
    inodes: int,
    free_bytes: int,
    free_inodes: int | None,
    max_bytes: int | None,
    max_files: int | None,
) -> str:
    """What is written against what is free and allowed, in one line; parameters as in ``check_space``."""
    free = "any number of inodes" if free_inodes is None else f"{free_inodes} inodes"
    limits = [
        *([] if max_bytes is None else [human_bytes(max_bytes)]),
        *([] if max_files is None else [f"{max_files} files"]),
    ]
    return (
        f"to be written: {human_bytes(total.bytes_out)} in {_files(total, inodes)}; "
        f"free: {human_bytes(free_bytes)} and {free}; quota: {' and '.join(limits) or 'none'}"
    )


def _files(total: StageSummary, inodes: int) -> str:
    return f"{total.files_out} files (up to {max(inodes, total.files_out)} with folders, journals and logs)"
