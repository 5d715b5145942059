"""Columns of what is known of earlier work: ``state/{done,failed,history}.parquet``, and of a plan's side tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.core.errors import InputError

_TEXT = pa.dictionary(pa.int32(), pa.string())
_TEXTS = pa.list_(pa.string())
_BATCH_ROWS = 1 << 16
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
        pa.field("needs", pa.list_(pa.int32()), nullable=False),
    ]
)
"""Rows of a plan, in its order: ``done``, ``todo``, ``quarantined`` or ``blocked``, why, failures so far; ``needs`` is
``depends_on`` as positions of rows."""

ESTIMATE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("low_s", pa.float64(), nullable=False),
        pa.field("high_s", pa.float64(), nullable=False),
        pa.field("common", pa.float64(), nullable=False),
        pa.field("mem_bytes", pa.int64(), nullable=False),
        pa.field("samples", pa.int32(), nullable=False),
    ]
)
"""Rows of a plan, in its order: predicted wall time and its interval (four of five tasks), in seconds; the standard
deviation of the log of the factor that tasks of a stage have in common; predicted peak of anonymous memory; finished
tasks of the stage in this workspace that this rests on."""


class Ledger:
    """A state table whose columns are read when they are asked for: all of them are larger than a plan.

    Rows stay the same, also when the file is replaced meanwhile.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """``path`` need not exist: then there are no rows.

        Raises
        ------
        InputError
            If the file is damaged; it can be deleted without loss, since journals are the truth.
        """
        self._path, self._schema = path, schema
        try:
            self._file = pq.ParquetFile(path)
        except FileNotFoundError:
            self._file = None
        except (OSError, pa.ArrowInvalid) as error:
            raise self._damaged(error) from error

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return 0 if self._file is None else int(self._file.metadata.num_rows)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Columns by name, in this order; an ``InputError`` if the file is damaged."""
        schema = pa.schema([self._schema.field(name) for name in columns])
        if self._file is None:
            return schema.empty_table()
        try:
            return self._file.read(list(columns)).select(list(columns)).cast(schema)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise self._damaged(error) from error

    def column(self, name: str) -> pa.ChunkedArray:
        """One column."""
        return self.read([name])[name]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns by name in pieces, so that whoever wants few rows does not hold all."""
        if self._file is None:
            return
        try:
            yield from self._file.iter_batches(_BATCH_ROWS, columns=list(columns))
        except (OSError, pa.ArrowInvalid) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"cannot be read ({error})", where=str(self._path), hint="delete it: it is made again from the journals"
        )


def read_ledger(path: Path, schema: pa.Schema) -> pa.Table:
    """All of a state table, or no rows if it has not been written yet; see ``Ledger``."""
    return Ledger(path, schema).read(schema.names)
