"""The columns of a plan: the one table that passes between our processes."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from s4c_hpc.core.task import Resources, Task

PLAN_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("stage", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("tile", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("input_keys", pa.list_(pa.string()), nullable=False),
        pa.field("params", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("depends_on", pa.list_(pa.string()), nullable=False),
        pa.field("outputs", pa.list_(pa.string()), nullable=False),
        pa.field("work", pa.float64(), nullable=False),
        pa.field("bytes_out", pa.int64(), nullable=False),
        pa.field("opens_imagery", pa.int32(), nullable=False),
        pa.field("cpus", pa.int32(), nullable=False),
        pa.field("mem_bytes", pa.int64(), nullable=False),
        pa.field("walltime_s", pa.int32(), nullable=False),
        pa.field("scratch_bytes", pa.int64(), nullable=False),
    ]
)
"""One row a task; see ``core.task.Task`` for what each column means."""


def tasks_to_batch(tasks: Iterable[Task]) -> pa.RecordBatch:
    """Rows of a plan from task values."""
    rows = list(tasks)
    columns = {
        "id": [t.id for t in rows],
        "stage": [t.stage for t in rows],
        "tile": [t.tile for t in rows],
        "subject": [t.subject for t in rows],
        "input_keys": [t.input_keys for t in rows],
        "params": [t.params for t in rows],
        "depends_on": [t.depends_on for t in rows],
        "outputs": [t.outputs for t in rows],
        "work": [t.work for t in rows],
        "bytes_out": [t.bytes_out for t in rows],
        "opens_imagery": [t.opens_imagery for t in rows],
        "cpus": [t.resources.cpus for t in rows],
        "mem_bytes": [t.resources.mem_bytes for t in rows],
        "walltime_s": [t.resources.walltime_s for t in rows],
        "scratch_bytes": [t.resources.scratch_bytes for t in rows],
    }
    arrays = []
    for f in PLAN_SCHEMA:
        if pa.types.is_dictionary(f.type):
            arrays.append(pa.array(columns[f.name], pa.string()).dictionary_encode())
        else:
            arrays.append(pa.array(columns[f.name], f.type))
    return pa.RecordBatch.from_arrays(arrays, schema=PLAN_SCHEMA)


def tasks_from_table(table: pa.Table | pa.RecordBatch) -> list[Task]:
    """Task values from rows of a plan, in order."""
    return [
        Task(
            id=row["id"],
            stage=row["stage"],
            tile=row["tile"],
            subject=row["subject"],
            input_keys=tuple(row["input_keys"]),
            params=row["params"],
            depends_on=tuple(row["depends_on"]),
            outputs=tuple(row["outputs"]),
            work=row["work"],
            bytes_out=row["bytes_out"],
            opens_imagery=row["opens_imagery"],
            resources=Resources(
                cpus=row["cpus"],
                mem_bytes=row["mem_bytes"],
                walltime_s=row["walltime_s"],
                scratch_bytes=row["scratch_bytes"],
            ),
        )
        for row in table.to_pylist()
    ]
