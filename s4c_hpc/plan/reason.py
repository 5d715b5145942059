"""Sentences that say why tasks run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import listing
from s4c_hpc.core.subject import MARK, addition_of
from s4c_hpc.plan.graph import Rows, coded, flattened, positions
from s4c_hpc.plan.ledger import Ledger

Texts = npt.NDArray[np.object_]

_PLACE = ["stage", "tile", "subject"]
_NAMES = 3
"""Inputs or keys that a reason names before it only counts them."""
_AT_ONCE = 1 << 17
"""Paths that are looked for at once: the table to find them by is larger than they are."""
_ROWS_AT_ONCE = 1 << 14
"""Rows whose inputs are compared at once: each has up to hundreds."""


class Explainer:
    """Compares planned rows with the rows that did the same before."""

    def __init__(self, tasks: pa.Table, done: Ledger) -> None:
        """``tasks`` are rows of a plan, ``done`` holds rows of ``DONE_SCHEMA`` in the order of their ids."""
        self._tasks, self._done = tasks, done
        self._by_time = _order(done)

    def last_writers(self, paths: pa.ChunkedArray) -> Rows:
        """Row of ``done`` that wrote each path last, or -1; no path may occur twice."""
        row_of, written = flattened(self._done.column("outputs"))
        age = np.empty(len(self._by_time), dtype=np.int64)
        age[self._by_time] = np.arange(len(age))
        last = np.full(len(paths), -1, dtype=np.int64)
        for first in range(0, len(paths), _AT_ONCE):
            at = positions(written, paths.slice(first, _AT_ONCE))
            planned = np.flatnonzero(at >= 0)
            planned = planned[np.argsort(age[row_of[planned]], kind="stable")]
            last[first + at[planned]] = row_of[planned]  # ascending in time: the last one stays
        return last

    def names(self, rows: Rows) -> list[str]:
        """``stage tile subject`` of planned rows."""
        names: list[str] = _place(self._tasks, rows, " ").to_pylist()
        return names

    def first_time(self, rows: Rows) -> Texts:
        """Why planned rows without a finished attempt run."""
        return self.differences(rows, self._before(rows))

    def differences(self, rows: Rows, before: Rows) -> Texts:
        """How each planned row differs from a row of ``done``, or from nothing (-1)."""
        texts = np.full(len(rows), "new", dtype=object)
        unknown = np.flatnonzero(before < 0)
        subjects = self._tasks["subject"].take(pa.array(rows[unknown]))
        adding = np.flatnonzero(np.asarray(pc.match_substring(subjects, MARK)))
        # What a task adds to what was done before is why it is there.
        texts[unknown[adding]] = list(map(addition_of, subjects.take(pa.array(adding)).to_pylist()))
        known = np.flatnonzero(before >= 0)
        if known.size:
            other = self._changed_parameters(rows[known], before[known])
            texts[known] = other
            same = known[other == ""]
            texts[same] = self._changed_inputs(rows[same], before[same])
        return texts

    def arrived(self, rows: Rows) -> str:
        """Why a row runs again when dependencies that it did without are there now."""
        return f"a new input: {listing(self.names(rows), _NAMES)}"

    def _before(self, rows: Rows) -> Rows:
        """For each of these planned rows, the row of ``done`` that last did the same thing, or -1."""
        if not self._done.num_rows:
            return np.full(len(rows), -1, dtype=np.int64)
        latest_first = self._by_time[::-1]
        found = positions(_place(self._tasks, rows, "\x1f"), _place(self._done.read(_PLACE), latest_first, "\x1f"))
        return np.where(found >= 0, latest_first[found], -1)

    def _changed_parameters(self, rows: Rows, before: Rows) -> Texts:
        """A sentence for each pair with other parameters, else an empty text."""
        (new, new_texts), (old, old_texts) = coded(self._tasks["params"]), coded(self._done.column("params"))
        pairs = new[rows].astype(np.int64) * max(len(old_texts), 1) + old[before]
        found, which = np.unique(pairs, return_inverse=True)
        sentences = np.full(len(found), "", dtype=object)
        for i, pair in enumerate(found.tolist()):
            n, o = divmod(pair, max(len(old_texts), 1))
            now, then = new_texts[n].as_py(), old_texts[o].as_py()
            if now != then:
                sentences[i] = f"parameters changed: {listing(changed_keys(then, now), _NAMES)}"
        return np.asarray(sentences[which], dtype=object)

    def _changed_inputs(self, rows: Rows, before: Rows) -> Texts:
        """A sentence for each pair with the same parameters."""
        texts = np.full(len(rows), "a new version of the stage", dtype=object)
        told: list[tuple[int, str, list[str], int]] = []
        pa.default_memory_pool().release_unused()  # what was needed to find the rows before
        all_now = self._tasks["input_keys"].take(pa.array(rows))
        all_then = self._done.column("input_keys").take(pa.array(before))
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            now, then = all_now.slice(first, _ROWS_AT_ONCE), all_then.slice(first, _ROWS_AT_ONCE)
            added, gone = _only_in(now, then), _only_in(then, now)
            for row in sorted(added.keys() | gone.keys()):
                kind = "an input is gone" if row not in added else "a new input" if row not in gone else "input changed"
                told.append((first + row, kind, *(added.get(row) or gone[row])))
        del all_now, all_then
        names = iter(self._input_names([key for _, _, keys, _ in told for key in keys]))
        for row, kind, keys, n_keys in told:
            shown = [next(names) for _ in keys]
            additions = [text for text in dict.fromkeys(map(addition_of, shown)) if text]
            if additions:  # the same parcels of every product, say: told once, and before everything else
                texts[row] = f"{kind}: {listing(additions, _NAMES)}"
            else:
                texts[row] = f"{kind}: {listing(shown + [''] * (n_keys - len(keys)), _NAMES)}"
        return texts

    def _input_names(self, keys: list[str]) -> list[str]:
        """Names of the tasks that have these ids; other keys as they are."""
        at = positions(pa.array(keys, pa.string()), self._tasks["id"])
        names = np.asarray(keys, dtype=object)
        names[at >= 0] = self.names(at[at >= 0])
        return list(names)


def changed_keys(old: str, new: str) -> list[str]:
    """Dotted keys whose values differ between two JSON texts, sorted."""
    left, right = _leaves(json.loads(old)), _leaves(json.loads(new))
    return sorted(key for key in left.keys() | right.keys() if left.get(key, ...) != right.get(key, ...))


def _leaves(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, dict) and (value or not prefix):
        return {k: v for name, inner in value.items() for k, v in _leaves(inner, f"{prefix}{name}.").items()}
    return {prefix.removesuffix("."): value}


def _only_in(these: pa.ChunkedArray, those: pa.ChunkedArray) -> dict[int, tuple[list[str], int]]:
    """By row, the first values of a list that are not in the other list, and how many there are."""
    (row, values), (other_row, other_values) = flattened(these), flattened(those)
    code = np.asarray(
        pa.concat_arrays([*values.chunks, *other_values.chunks]).dictionary_encode().indices, dtype=np.int64
    )
    pair = np.concatenate([row, other_row]) * max(len(code), 1) + code
    found = np.flatnonzero(~np.isin(pair[: len(row)], pair[len(row) :]))
    rows, first, counts = np.unique(row[found], return_index=True, return_counts=True)
    place = np.arange(len(found)) - np.repeat(first, counts)
    shown = iter(values.take(pa.array(found[place < _NAMES])).to_pylist())
    return {
        r: ([next(shown) for _ in range(min(n, _NAMES))], n)
        for r, n in zip(rows.tolist(), counts.tolist(), strict=True)
    }


def _order(done: Ledger) -> Rows:
    """Rows of ``done`` from the oldest run to the newest, within a run by time, at one time by id."""
    code, runs = coded(done.column("run"))
    place = np.argsort(np.argsort(np.asarray(runs.to_pylist(), dtype=np.str_)))
    finished = np.asarray(done.column("finished").cast(pa.int64()))
    return np.lexsort((finished, place[code])).astype(np.int64)


def _place(table: pa.Table, rows: Rows, separator: str) -> pa.ChunkedArray:
    """Where in the chain rows stand: stage, tile and subject as one text."""
    chosen = table.select(_PLACE).take(pa.array(rows))
    parts: list[Any] = [column.cast(pa.string()) for column in chosen.columns]
    return pc.binary_join_element_wise(*parts, separator)
