"""Files and folders that a plan makes on disk, outputs and bookkeeping: what counts against a quota of inodes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.config import Config
from s4c_hpc.plan.graph import Mask, coded, flattened
from s4c_hpc.plan.machine import LOCAL_CHUNK_S

CHUNK_INODES = 3
"""Of each chunk: its journal, its log, and at most one manifest of a wave."""
RUN_INODES = 24
"""Of each run, whatever its size: its folders, the frozen plan and configuration, the state tables, the lease."""
RAGGED = 2
"""Chunks that are cut for each that would do: ready tasks do not come in whole chunks."""
FIRST_CHUNKS = 100
"""Of each stage, chunks that are cut short while its tasks become ready one by one."""

BATCH = 65_536
"""Tasks whose outputs are looked at together: a country's are hundreds of megabytes of text."""


def inodes_to_write(tasks: pa.Table, todo: Mask, seconds: pa.ChunkedArray, chunk_s: Mapping[str, float]) -> int:
    """Upper estimate of the files and folders that are made for the tasks to do.

    Outputs and all folders above them (counted as if none was there), and for each run and chunk what the machinery
    keeps. Second attempts are not foreseen, nor what running tasks have in ``tmp`` for a while.

    Parameters
    ----------
    tasks : (n_tasks,) a plan
    todo : (n_tasks,) rows that are to run
    seconds : (n_tasks,) predicted
    chunk_s : by stage, predicted seconds of a chunk
    """
    if not todo.any():
        return 0
    stage, names = coded(tasks["stage"])
    n_todo = np.bincount(stage[todo], minlength=len(names))
    total_s = np.bincount(stage[todo], weights=np.asarray(seconds)[todo], minlength=len(names))
    each_s = np.asarray([chunk_s[name] for name in names.to_pylist()])
    chunks = np.minimum(n_todo, np.ceil(RAGGED * total_s / each_s) + FIRST_CHUNKS)
    n_logs = int((n_todo > 0).sum())  # a folder of logs for each stage
    return _n_outputs(tasks["outputs"], todo) + int(chunks.sum()) * CHUNK_INODES + n_logs + RUN_INODES


def chunk_seconds(config: Config, stages: list[str]) -> dict[str, float]:
    """Predicted seconds of a chunk of each stage where the configuration says that it runs."""
    if config.execute.executor == "local":
        return dict.fromkeys(stages, LOCAL_CHUNK_S)
    special = {name: there.chunk_s for name, there in config.slurm.stages.items() if there.chunk_s is not None}
    return {name: special.get(name, config.slurm.chunk_s) for name in stages}


def free_inodes(folder: Path) -> int | None:
    """Files and folders that may still be made on a file system; ``None`` where it has no such limit (btrfs, say)."""
    status = os.statvfs(folder)
    return status.f_favail if status.f_files else None


def _n_outputs(outputs: pa.ChunkedArray, todo: Mask) -> int:
    """Outputs of the tasks to do, and different folders above them without the workspace."""
    n, folders = 0, set[str]()
    for first in range(0, len(outputs), BATCH):
        some = outputs.slice(first, BATCH).filter(pa.array(todo[first : first + BATCH]))
        _, paths = flattened(some)
        # Split, not a regular expression, which takes ten times as long.
        parts = pc.split_pattern(paths, "/", max_splits=1, reverse=True)
        below = parts.filter(pc.equal(pc.list_value_length(parts), 2))
        folders.update(pc.unique(pc.list_element(below, 0)).to_pylist())
        n += len(paths)
    found: set[str] = set()
    for folder in folders:
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]  # noqa: PLW2901 - up to the workspace
    return n + len(found)
