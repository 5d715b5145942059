"""Columns of what is known of earlier work: ``state/{done,failed,history}.parquet``, and of a plan's side tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.core.errors import InputError

_TEXT = pa.dictionary(pa.int32(), pa.string())
_TEXTS = pa.list_(pa.string())
_TIME = pa.timestamp("us", "UTC")

_TASK = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("stage", _TEXT, nullable=False),
    pa.field("tile", _TEXT, nullable=False),
    pa.field("subject", pa.string(), nullable=False),
]
_RECORD = [
    pa.field("params", _TEXT, nullable=False),
    pa.field("input_keys", _TEXTS, nullable=False),
    pa.field("outputs", _TEXTS, nullable=False),
    pa.field("n_rows", pa.int64(), nullable=False),
    pa.field("absent", _TEXTS, nullable=False),
    pa.field("rasters_opened", pa.int32(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
    pa.field("cpu_s", pa.float64(), nullable=False),
    pa.field("wall_s", pa.float64(), nullable=False),
    pa.field("peak_anon_bytes", pa.int64(), nullable=False),
    pa.field("work", pa.float64(), nullable=False),
    pa.field("mem_bytes", pa.int64(), nullable=False),
    pa.field("walltime_s", pa.int32(), nullable=False),
    pa.field("finished", _TIME, nullable=False),
    pa.field("run", _TEXT, nullable=False),
]

DONE_SCHEMA = pa.schema([*_TASK, *_RECORD])
"""One row for each task whose last attempt succeeded. ``mem_bytes`` and ``walltime_s`` are what was asked for,
``bytes`` is what was written, ``absent`` are dependencies that it did without."""

FAILED_SCHEMA = pa.schema(
    [
        *_TASK,
        pa.field("kind", _TEXT, nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("run", _TEXT, nullable=False),
        pa.field("t", _TIME, nullable=False),
    ]
)
"""The last failure of each task that is not done. ``attempts`` counts the failures for which it is to blame."""

HISTORY_SCHEMA = pa.schema(
    [
        *_TASK,
        pa.field("attempt", pa.string(), nullable=False),
        pa.field("kind", _TEXT, nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        *_RECORD,
        pa.field("base_anon_bytes", pa.int64(), nullable=False),
        pa.field("max_rss_bytes", pa.int64(), nullable=False),
        pa.field("twins", pa.int32(), nullable=False),
    ]
)
"""Every finished attempt: ``kind`` is ``done`` or the kind of failure. ``base_anon_bytes`` is what the process held
before the task began, ``max_rss_bytes`` its highest total resident size ever."""

STATUS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("state", _TEXT, nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("tolerates_missing", pa.bool_(), nullable=False),
    ]
)
"""Rows of a plan, in its order: ``done``, ``todo``, ``quarantined`` or ``blocked``, why, and failures so far."""

ESTIMATE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("low_s", pa.float64(), nullable=False),
        pa.field("high_s", pa.float64(), nullable=False),
    ]
)
"""Rows of a plan, in its order: predicted wall time and its interval, in seconds."""


def read_ledger(path: Path, schema: pa.Schema) -> pa.Table:
    """A state table, or no rows if it has not been written yet.

    Raises
    ------
    InputError
        If the file is damaged; it can be deleted without loss, since journals are the truth.
    """
    try:
        table = pq.read_table(path, schema=schema)
    except FileNotFoundError:
        return schema.empty_table()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"cannot be read ({error})", where=str(path), hint="delete it: it is made again from the journals"
        ) from error
    return table.cast(schema)
