"""Reading the reference system's marker files: Arrow IPC (``.ipc``) and CSV, some columns at a time.

A file has a row a parcel and a column a date, statistic and type: thousands of columns. Whoever wants them all reads
a bounded number of columns of all rows at once; an IPC file is mapped, a CSV file is first turned into one.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.markers.compat_parse import ForeignColumn, read_compat_name

ID_COLUMN = "NewID"
_INDEX_ENTRY = np.dtype([("batch", ">i4"), ("first", ">i4"), ("last", ">i4")])
_CSV_BLOCK = 8 << 20


@dataclass(frozen=True, eq=False)
class ForeignTable:
    """An open marker file of the reference."""

    path: Path
    """An Arrow IPC file."""
    names: tuple[str, ...]
    """Every column but the parcel's, in the file's order; a name may occur twice."""
    ids: NDArray[np.int64]
    """(n,) the parcel of each row, by the reference's number."""
    places: tuple[int, ...]
    """Where each of ``names`` is in the file."""
    numeric: frozenset[int]
    """Which of ``names`` hold numbers, by place among them."""
    notes: tuple[str, ...]

    def columns(self, wanted: Sequence[int]) -> list[NDArray[np.float32]]:
        """(n,) values of columns by their place among ``names``; NaN where the file has none."""
        fields = sorted(self.places[i] for i in wanted)
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        with pa.memory_map(str(self.path), "r") as source:
            reader = pa.ipc.open_file(source, options=options)
            by_field = {field: np.empty(self.ids.size, np.float32) for field in fields}
            row = 0
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                for values, column in zip(by_field.values(), batch.columns, strict=True):
                    own = column.cast(pa.float32(), safe=False)
                    values[row : row + batch.num_rows] = own.to_numpy(zero_copy_only=False)
                row += batch.num_rows
        return [by_field[self.places[i]] for i in wanted]


def open_foreign(path: Path, scratch: Path) -> ForeignTable:
    """Open a marker file of the reference.

    Parameters
    ----------
    path : ``.ipc`` (beside which ``.ipc.idx`` may lie), ``.arrow`` or ``.csv``
    scratch : folder for the columns of a CSV file

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it is not such a file, or a parcel has two rows.
    NoInputsError
        If it has no row or no column.
    """
    if not path.is_file():
        raise MissingDataError("no such file", where=str(path), hint="give a marker file, .ipc or .csv")
    if path.suffix.lower() == ".csv":
        source, names = _from_csv(path, scratch), _csv_names(path)
    elif path.suffix.lower() in {".ipc", ".arrow"}:
        source, names = path, None
    else:
        raise InputError(f"{path.suffix or 'no ending'!r} names no format", where=str(path), hint="known: .ipc, .csv")
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(source), "r"))
        schema = reader.schema
        names = schema.names if names is None else names
        if names.count(ID_COLUMN) != 1:
            raise InputError(
                f"has {names.count(ID_COLUMN)} columns {ID_COLUMN}, not one; it begins with {listing(names, 5)}",
                where=str(path),
                hint="marker files have the parcel's number in NewID",
            )
        place = names.index(ID_COLUMN)
        options = pa.ipc.IpcReadOptions(included_fields=[place])
        mapped = pa.ipc.open_file(pa.memory_map(str(source), "r"), options=options)
        parts = [mapped.get_batch(i).column(0) for i in range(mapped.num_record_batches)]
        ids = _ids(parts, path)
    except pa.ArrowInvalid as error:
        raise InputError(f"not a whole Arrow file ({error})", where=str(path), hint="copy it again") from error
    places = [i for i in range(len(names)) if i != place]
    if not ids.size or not places:
        raise NoInputsError(
            f"has {ids.size} rows and {len(places)} columns beside {ID_COLUMN}",
            where=str(path),
            hint="nothing to import",
        )
    kinds = schema.types
    return ForeignTable(
        path=source,
        names=tuple(names[i] for i in places),
        ids=ids,
        places=tuple(places),
        numeric=frozenset(
            n for n, i in enumerate(places) if pa.types.is_floating(kinds[i]) or pa.types.is_integer(kinds[i])
        ),
        notes=_index_notes(path, parts),
    )


def _ids(parts: Sequence[pa.Array], path: Path) -> NDArray[np.int64]:
    if any(part.null_count or not pa.types.is_integer(part.type) for part in parts):
        raise InputError(f"column {ID_COLUMN} does not hold a whole number in every row", where=str(path))
    ids: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *(part.to_numpy() for part in parts)]).astype(
        np.int64
    )
    known, n = np.unique(ids, return_counts=True)
    if (n > 1).any():
        twice = [str(i) for i in known[n > 1]]
        raise InputError(f"parcels with two rows: {listing(twice)}", where=str(path), hint="each parcel has one row")
    return ids


def _index_notes(path: Path, parts: Sequence[pa.Array]) -> tuple[str, ...]:
    """What to say of the index beside an IPC file: it is not needed, but one of another file hints at a mix-up."""
    index = path.with_name(f"{path.name}.idx")
    if path.suffix.lower() == ".csv" or not index.is_file():
        return ()
    said = index.read_bytes()
    found = [(i, int(p[0].as_py()), int(p[-1].as_py())) for i, p in enumerate(parts) if len(p)]
    if said == np.array(found, dtype=_INDEX_ENTRY).tobytes():
        return ()
    return (f"{index.name} is the index of another file; it is not needed and was not used",)


def _csv_names(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a CSV file ({error})", where=str(path)) from error


def _csv_type(name: str) -> pa.DataType:
    if name == ID_COLUMN:
        return pa.int64()
    return pa.float32() if isinstance(read_compat_name(name), ForeignColumn) else pa.string()


def _from_csv(path: Path, scratch: Path) -> Path:
    """The same as an Arrow file, its columns called by their place, since names may occur twice."""
    names = _csv_names(path)
    if not names:
        raise NoInputsError("is empty", where=str(path), hint="nothing to import")
    columns = [str(i) for i in range(len(names))]
    kinds = {c: _csv_type(name) for c, name in zip(columns, names, strict=True)}
    made = scratch / "columns.arrow"
    try:
        # The header was read above; to Arrow every name is its place.
        with (
            pa_csv.open_csv(
                path,
                read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK, column_names=columns, skip_rows=1),
                convert_options=pa_csv.ConvertOptions(column_types=kinds),
            ) as reader,
            pa.OSFile(str(made), "wb") as sink,
            pa.ipc.new_file(sink, reader.schema) as writer,
        ):
            for batch in reader:
                writer.write_batch(batch)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise NoInputsError("has no rows", where=str(path), hint="nothing to import") from error
        raise InputError(
            f"not a marker file ({str(error).splitlines()[0]})",
            where=str(path),
            hint="columns are separated by commas, values are numbers or empty; columns are counted from 0",
        ) from error
    return made
