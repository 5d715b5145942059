"""Where ``zonal`` may write, and the table that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa

from s4c_hpc.core.atomic import replacing
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.extract.zonal_index import IndexFile
from s4c_hpc.extract.zonal_raster import ZonalRequest

ENDINGS: Final = (".arrow", ".parquet", ".csv")


def check_output(path: Path, request: ZonalRequest) -> None:
    """Refuse to write what no writer knows, or over a file that is read, before anything is read.

    Raises
    ------
    InputError, ConfigError, MissingDataError
        The ending is unknown; the name is that of an input or of the index; there is no such folder.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"{path.suffix or 'no ending'} is not a format to write",
            where=str(path),
            hint="use .arrow, .parquet or .csv",
        )
    if not path.parent.is_dir():
        raise MissingDataError("no such folder", where=str(path.parent), hint="make it first")
    _check_apart(path, request, "the table")
    if request.index is not None and _is_same(path, request.index):
        raise ConfigError("is named for the table and for the index", where=str(path), hint="name two files")


def check_index(request: ZonalRequest) -> None:
    """Refuse an index that would replace an input, or a file that is not an index.

    Raises
    ------
    ConfigError, InputError
        The name is that of an input; the file that is there holds something else.
    """
    if request.index is None:
        return
    _check_apart(request.index, request, "the index")
    if request.index.exists():
        IndexFile(request.index)


def _check_apart(path: Path, request: ZonalRequest, what: str) -> None:
    for read in (*request.rasters, *request.masks, request.parcels):
        if _is_same(path, read) or read.resolve() in path.resolve().parents:  # parcels may be a folder
            raise ConfigError(f"{what} would replace {read}, which is read", where=str(path), hint="name another file")


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, also by links."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def write_table(table: pa.Table, path: Path) -> None:
    """Write a result as Arrow, Parquet or CSV, by the ending of its name; NaN is an empty field in CSV."""
    with replacing(path) as temporary:
        if path.suffix.lower() == ".arrow":
            write_ipc(temporary, table.schema, table.combine_chunks().to_batches())
        elif path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq  # noqa: PLC0415 - loaded where it is used

            pq.write_table(table, temporary, compression="zstd")
        else:
            import pyarrow.compute as pc  # noqa: PLC0415 - loaded where it is used
            from pyarrow import csv  # noqa: PLC0415

            for i, field in enumerate(table.schema):
                if pa.types.is_floating(field.type):
                    column = table.column(i)
                    table = table.set_column(i, field, pc.if_else(pc.is_nan(column), None, column))
            csv.write_csv(table, temporary)
