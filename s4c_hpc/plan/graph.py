"""Who waits for whom in a plan, as two arrays of edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import InternalError

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges of a plan; a row is the position of a task in its table."""

    n_rows: int
    waiting: Rows
    """(n_edges,) row that depends, ascending."""
    needed: Rows
    """(n_edges,) row that it depends on."""

    @classmethod
    def of(cls, tasks: pa.Table) -> Graph:
        """Edges of a plan's ``depends_on`` column.

        Raises
        ------
        InternalError
            If a row depends on a task that is not in the plan.
        """
        waiting, keys = flattened(tasks["depends_on"])
        needed = positions(keys, tasks["id"])
        if (needed < 0).any():
            edge = int(np.flatnonzero(needed < 0)[0])
            row = tasks.slice(int(waiting[edge]), 1).to_pylist()[0]
            raise InternalError(
                f"depends on a task that is not planned: {keys[edge].as_py()}",
                where=f"stage {row['stage']}, {row['tile']} {row['subject']}",
            )
        return cls(tasks.num_rows, waiting, needed)

    @classmethod
    def of_lists(cls, needs: pa.ChunkedArray) -> Graph:
        """Edges as ``lists`` wrote them."""
        waiting, needed = flattened(needs)
        return cls(len(needs), waiting, np.asarray(needed, dtype=np.int64))

    def lists(self) -> pa.ListArray:
        """For each row the rows that it depends on: quicker to read than ``depends_on``, whose ids must be found."""
        offsets = np.searchsorted(self.waiting, np.arange(self.n_rows + 1))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(self.needed, pa.int32()))

    def any_needed(self, mask: Mask) -> Mask:
        """For each row, whether any row that it depends on is in ``mask``; (n_rows,)."""
        found = np.zeros(self.n_rows, dtype=bool)
        found[self.waiting[mask[self.needed]]] = True
        return found

    def first_needed(self, mask: Mask) -> Rows:
        """For each row, the first row in ``mask`` that it depends on, or -1; (n_rows,)."""
        edges = np.flatnonzero(mask[self.needed])[::-1]
        found = np.full(self.n_rows, -1, dtype=np.int64)
        found[self.waiting[edges]] = self.needed[edges]  # backwards: the first one stays
        return found

    def needed_by(self, row: int) -> Rows:
        """Rows that ``row`` depends on, in the order of its ``depends_on``."""
        first, last = np.searchsorted(self.waiting, [row, row + 1])
        return self.needed[first:last]

    def levels(self) -> list[Rows]:
        """Rows grouped so that each group depends on earlier groups only.

        Raises
        ------
        InternalError
            If tasks wait for each other.
        """
        if not self.n_rows:
            return []
        level = np.zeros(self.n_rows, dtype=np.int64)
        first = np.flatnonzero(np.diff(self.waiting, prepend=-1))  # of the edges of each row that waits
        while first.size:
            deeper = np.maximum.reduceat(level[self.needed], first) + 1
            if (deeper == level[self.waiting[first]]).all():
                break
            if deeper.max() >= self.n_rows:
                raise InternalError("tasks of the plan wait for each other")
            level[self.waiting[first]] = deeper
        order = np.argsort(level, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(level[order])) + 1)

    def ancestors(self, mask: Mask) -> Mask:
        """``mask`` and everything that its rows depend on, directly or not."""
        found = mask.copy()
        while True:
            before = int(found.sum())
            found[self.needed[found[self.waiting]]] = True
            if int(found.sum()) == before:
                return found


def flattened(lists: pa.ChunkedArray) -> tuple[Rows, pa.ChunkedArray]:
    """Rows and values of a column of lists, ``(n_values,)`` each, in order; the values are not copied."""
    first = np.cumsum([0, *(len(chunk) for chunk in lists.chunks)])
    rows = [pc.list_parent_indices(chunk).to_numpy() + at for chunk, at in zip(lists.chunks, first[:-1], strict=True)]
    values = pa.chunked_array([chunk.flatten() for chunk in lists.chunks], lists.type.value_type)
    return np.concatenate([np.zeros(0, dtype=np.int64), *rows]), values


def positions(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Rows:
    """Position of each value in ``among`` (its first occurrence), or -1."""
    if not len(values) or not len(among):
        return np.full(len(values), -1, dtype=np.int64)
    if isinstance(among, pa.ChunkedArray):
        among = pa.concat_arrays(among.chunks)
    found = pc.fill_null(pc.index_in(values, value_set=among), -1)
    return np.asarray(found).astype(np.int64)


def coded(column: pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    """Code of each value of a dictionary column, ``(n_rows,)``, and the values that the codes stand for."""
    chunks = column.unify_dictionaries().chunks
    codes = [np.asarray(chunk.indices, dtype=np.int32) for chunk in chunks]
    names = chunks[0].dictionary if chunks else pa.array([], column.type.value_type)
    return np.concatenate([np.zeros(0, dtype=np.int32), *codes]), names
