"""Single rows of a plan, without reading all of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from s4c_hpc.core.errors import InternalError, listing
from s4c_hpc.core.plan_schema import tasks_from_table
from s4c_hpc.core.task import Task

_AT_ONCE = 1 << 16
"""Ids that are looked through at once."""


def read_tasks(plan: Path, ids: Iterable[str]) -> dict[str, Task]:
    """The tasks called ``ids``; memory is that of some ids, one row group and the rows found.

    Raises
    ------
    InternalError
        If the plan has no such row.
    """
    wanted = pa.array(sorted(set(ids)), pa.string())
    found: list[Task] = []
    with pq.ParquetFile(plan) as file:
        rows = _positions(file, wanted)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = np.cumsum(sizes, dtype=np.int64)
        group_of = np.searchsorted(ends, rows, side="right")
        for group in np.unique(group_of).tolist():
            here = rows[group_of == group] - (ends[group] - sizes[group])
            found += tasks_from_table(file.read_row_group(group, use_threads=False).take(pa.array(here)))
    if len(found) < len(wanted):
        missing = sorted(set(wanted.to_pylist()) - {task.id for task in found})
        raise InternalError(f"not in the plan: {listing(missing)}", where=str(plan))
    return {task.id: task for task in found}


def _positions(file: pq.ParquetFile, wanted: pa.Array) -> npt.NDArray[np.int64]:
    """Rows that hold the ids, ascending; reads on until all are found."""
    found: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    first = n_found = 0
    for batch in file.iter_batches(_AT_ONCE, columns=["id"], use_threads=False):
        if n_found == len(wanted):
            break
        here = np.flatnonzero(pc.is_in(batch["id"], value_set=wanted).to_numpy(zero_copy_only=False))
        found.append(first + here)
        first += len(batch)
        n_found += len(here)
    return np.concatenate(found)
