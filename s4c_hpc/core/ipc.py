"""Arrow IPC files that map without a copy: uncompressed, float columns without validity bitmaps, zeroed padding."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from s4c_hpc.core.errors import InputError, MissingDataError


def write_ipc(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write an uncompressed Arrow IPC file and return its number of rows.

    The same schema and batches give the same bytes.
    """
    n_rows = 0
    options = pa.ipc.IpcWriteOptions(compression=None)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
            n_rows += batch.num_rows
    return n_rows


def open_ipc(path: Path) -> pa.ipc.RecordBatchFileReader:
    """Open an Arrow IPC file memory-mapped; batches read from it share its pages.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it is not an Arrow IPC file (truncated, another format).
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(path), "r"))
    except FileNotFoundError as error:
        raise MissingDataError("no such file", where=str(path), hint="run 's4c run' to make it again") from error
    except pa.ArrowInvalid as error:
        raise InputError(
            f"not a whole Arrow file ({error})", where=str(path), hint="delete it and run again"
        ) from error


def read_metadata(schema: pa.Schema) -> dict[str, str]:
    """Schema metadata as text."""
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
