"""Remove what nobody wants: deliverables of an earlier configuration, lest they pass for results, and spent files."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.board import Board, State
from s4c_hpc.plan import RunFolder
from s4c_hpc.plan.existing import are_there
from s4c_hpc.plan.graph import flattened


def retire(workspace: Workspace, paths: Iterable[str], *, keep_folders: bool = False) -> tuple[str, ...]:
    """Remove files, and the folders below the workspace that are empty then; who has mapped a file keeps it.

    Killed in between, the next call goes on: the plan calls obsolete what is still there.

    Parameters
    ----------
    paths : workspace-relative, see ``Plan.obsolete`` and ``Plan.spent``
    keep_folders : leave folders that are empty then

    Returns
    -------
    The paths that were removed.
    """
    removed = []
    for relative in paths:
        path = workspace.root / relative
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        removed.append(relative)
        if keep_folders:
            continue
        with contextlib.suppress(OSError):  # the first folder that holds something else ends the way up
            for folder in path.relative_to(workspace.root).parents[:-1]:
                (workspace.root / folder).rmdir()
    return tuple(removed)


def retire_spent(run: RunFolder, board: Board, stages: Collection[str]) -> tuple[str, ...]:
    """Remove, while a run goes on, what everyone has read by now: the room is needed for what is still to come.

    Folders stay, also empty ones: a worker may be about to give its file a name there.

    Parameters
    ----------
    run, board : a run of all stages and where it stands
    stages : those whose files are removed after use

    Returns
    -------
    The workspace-relative paths that were removed.
    """
    if not stages:
        return ()
    done = board.state == State.DONE
    spent = done & np.isin(board.stage_code, [i for i, name in enumerate(board.stage_names) if name in stages])
    spent[board.graph.needed[~done[board.graph.waiting]]] = False
    if not spent.any():
        return ()
    _, paths = flattened(pq.ParquetFile(run.plan).read(["outputs"])["outputs"].filter(pa.array(spent)))
    there = paths.filter(pa.array(are_there(run.workspace.root, paths))).to_pylist()
    return retire(run.workspace, there, keep_folders=True)
