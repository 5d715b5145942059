"""Sentences that say why a task runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import listing
from s4c_hpc.plan.graph import Rows, flattened, positions

_NAMES = 3
"""Inputs or keys that a reason names before it only counts them."""


class Explainer:
    """Compares planned rows with the rows that did the same before."""

    def __init__(self, tasks: pa.Table, done: pa.Table) -> None:
        """``tasks`` are rows of a plan, ``done`` rows in ``DONE_SCHEMA``."""
        self._tasks, self._done = tasks, done
        self._by_time = _order(done)

    @cached_property
    def _paths(self) -> tuple[pa.Array, Rows]:
        row_of, paths = flattened(self._done["outputs"].take(pa.array(self._by_time)))
        encoded = paths.dictionary_encode()
        last = np.zeros(len(encoded.dictionary), dtype=np.int64)
        last[encoded.indices.to_numpy()] = self._by_time[row_of]  # ascending in time: the last one stays
        return encoded.dictionary, last

    @property
    def written(self) -> pa.Array:
        """Every path that was ever written."""
        return self._paths[0]

    @property
    def last_writer(self) -> Rows:
        """Row of ``done`` that wrote each path of ``written`` last."""
        return self._paths[1]

    @cached_property
    def _before(self) -> Rows:
        """For each planned row, the row of ``done`` that last did the same thing with other inputs, or -1."""
        if not self._done.num_rows:
            return np.full(self._tasks.num_rows, -1, dtype=np.int64)
        latest_first = self._by_time[::-1]
        found = positions(_place(self._tasks), _place(self._done.take(pa.array(latest_first))))
        return np.where(found >= 0, latest_first[found], -1)

    def name(self, row: int) -> str:
        """``stage tile subject`` of a planned row."""
        return " ".join(self._tasks[column][row].as_py() for column in ("stage", "tile", "subject"))

    def first_time(self, row: int) -> str:
        """Why a row without a finished attempt runs."""
        before = int(self._before[row])
        return self.difference(row, before) if before >= 0 else "new"

    def difference(self, row: int, before: int) -> str:
        """How a planned row differs from row ``before`` of ``done``."""
        if before < 0:
            return "new"
        new, old = self._tasks["params"][row].as_py(), self._done["params"][before].as_py()
        if new != old:
            return f"parameters changed: {listing(changed_keys(old, new), _NAMES)}"
        now = self._tasks["input_keys"][row].as_py()
        then = self._done["input_keys"][before].as_py()
        added = [key for key in now if key not in set(then)]
        gone = [key for key in then if key not in set(now)]
        if added and not gone:
            return f"a new input: {self._inputs(added)}"
        if gone and not added:
            return f"an input is gone: {self._inputs(gone)}"
        if added:
            return f"input changed: {self._inputs(added)}"
        return "a new version of the stage"

    def arrived(self, rows: Sequence[int]) -> str:
        """Why a row runs again when dependencies that it did without are there now."""
        return f"a new input: {listing([self.name(row) for row in rows], _NAMES)}"

    def _inputs(self, keys: list[str]) -> str:
        shown = [self.name(row) if row >= 0 else key for key, row in zip(keys, self._rows(keys), strict=True)]
        return listing(shown, _NAMES)

    def _rows(self, keys: list[str]) -> list[int]:
        asked = keys[:_NAMES]
        found = positions(pa.array(asked, pa.string()), self._tasks["id"]).tolist()
        return [int(row) for row in found] + [-1] * (len(keys) - len(asked))


def changed_keys(old: str, new: str) -> list[str]:
    """Dotted keys whose values differ between two JSON texts, sorted."""
    left, right = _leaves(json.loads(old)), _leaves(json.loads(new))
    return sorted(key for key in left.keys() | right.keys() if left.get(key, ...) != right.get(key, ...))


def _leaves(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, dict) and (value or not prefix):
        return {k: v for name, inner in value.items() for k, v in _leaves(inner, f"{prefix}{name}.").items()}
    return {prefix.removesuffix("."): value}


def _order(done: pa.Table) -> Rows:
    """Rows of ``done`` from the oldest run to the newest, within a run by time."""
    keys = pa.table({"run": done["run"].cast(pa.string()), "finished": done["finished"], "id": done["id"]})
    order = pc.sort_indices(keys, sort_keys=[("run", "ascending"), ("finished", "ascending"), ("id", "ascending")])
    return np.asarray(order).astype(np.int64)


def _place(table: pa.Table) -> pa.ChunkedArray:
    """Where in the chain a row stands: stage, tile and subject as one text."""
    parts = [table[name].cast(pa.string()) for name in ("stage", "tile", "subject")]
    return pc.binary_join_element_wise(*parts, "\x1f")
