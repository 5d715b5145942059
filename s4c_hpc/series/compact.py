"""Months of series turned round: all values of a parcel in one place.

A series file holds an acquisition, column after column: made for a date, or for a variable of all parcels. One parcel's
season is then thousands of places in hundreds of files. A compacted month holds, for each parcel, a matrix of all
columns and acquisitions: a page or two of one file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.ipc import read_metadata, write_ipc
from s4c_hpc.parcels import BLOCK
from s4c_hpc.series.contract import ID
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.layers import Ids, Layered, Rows

_TURNED_AT_A_TIME: Final = 4
"""Columns of a block."""

CONTRACT: Final = "s4c-compact-1"
"""Changes when the meaning of columns or metadata changes."""

Kind = str
"""NumPy name of a type: all columns of one type make one tensor, ``float32`` or ``int32``."""


def blank(kind: Kind) -> float | int:
    """What stands for a parcel or a column that an acquisition does not have: NaN, or 0 in a column of whole numbers.

    Counts are whole numbers unless pixels are weighted by coverage: then they are sums of shares, and NaN.
    """
    return np.nan if np.dtype(kind).kind == "f" else 0


def write_compact(
    path: Path,
    inputs: Sequence[tuple[Acquisition, Layered]],
    *,
    tile: str,
    month: str,
    task: str,
    block_rows: int = BLOCK,
) -> int:
    """Write a compacted month; returns its number of parcels.

    Parameters
    ----------
    inputs : acquisitions of one sensor and grid with their files; layers are folded in
    month : ``2018-05``
    task : id of the task, kept in the file's metadata
    block_rows : parcels of a record batch

    Notes
    -----
    Beside ``NewID`` there is one fixed-shape tensor a parcel for each type of columns, (columns, acquisitions), in the
    order of the first file's columns and of time. Memory: ``block_rows`` matrices twice, and 8 bytes a parcel for each
    file whose parcels are in another order.
    """
    ordered = sorted(inputs, key=lambda pair: pair[0].sort_key)
    acquisitions = [acquisition for acquisition, _ in ordered]
    if len({(a.sensor, a.grid) for a in acquisitions}) != 1:
        raise InternalError("a compacted month is of one sensor and grid", where=str(path))
    columns = columns_by_kind([layered.schema for _, layered in ordered])
    ids = _all_ids([layered for _, layered in ordered])
    sources: list[_Source] = []
    for _, layered in ordered:
        sources.append(_Source.of(layered, ids, columns, sources[-1] if sources else None))
    metadata = {
        "contract": CONTRACT,
        "tile": tile,
        "sensor": acquisitions[0].sensor,
        "grid": acquisitions[0].grid,
        "month": month,
        "task": task,
        "block_rows": str(block_rows),
        "acquisitions": json.dumps([a.to_json() for a in acquisitions], ensure_ascii=False),
        "columns": json.dumps(_described([layered.schema for _, layered in ordered]), ensure_ascii=False),
    }
    fields = [pa.field(ID, pa.int32(), nullable=False)]
    for kind, names in columns.items():
        shape = [len(names), len(acquisitions)]
        tensor = pa.fixed_shape_tensor(pa.from_numpy_dtype(np.dtype(kind)), shape, dim_names=["column", "acquisition"])
        fields.append(pa.field(kind, tensor, nullable=False, metadata={"columns": canonical_json(names)}))
    schema = pa.schema(fields, metadata=metadata)
    return write_ipc(path, schema, _batches(schema, ids, columns, sources, block_rows))


def _batches(
    schema: pa.Schema, ids: Ids, columns: dict[Kind, list[str]], sources: Sequence[_Source], block_rows: int
) -> Iterator[pa.RecordBatch]:
    most = min(block_rows, ids.size)
    gathered = {kind: np.empty((len(sources), len(names), most), kind) for kind, names in columns.items()}
    turned = {kind: np.empty((most, len(names), len(sources)), kind) for kind, names in columns.items()}
    for start in range(0, ids.size, block_rows):
        n = min(block_rows, ids.size - start)
        for i, source in enumerate(sources):
            source.fill(start, n, {kind: values[i, :, :n] for kind, values in gathered.items()})
        arrays = [pa.array(ids[start : start + n])]
        for kind, matrices in turned.items():
            # A few columns at a time stay in the processor's cache: three times as fast as all of them.
            for first in range(0, matrices.shape[1], _TURNED_AT_A_TIME):
                some = slice(first, first + _TURNED_AT_A_TIME)
                matrices[:n, some] = gathered[kind][:, some, :n].transpose(2, 1, 0)
            arrays.append(_tensor(matrices[:n], schema.field(kind).type))
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _tensor(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """(n, columns, acquisitions) as an array of the file's own tensor type, without a copy."""
    flat = pa.array(values.reshape(-1))
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, type=kind.storage_type))


@dataclass(frozen=True, eq=False)
class _Source:
    """One acquisition as it goes into the matrices."""

    layered: Layered
    rows: Rows
    """(n,) rows of the stacked files for each parcel of the result, -1 for none."""
    places: dict[Kind, tuple[list[str], NDArray[np.int64]]]
    """By type, the columns that the files have: their names, and their places in the matrix."""

    @classmethod
    def of(cls, layered: Layered, ids: Ids, columns: dict[Kind, list[str]], before: _Source | None) -> _Source:
        """How the files of an acquisition lie to the parcels and columns of the result.

        Parameters
        ----------
        before : another acquisition; most often its files hold the same parcels in the same order
        """
        own = set(layered.schema.names)
        places = {
            kind: ([n for n in names if n in own], np.flatnonzero([n in own for n in names]))
            for kind, names in columns.items()
        }
        if before is not None and layered.has_rows_of(before.layered):
            return cls(layered, before.rows, places)
        return cls(layered, layered.rows_of(ids), places)

    def fill(self, start: int, n: int, matrices: dict[Kind, NDArray[Any]]) -> None:
        """Put the values of parcels ``start ... start + n`` into (columns, n) views of the matrices."""
        rows = self.rows[start : start + n]
        is_there = rows >= 0
        for kind, (names, there) in self.places.items():
            target = matrices[kind]
            is_whole = len(there) == len(target) and is_there.all()
            if not is_whole:
                target[:] = blank(kind)
            if names and is_there.any():
                values = self.layered.rows(names, rows[is_there]).view(kind)
                target[slice(None) if is_whole else np.ix_(there, np.flatnonzero(is_there))] = values


def columns_by_kind(schemas: Sequence[pa.Schema]) -> dict[Kind, list[str]]:
    """Columns of all files by type, in order of first occurrence."""
    kinds: dict[str, Kind] = {}
    for schema in schemas:
        for field in schema:
            if field.name != ID:
                kind = np.dtype(field.type.to_pandas_dtype()).name
                if kinds.setdefault(field.name, kind) != kind:
                    raise InternalError(f"column {field.name!r} is {kind} in one file, {kinds[field.name]} in another")
    return {kind: [n for n, k in kinds.items() if k == kind] for kind in sorted(set(kinds.values()))}


def _described(schemas: Sequence[pa.Schema]) -> dict[str, dict[str, str]]:
    """What is said of each column, in the files' order; what two files say differently is left out."""
    described: dict[str, dict[str, str]] = {}
    for schema in schemas:
        for field in schema:
            if field.name != ID:
                said = read_metadata(field)
                known = described.setdefault(field.name, said)
                described[field.name] = {k: v for k, v in known.items() if said.get(k) == v}
    return described


def _all_ids(files: Sequence[Layered]) -> Ids:
    """Every parcel once, in the order of first occurrence."""
    ids = files[0].new_id
    for layered in files[1:]:
        if not layered.has_rows_of(files[0]) and not np.array_equal(layered.new_id, ids):
            both = np.concatenate([ids, layered.new_id])
            _, first = np.unique(both, return_index=True)
            ids = both[np.sort(first)]
    return ids
