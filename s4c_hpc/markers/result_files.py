"""Results of queries, a batch at a time: as rows, as CSV, or as a file that is there whole or not at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from s4c_hpc.core.errors import ConfigError, InputError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.text import finite
from s4c_hpc.markers.export import whole_file
from s4c_hpc.markers.writers import repeating


def as_rows(reader: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    """Rows of what JSON knows: bytes, such as outlines, as base64, decimals as numbers."""
    for batch in reader:
        for row in batch.to_pylist():
            yield {n: _as_json(v) for n, v in row.items()}


def print_csv(reader: pa.RecordBatchReader, sink: BinaryIO | pa.NativeFile) -> int:
    """Comma-separated with a header row, unknown values empty; returns the number of rows."""
    schema = pa.schema([pa.field(f.name, _printable(f.type)) for f in reader.schema])
    n_rows = 0
    with pa_csv.CSVWriter(sink, schema, write_options=pa_csv.WriteOptions(quoting_style="needed")) as writer:
        for batch in reader:
            n_rows += batch.num_rows
            columns = [_as_text(c, f.type) for c, f in zip(batch.columns, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return n_rows


def write_result(reader: pa.RecordBatchReader, out: Path, *, force: bool = False) -> int:
    """Write a result in the format that the file's ending says; returns the number of rows.

    Raises
    ------
    ConfigError
        If the ending is not known.
    InputError
        If the file is there, or cannot be written.
    """
    writer = _WRITERS.get(out.suffix.lower())
    if writer is None:
        raise ConfigError(
            f"{out.suffix or 'no ending'!r} does not name a format",
            where=str(out),
            hint=f"known are {', '.join(_WRITERS)}",
        )
    if out.exists() and not force:
        raise InputError("exists already", where=str(out), hint="choose another name, or replace it with --force")
    try:
        with whole_file(out, force=force) as path:
            return writer(reader, path)
    except pa.ArrowNotImplementedError as error:
        raise InputError(f"cannot be written ({error})", where=str(out), hint="cast that column in SQL") from error


def _write_csv(reader: pa.RecordBatchReader, path: Path) -> int:
    with pa.OSFile(str(path), "wb") as sink:
        return print_csv(reader, sink)


def _write_json(reader: pa.RecordBatchReader, path: Path) -> int:
    """An array of objects, one a line."""
    n_rows = 0
    with path.open("w", encoding="utf-8") as file:
        for row in as_rows(reader):
            text = json.dumps(finite(row), ensure_ascii=False, default=str, allow_nan=False)
            file.write(f"{',' if n_rows else '['}\n{text}")
            n_rows += 1
        file.write("\n]\n" if n_rows else "[]\n")
    return n_rows


def _write_arrow(reader: pa.RecordBatchReader, path: Path) -> int:
    return write_ipc(path, reader.schema, reader)


def _write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    n_rows = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd", use_dictionary=repeating(reader.schema)) as writer:
        for batch in reader:
            writer.write_batch(batch)
            n_rows += batch.num_rows
    return n_rows


_WRITERS: Final[Mapping[str, Callable[[pa.RecordBatchReader, Path], int]]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".arrow": _write_arrow,
    ".parquet": _write_parquet,
}


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _printable(kind: pa.DataType) -> pa.DataType:
    nested = pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    other = nested or pa.types.is_dictionary(kind) or isinstance(kind, pa.ExtensionType)
    return pa.string() if other else kind


def _as_text(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode().cast(kind)
    values = (base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in column.to_pylist())
    return pa.array([None if v is None else str(v) for v in values], pa.string())
