"""Whether what a plan writes may be written: the site's quota and the disk's free space."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from s4c_hpc.core.errors import ConfigError, TemporaryError
from s4c_hpc.core.text import human_bytes
from s4c_hpc.plan.graph import Mask, coded, flattened
from s4c_hpc.plan.summary import StageSummary


@dataclass(frozen=True, slots=True)
class Passing:
    """What a plan writes and removes before its end: it never lies there with all the rest."""

    n_bytes: int = 0
    n_files: int = 0


def passing_outputs(tasks: pa.Table, todo: Mask, stages: Collection[str], at_once: int) -> Passing:
    """What of the files that are removed after use need not fit beside all others.

    As many of the largest as are written and read at a time do have to fit: twice ``at_once``. That is the least that
    a run needs. How much waits beyond for its readers depends on the order in which tasks end; a disk that fills up
    stops the run, which goes on from there later.

    Parameters
    ----------
    tasks : (n_tasks,) a plan
    todo : (n_tasks,) rows that are to run
    stages : those whose files are removed after use
    at_once : tasks that run at a time
    """
    stage, names = coded(tasks["stage"])
    is_spent = np.asarray([name in stages for name in names.to_pylist()], dtype=bool)[stage]
    rows = np.flatnonzero(todo & is_spent)
    row_of, _ = flattened(tasks["outputs"])
    n_files = np.bincount(row_of, minlength=tasks.num_rows)[rows]
    n_bytes = np.asarray(tasks["bytes_out"])[rows]
    n_gone = max(len(rows) - 2 * at_once, 0)
    return Passing(int(np.sort(n_bytes)[:n_gone].sum()), int(np.sort(n_files)[:n_gone].sum()))


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
    passing: Passing = Passing(),
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
    passing : what of it is removed on the way

    Raises
    ------
    ConfigError
        Over the site's own quota.
    TemporaryError
        Not enough free space, or not enough free inodes.
    """
    n_bytes = total.bytes_out - passing.n_bytes
    if max_bytes is not None and n_bytes > max_bytes:
        raise ConfigError(
            f"the plan writes {human_bytes(n_bytes)}{_beside(passing)}, the quota is {human_bytes(max_bytes)}",
            where=where,
            hint="raise quota.max_bytes, or plan fewer variables, products or stages",
        )
    n_files = max(inodes, total.files_out) - passing.n_files
    if max_files is not None and n_files > max_files:
        raise ConfigError(
            f"the plan writes {_files(total, n_files, passing)}, the quota is {max_files}",
            where=where,
            hint="raise quota.max_files, or plan fewer products or stages",
        )
    needed = n_bytes + scratch_bytes
    if total.todo and needed > free_bytes:
        raise TemporaryError(
            f"the plan needs {human_bytes(needed)} of disk{_beside(passing)}, {human_bytes(free_bytes)} is free",
            where=where,
            hint=f"free {human_bytes(needed - free_bytes)} and run again",
        )
    if total.todo and free_inodes is not None and n_files > free_inodes:
        raise TemporaryError(
            f"the plan writes {_files(total, n_files, passing)}, {free_inodes} inodes are free",
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
    passing: Passing = Passing(),
) -> str:
    """What is written against what is free and allowed, in one line; parameters as in ``check_space``."""
    free = "any number of inodes" if free_inodes is None else f"{free_inodes} inodes"
    limits = [
        *([] if max_bytes is None else [human_bytes(max_bytes)]),
        *([] if max_files is None else [f"{max_files} files"]),
    ]
    return (
        f"to be written: {human_bytes(total.bytes_out)} in {_files(total, inodes)}{_of_which(passing)}; "
        f"free: {human_bytes(free_bytes)} and {free}; quota: {' and '.join(limits) or 'none'}"
    )


def _files(total: StageSummary, inodes: int, passing: Passing = Passing()) -> str:
    n_files = total.files_out - passing.n_files
    return f"{n_files} files (up to {max(inodes, n_files)} with folders, journals and logs)"


def _beside(passing: Passing) -> str:
    return f" (without {human_bytes(passing.n_bytes)} that [retention] removes on the way)" if passing.n_bytes else ""


def _of_which(passing: Passing) -> str:
    if not passing.n_files:
        return ""
    return f", of which [retention] removes {human_bytes(passing.n_bytes)} in {passing.n_files} files on the way"
