"""Single rows of a plan, without reading all of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from s4c_hpc.core.errors import InternalError, listing
from s4c_hpc.core.plan_schema import tasks_from_table
from s4c_hpc.core.task import Task


def read_tasks(plan: Path, ids: Iterable[str]) -> dict[str, Task]:
    """The tasks called ``ids``; memory is that of one row group and of the rows found.

    Raises
    ------
    InternalError
        If the plan has no such row.
    """
    wanted = pa.array(sorted(set(ids)), pa.string())
    found: list[Task] = []
    with pq.ParquetFile(plan) as file:
        for group in range(file.num_row_groups):
            here = pc.is_in(file.read_row_group(group, columns=["id"])["id"], value_set=wanted)
            rows = np.flatnonzero(here.to_numpy())
            if len(rows):
                found += tasks_from_table(file.read_row_group(group).take(pa.array(rows)))
    if len(found) < len(wanted):
        missing = sorted(set(wanted.to_pylist()) - {task.id for task in found})
        raise InternalError(f"not in the plan: {listing(missing)}", where=str(plan))
    return {task.id: task for task in found}
