"""Reading series files: memory-mapped, nothing is loaded until it is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.series.contract import ID, SeriesHeader


class MappedBatches:
    """The record batches of a file, each mapped when it is first asked for: one parcel needs one of hundreds."""

    def __init__(self, reader: pa.ipc.RecordBatchFileReader) -> None:
        self._reader: pa.ipc.RecordBatchFileReader | None = reader
        self._n = int(reader.num_record_batches)
        self._mapped: dict[int, pa.RecordBatch] = {}

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, number: int) -> pa.RecordBatch:
        if number not in self._mapped:
            if self._reader is None:
                raise IndexError(number)
            self._mapped[number] = self._reader.get_batch(number)
            if len(self._mapped) == self._n:
                self._reader = None  # and with it the file's descriptor; pages stay mapped without
        return self._mapped[number]

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (self[number] for number in range(len(self)))


@dataclass(frozen=True, eq=False)
class SeriesFile:
    """An open series file; its columns share the pages of the file."""

    path: Path
    header: SeriesHeader
    schema: pa.Schema
    batches: MappedBatches = field(repr=False)
    """One a parcel block."""

    @property
    def metadata(self) -> dict[str, str]:
        """The schema metadata as text."""
        return read_metadata(self.schema)

    @property
    def n_rows(self) -> int:
        """Number of parcels."""
        return sum(batch.num_rows for batch in self.batches)

    @property
    def new_id(self) -> NDArray[np.int32]:
        """(n_rows,) parcel of each row; a copy where the file has several blocks."""
        return self.values(ID).astype(np.int32, copy=False)

    @property
    def names(self) -> list[str]:
        """Every column but the parcel, in the file's order."""
        return [name for name in self.schema.names if name != ID]

    def describe(self, name: str) -> dict[str, str]:
        """What a column's field metadata say: ``unit``, ``long_name``, ``method``, ``source`` ..."""
        return read_metadata(self.schema.field(self._known(name)))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column without a copy: (n_rows,) in one chunk a parcel block."""
        place = self.schema.get_field_index(self._known(name))
        kind = self.schema.field(place).type
        return pa.chunked_array([batch.column(place) for batch in self.batches], type=kind)

    def chunks(self, name: str) -> Iterator[NDArray[np.generic]]:
        """A column as one NumPy view of the file a parcel block, without a copy."""
        for chunk in self.column(name).chunks:
            yield chunk.to_numpy(zero_copy_only=True)

    def values(self, name: str) -> NDArray[np.generic]:
        """A column as one (n_rows,) array; a copy where the file has several blocks."""
        parts = list(self.chunks(name))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, self.schema.field(name).type.to_pandas_dtype())

    def table(self) -> pa.Table:
        """The whole file as a table, without a copy."""
        return pa.Table.from_batches(list(self.batches), schema=self.schema)

    def _known(self, name: str) -> str:
        if name not in self.schema.names:
            raise InputError(f"has no column {name!r}; it has {listing(self.schema.names, 20)}", where=str(self.path))
        return name


def read_series(path: Path) -> SeriesFile:
    """Open a series file memory-mapped.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it is not a whole series file.
    """
    reader = open_ipc(path)
    schema = reader.schema
    header = SeriesHeader.from_metadata(read_metadata(schema), str(path))
    return SeriesFile(path, header, schema, MappedBatches(reader))
