"""One file of a merge: memory-mapped rows by NewID, columns under their final names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.core.ipc import open_ipc

ID_COLUMN = "NewID"

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Columns of one file or table that go into a merge."""

    where: str
    """File, for messages."""
    columns: Mapping[str, pa.Field]
    """Column of the file -> field of the result (name, type, metadata)."""
    ids: Ids
    """(n,) NewIDs in the file's order, each once."""
    starts: Rows
    """(n_batches + 1,) row at which each record batch starts; the last is the number of rows."""
    batch: Callable[[int], pa.RecordBatch]
    """Record batch by number, holding at least ``columns``; a mapped one costs no memory."""
    over: tuple[Part, ...] = ()
    """Parts with the same columns that lie over it: of several that have a parcel the last one counts."""
    order: Rows = field(init=False)
    """(n,) rows of the file by ascending NewID."""

    def __post_init__(self) -> None:
        """Sort once, and refuse what could only be guessed at."""
        object.__setattr__(self, "order", np.argsort(self.ids, kind="stable"))
        ordered = self.ids[self.order]
        twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if twice.size:
            raise InputError(
                f"NewID stands more than once: {listing([str(i) for i in twice])}",
                where=self.where,
                hint="delete the file and run again",
            )

    @property
    def every_id(self) -> Ids:
        """NewIDs that it or a part over it has; some may be there twice."""
        return np.concatenate([self.ids, *(part.every_id for part in self.over)]) if self.over else self.ids

    def take(self, wanted: Ids) -> tuple[Rows, pa.Table]:
        """Rows of ``wanted`` that this part, or one over it, has.

        Parameters
        ----------
        wanted : (m,) ascending NewIDs

        Returns
        -------
        places : (k,) positions in ``wanted``, ascending
        rows : (k,) the file's rows in that order, columns as in the file, one chunk
        """
        found = self._take(wanted)
        for part in self.over:
            found = _laid_over(*found, *part.take(wanted))
        return found

    def _take(self, wanted: Ids) -> tuple[Rows, pa.Table]:
        ordered = self.ids[self.order]
        nearest = np.minimum(np.searchsorted(ordered, wanted), max(ordered.size - 1, 0))
        places = np.flatnonzero(ordered[nearest] == wanted) if ordered.size else np.empty(0, np.int64)
        if not places.size:
            return places, pa.table({name: pa.array([], f.type) for name, f in self.columns.items()})
        rows = self.order[nearest[places]]
        by_row = np.argsort(rows, kind="stable")
        ascending = rows[by_row]
        numbers = np.searchsorted(self.starts, ascending, side="right") - 1
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        names = list(self.columns)
        pieces = [
            _rows_of(self.batch(int(number)).select(names), local - self.starts[number])
            for number, local in zip(numbers[np.r_[0, cuts]], np.split(ascending, cuts), strict=True)
        ]
        table = pa.Table.from_batches(pieces).combine_chunks()
        if not np.array_equal(by_row, np.arange(by_row.size)):
            back = np.empty_like(by_row)
            back[by_row] = np.arange(by_row.size)
            table = table.take(pa.array(back))
        return places, table


def _rows_of(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
    """Ascending ``rows`` of a batch; a slice, free of charge, where they are consecutive."""
    if rows[-1] - rows[0] + 1 == rows.size:
        return batch.slice(int(rows[0]), rows.size)
    return batch.take(pa.array(rows))


def _laid_over(places: Rows, table: pa.Table, places_over: Rows, over: pa.Table) -> tuple[Rows, pa.Table]:
    """Rows at some places, and over them, or beside, those of another table with the same columns."""
    if not places_over.size:
        return places, table
    both = np.union1d(places, places_over)
    at, at_over = np.searchsorted(both, places), np.searchsorted(both, places_over)
    arrays = []
    for below, above in zip(table.columns, over.columns, strict=True):
        values = np.empty(both.size, above.type.to_pandas_dtype())
        values[slice(None) if at.size == both.size else at] = below.to_numpy()
        values[at_over] = above.to_numpy()
        arrays.append(pa.array(values))
    return both, pa.table(arrays, names=table.column_names)


def part_from_file(path: Path, choose: Callable[[pa.Schema], Mapping[str, pa.Field]]) -> Part:
    """A memory-mapped part.

    Parameters
    ----------
    path : Arrow IPC file whose first column is ``NewID``
    choose : from the file's schema to the columns of the part
    """
    reader = open_ipc(path)
    schema = reader.schema
    if ID_COLUMN not in schema.names:
        raise InputError(f"has no column {ID_COLUMN}", where=str(path), hint="name a series or marker file of s4c")
    columns = choose(schema)
    # Whole batches are mapped; reading chosen fields only (included_fields) would copy them into memory.
    place = schema.get_field_index(ID_COLUMN)
    chunks = [reader.get_batch(i).column(place).to_numpy() for i in range(reader.num_record_batches)]
    ids = np.concatenate(chunks).astype(np.int32, copy=False) if chunks else np.empty(0, np.int32)
    return Part(
        where=str(path),
        columns=columns,
        ids=ids,
        starts=np.cumsum([0, *(len(c) for c in chunks)], dtype=np.int64),
        batch=reader.get_batch,
    )


def part_from_table(table: pa.Table, where: str = "table") -> Part:
    """A part from a table in memory, with all its columns."""
    batches = table.to_batches()
    return Part(
        where=where,
        columns={f.name: f for f in table.schema if f.name != ID_COLUMN},
        ids=table.column(ID_COLUMN).to_numpy().astype(np.int32, copy=False),
        starts=np.cumsum([0, *(b.num_rows for b in batches)], dtype=np.int64),
        batch=batches.__getitem__,
    )
