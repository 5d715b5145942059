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

    def any_needed(self, mask: Mask) -> Mask:
        """For each row, whether any row that it depends on is in ``mask``; (n_rows,)."""
        found = np.zeros(self.n_rows, dtype=bool)
        found[self.waiting[mask[self.needed]]] = True
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
        level = np.zeros(self.n_rows, dtype=np.int64)
        while True:
            deeper = np.zeros(self.n_rows, dtype=np.int64)
            np.maximum.at(deeper, self.waiting, level[self.needed] + 1)
            if (deeper == level).all():
                break
            if deeper.max(initial=0) >= self.n_rows:
                raise InternalError("tasks of the plan wait for each other")
            level = deeper
        order = np.argsort(level, kind="stable").astype(np.int64)
        return np.split(order, np.flatnonzero(np.diff(level[order])) + 1) if self.n_rows else []

    def ancestors(self, mask: Mask) -> Mask:
        """``mask`` and everything that its rows depend on, directly or not."""
        found = mask.copy()
        while True:
            before = int(found.sum())
            found[self.needed[found[self.waiting]]] = True
            if int(found.sum()) == before:
                return found


def flattened(lists: pa.ChunkedArray) -> tuple[Rows, pa.Array]:
    """Rows and values of a column of lists: ``(n_values,)`` each, in order."""
    column = lists.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # combine_chunks keeps a chunked array when there is no chunk
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return pc.list_parent_indices(column).to_numpy().astype(np.int64), column.flatten()


def positions(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Rows:
    """Position of each value in ``among`` (its first occurrence), or -1."""
    if isinstance(among, pa.ChunkedArray):
        among = pa.concat_arrays(among.chunks) if among.num_chunks else pa.array([], among.type)
    found = pc.fill_null(pc.index_in(values, value_set=among), -1)
    return np.asarray(found).astype(np.int64)
