"""One file of a merge: memory-mapped rows by NewID, columns under their final names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.words import BatchWords

ID_COLUMN = "NewID"

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Values = npt.NDArray[Any]


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
    words: BatchWords = field(init=False, repr=False)
    """Its columns, of which rows are taken."""

    def __post_init__(self) -> None:
        """Sort once, and refuse what could only be guessed at."""
        object.__setattr__(self, "order", np.argsort(self.ids, kind="stable"))
        object.__setattr__(self, "words", BatchWords(partial(_columns, self.batch, self.where), self.starts))
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

    def take(self, wanted: Ids) -> tuple[Rows, dict[str, Values]]:
        """Values for ``wanted`` that this part, or one over it, has.

        Parameters
        ----------
        wanted : (m,) ascending NewIDs

        Returns
        -------
        places : (k,) positions in ``wanted``, ascending
        values : (k,) of each column, by its name in the file

        Raises
        ------
        InputError
            If a column holds nulls.
        """
        found = self._take(wanted)
        for part in self.over:
            found = _laid_over(*found, *part.take(wanted))
        return found

    def _take(self, wanted: Ids) -> tuple[Rows, dict[str, Values]]:
        ordered = self.ids[self.order]
        nearest = np.minimum(np.searchsorted(ordered, wanted), max(ordered.size - 1, 0))
        places = np.flatnonzero(ordered[nearest] == wanted) if ordered.size else np.empty(0, np.int64)
        kinds = {name: np.dtype(field.type.to_pandas_dtype()) for name, field in self.columns.items()}
        if not places.size:
            return places, {name: np.empty(0, kind) for name, kind in kinds.items()}
        rows = self.order[nearest[places]]
        values: dict[str, Values] = {}
        for width in {kind.itemsize for kind in kinds.values()}:
            names = [name for name, kind in kinds.items() if kind.itemsize == width]
            matrix = self.words.rows(names, rows)
            values |= {name: row.view(kinds[name]) for name, row in zip(names, matrix, strict=True)}
        return places, values


def _columns(batch: Callable[[int], pa.RecordBatch], where: str, number: int, names: Sequence[str]) -> list[pa.Array]:
    columns: list[pa.Array] = batch(number).select(names).columns
    if nulls := [name for name, column in zip(names, columns, strict=True) if column.null_count]:
        raise InputError(f"column {nulls[0]} holds nulls; unknown values must be NaN", where=where)
    return columns


def _laid_over(
    places: Rows, values: dict[str, Values], places_over: Rows, over: Mapping[str, Values]
) -> tuple[Rows, dict[str, Values]]:
    """Values at some places, and over them, or beside, those of another part with the same columns."""
    if not places_over.size:
        return places, values
    is_there = np.zeros(max(places_over[-1], places[-1] if places.size else 0) + 1, np.bool_)
    is_there[places] = is_there[places_over] = True
    both = np.flatnonzero(is_there)
    if both.size > places.size:
        at = np.searchsorted(both, places)
        for name, below in values.items():
            values[name] = np.empty(both.size, below.dtype)
            values[name][at] = below
    at_over = np.searchsorted(both, places_over)
    for name, above in over.items():
        values[name][at_over] = above
    return both, values


def part_from_file(
    path: Path, choose: Callable[[pa.Schema], Mapping[str, pa.Field]], over: tuple[Part, ...] = ()
) -> Part:
    """A memory-mapped part.

    Parameters
    ----------
    path : Arrow IPC file whose first column is ``NewID``
    choose : from the file's schema to the columns of the part
    over : parts that lie over it
    """
    reader = open_ipc(path)
    schema = reader.schema
    if ID_COLUMN not in schema.names:
        raise InputError(f"has no column {ID_COLUMN}", where=str(path), hint="name a series or marker file of s4c")
    columns = choose(schema)
    # Whole batches are mapped; reading chosen fields only (included_fields) would copy them into memory.
    place = schema.get_field_index(ID_COLUMN)
    # All of them now, so that nothing but pages is left of the file: a merge may have more files than can be open.
    batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    chunks = [batch.column(place).to_numpy() for batch in batches]
    ids = np.concatenate(chunks).astype(np.int32, copy=False) if chunks else np.empty(0, np.int32)
    return Part(
        where=str(path),
        columns=columns,
        ids=ids,
        starts=np.cumsum([0, *(len(c) for c in chunks)], dtype=np.int64),
        batch=batches.__getitem__,
        over=over,
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
