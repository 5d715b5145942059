"""All parcels of a tile: on one acquisition, in one column, or everything as one long table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.series.compact import blank
from s4c_hpc.series.contract import ID
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.layers import Ids, Layered
from s4c_hpc.series.parcel import times_of


@dataclass(frozen=True, slots=True, eq=False)
class AcquisitionSeries:
    """All parcels of a tile on one acquisition and grid."""

    tile: str
    acquisition: Acquisition
    files: Layered = field(repr=False)

    @property
    def new_id(self) -> Ids:
        """(n,) parcels."""
        return self.files.new_id

    def values(self, name: str) -> NDArray[Any]:
        """(n,) of one column, in the order of ``new_id``."""
        return self.files.values(name)

    def table(self) -> pa.Table:
        """A row a parcel, with units, methods and sources; mapped, not read, where there is one file."""
        return self.files.table()


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableSeries:
    """One column of all parcels of a tile on one grid of one sensor."""

    tile: str
    sensor: str
    grid: str
    name: str
    described: Mapping[str, str] = field(repr=False)
    """Unit, long_name, method ..."""
    acquisitions: tuple[Acquisition, ...] = field(repr=False)
    """(m,) those that have the column, by time."""
    new_id: Ids = field(repr=False)
    """(n,) parcels."""
    matrix: NDArray[Any] = field(repr=False)
    """(m, n); NaN, 0 in columns of whole numbers, for a parcel that an acquisition does not have."""

    @property
    def times(self) -> NDArray[np.datetime64]:
        """(m,) acquisition times, UTC."""
        return times_of(self.acquisitions)

    def table(self) -> pa.Table:
        """A row a parcel and acquisition: ``NewID``, ``datetime``, and the column."""
        n = self.new_id.size
        columns = {
            ID: np.tile(self.new_id, len(self.acquisitions)),
            "datetime": np.repeat(self.times, n),
            self.name: self.matrix.reshape(-1),
        }
        fields = [
            pa.field(ID, pa.int32()),
            pa.field("datetime", pa.timestamp("us", "UTC")),
            pa.field(self.name, pa.from_numpy_dtype(self.matrix.dtype), metadata=dict(self.described)),
        ]
        about = {"tile": self.tile, "sensor": self.sensor, "grid": self.grid}
        return pa.table(
            [pa.array(columns[f.name]).cast(f.type) for f in fields], schema=pa.schema(fields, metadata=about)
        )


def matrix_of(files: Sequence[Layered], column: str) -> tuple[Ids, NDArray[Any]]:
    """Parcels of all files, and (files, parcels) values of a column."""
    ids = files[0].new_id
    others = [layered for layered in files[1:] if not np.array_equal(layered.new_id, ids)]
    if others:
        ids = np.unique(np.concatenate([ids, *(layered.new_id for layered in others)]))
    kind = np.dtype(files[0].schema.field(column).type.to_pandas_dtype())
    values = np.full((len(files), ids.size), blank(kind.name), kind)
    for target, layered in zip(values, files, strict=True):
        own: Any = slice(None) if not others else np.searchsorted(ids, layered.new_id)
        target[own] = layered.values(column)
    return ids, values


def long_table(tile: str, acquisition: Acquisition, table: pa.Table, columns: list[str] | None) -> pa.Table:
    """The rows of an acquisition with what it is in front; repeated values cost a byte a row."""
    names = [n for n in table.column_names if n != ID and (columns is None or n in columns)]
    repeated = {
        "tile": pa.array([tile]),
        "sensor": pa.array([acquisition.sensor]),
        "grid": pa.array([acquisition.grid]),
        "product": pa.array([acquisition.product]),
        "datetime": pa.array([acquisition.datetime], pa.timestamp("us", "UTC")),
    }
    first = pa.array(np.zeros(table.num_rows, np.int8))
    about = {name: pa.DictionaryArray.from_arrays(first, value) for name, value in repeated.items()}
    return pa.table({ID: table[ID], **about, **{name: table[name] for name in names}})
