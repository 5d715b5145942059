"""Series files that lie one over the other: a full one, then files of the parcels that were added or have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, InternalError
from s4c_hpc.core.words import BatchWords, Words
from s4c_hpc.series.contract import ID, SeriesHeader
from s4c_hpc.series.read import SeriesFile, read_series

Ids = NDArray[np.int32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layered:
    """One acquisition on one grid; where several files have a parcel, the last one counts."""

    files: tuple[SeriesFile, ...]
    """The full file first."""
    only: Ids | None = None
    """(k,) parcels that count, in the order that they shall have; all of every file when not given."""

    def __post_init__(self) -> None:
        """Refuse files that are not layers of each other."""
        if not self.files:
            raise InternalError("an acquisition without a single series file")
        base = self.files[0]
        for layer in self.files[1:]:
            same = [
                (f.header.product, f.header.sensor, f.header.grid, f.schema.names, f.schema.types)
                for f in (base, layer)
            ]
            if same[0] != same[1]:
                raise InputError(
                    f"is no layer over {base.path.name}: another product, grid or other columns",
                    where=str(layer.path),
                    hint="delete both files and run 's4c run'",
                )

    @property
    def header(self) -> SeriesHeader:
        """Of the full file."""
        return self.files[0].header

    @property
    def schema(self) -> pa.Schema:
        """Of the full file."""
        return self.files[0].schema

    @cached_property
    def is_plain(self) -> bool:
        """Whether this is one file as it is."""
        return len(self.files) == 1 and (self.only is None or np.array_equal(self.only, self.files[0].new_id))

    @cached_property
    def new_id(self) -> Ids:
        """(n,) parcels: those of ``only``, else all as they occur first, the full file's before those of layers."""
        return self._union[0]

    @cached_property
    def stacked(self) -> pa.Table:
        """All rows of all files one below the other, without a copy."""
        tables = [file.table() for file in self.files]
        return tables[0] if len(tables) == 1 else pa.concat_tables([t.cast(self.schema) for t in tables])

    def table(self) -> pa.Table:
        """A row a parcel; without a copy where there is one file."""
        return self.stacked if self.is_plain else self.stacked.take(pa.array(self._union[1])).combine_chunks()

    def values(self, name: str) -> NDArray[np.generic]:
        """(n,) of one column in the order of ``new_id``; a copy where there are several blocks or files."""
        if self.is_plain:
            return self.files[0].values(name)
        return np.concatenate([file.values(name) for file in self.files])[self._union[1]]

    def rows(self, names: Sequence[str], rows: Rows) -> Words:
        """(k, n) bits of columns of one type, see ``core.words``, of rows (n,) of ``stacked``, at least one."""
        return self._words.rows(names, rows)

    def has_rows_of(self, other: Layered) -> bool:
        """Whether its files hold the same parcels in the same order as those of another acquisition."""
        pairs = zip(self.files, other.files, strict=False)
        return (
            self.only is other.only
            and len(self.files) == len(other.files)
            and all(np.array_equal(mine.new_id, its.new_id) for mine, its in pairs)
        )

    def mapped(self) -> Layered:
        """Itself, all record batches mapped: no file stays open for them."""
        for file in self.files:
            for _ in file.batches:
                pass
        return self

    def rows_of(self, ids: Ids) -> Rows:
        """(m,) rows of ``stacked`` that count for ``ids`` (m,); -1 for a parcel that no file has."""
        known, rows = self._union
        order = self._order
        if not known.size:
            return np.full(ids.size, -1, np.int64)
        nearest = order[np.minimum(np.searchsorted(known, ids, sorter=order), known.size - 1)]
        return np.where(known[nearest] == ids, rows[nearest], -1)

    def values_of(self, name: str, ids: Ids) -> NDArray[Any]:
        """(m,) of one column for ``ids`` (m,); NaN for a parcel that no file has. Whole numbers become float64."""
        kind = np.dtype(self.schema.field(name).type.to_pandas_dtype())
        values = np.full(ids.size, np.nan, np.result_type(kind, np.float32))
        rows = self.rows_of(ids)
        there = np.flatnonzero(rows >= 0)
        if there.size:
            values[there] = self.rows([name], rows[there]).view(kind)[0]
        return values

    def find(self, new_id: int, hint: int = -1) -> tuple[pa.RecordBatch, int] | None:
        """The record batch and the row in it that count for a parcel, in ``only`` or not; ``None`` if no file has it.

        Parameters
        ----------
        hint : the row where it stands in a full file of the current parcels; with it only one batch is mapped
        """
        for file, rows in zip(reversed(self.files), reversed(self._finders), strict=True):
            if (place := rows.find(new_id, hint)) is not None:
                return file.batches[place[0]], place[1]
        return None

    @cached_property
    def _words(self) -> BatchWords:
        batches = self._batches  # not self, which would live on, with the files it maps, until a cycle is looked for
        return BatchWords(lambda number, names: batches[number].select(names).columns, self._starts)

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        return [batch for file in self.files for batch in file.batches]

    @cached_property
    def _starts(self) -> Rows:
        return np.cumsum([0, *(batch.num_rows for batch in self._batches[:-1])], dtype=np.int64)

    @cached_property
    def _order(self) -> Rows:
        return np.argsort(self.new_id, kind="stable")

    @cached_property
    def _union(self) -> tuple[Ids, Rows]:
        """Parcels in the order of ``new_id`` and, for each, its last row of ``stacked``."""
        parts = [file.new_id for file in self.files]
        if self.is_plain:
            return parts[0], np.arange(parts[0].size, dtype=np.int64)
        every = np.concatenate(parts)
        ids, first = np.unique(every, return_index=True)
        last = (every.size - 1 - np.unique(every[::-1], return_index=True)[1]).astype(np.int64)
        if self.only is None:
            order = np.argsort(first)
            return ids[order], last[order]
        if not ids.size:
            return ids, last
        nearest = np.minimum(np.searchsorted(ids, self.only), ids.size - 1)
        here = ids[nearest] == self.only
        return self.only[here], last[nearest[here]]

    @cached_property
    def _finders(self) -> tuple[RowFinder, ...]:
        return tuple(RowFinder(len(f.batches), _ids_of(f)) for f in self.files)


class RowFinder:
    """Finds the row of a parcel in a file of record batches: where it should be, else by the file's own numbers."""

    def __init__(self, n_batches: int, ids: Callable[[int], Ids]) -> None:
        """Nothing is read yet.

        Parameters
        ----------
        ids : NewIDs of a batch by its number
        """
        self._n_batches, self._ids = n_batches, ids
        self._size = 0
        self._sorted: tuple[Ids, Rows, Rows] | None = None

    def find(self, new_id: int, hint: int = -1) -> tuple[int, int] | None:
        """Batch and row in it, ``None`` if the parcel is not in the file."""
        if not self._n_batches:
            return None
        # All batches but the last are full; where they are not, the hint leads to another parcel and is dropped.
        self._size = self._size or max(len(self._ids(0)), 1)
        if hint >= 0:
            batch, row = divmod(hint, self._size)
            if batch < self._n_batches:
                ids = self._ids(batch)
                if row < len(ids) and ids[row] == new_id:
                    return batch, row
        return self._by_number(new_id)

    def _by_number(self, new_id: int) -> tuple[int, int] | None:
        if self._sorted is None:
            parts = [self._ids(i) for i in range(self._n_batches)]
            every = np.concatenate(parts)
            order = np.argsort(every, kind="stable")
            self._sorted = every[order], order, np.cumsum([0, *(len(part) for part in parts)])
        ids, order, starts = self._sorted
        at = int(np.searchsorted(ids, np.int32(new_id)))  # of the same type: else all of them would be converted
        if at == ids.size or ids[at] != new_id:
            return None
        batch = int(np.searchsorted(starts, order[at], side="right")) - 1
        return batch, int(order[at] - starts[batch])


def open_layers(paths: Sequence[Path], only: Ids | None = None) -> Layered:
    """Open the files of one acquisition, the full one first.

    Parameters
    ----------
    only : (k,) parcels that count, in the order that they shall have

    Raises
    ------
    MissingDataError, InputError
        If one is not there, is not a whole series file, or does not belong to the others.
    """
    return Layered(tuple(read_series(path) for path in paths), only)


def _ids_of(file: SeriesFile) -> Callable[[int], Ids]:
    place = file.schema.get_field_index(ID)
    known: dict[int, Ids] = {}

    def ids(number: int) -> Ids:
        if number not in known:
            known[number] = file.batches[number].column(place).to_numpy()
        return known[number]

    return ids
