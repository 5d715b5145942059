"""Fold the journals of all runs into ``state/{history,done,failed}.parquet``.

Journals are the truth. ``history.parquet`` holds every finished attempt, and in its metadata how far each journal was
read, so that both change in one step; the other two are views of it, marked with the history that they were made
from. Whatever is deleted, or lost by a kill in between, the next fold makes again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from s4c_hpc.core.atomic import replacing
from s4c_hpc.core.errors import S4cError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.log import get_logger
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.journal import Begin, Done, Event, Failed, Kind, read_events
from s4c_hpc.plan import DONE_SCHEMA, FAILED_SCHEMA, HISTORY_SCHEMA, RunFolder, read_ledger, run_folders
from s4c_hpc.plan.graph import positions

_HISTORY = "history.parquet"
_OFFSETS = b"s4c:journals"
_MADE_FROM = b"s4c:history"
_NOT_TO_BLAME = frozenset({Kind.CANCELLED.value})
_PLAN_COLUMNS = ["id", "stage", "tile", "subject", "params", "input_keys", "outputs", "work", "mem_bytes", "walltime_s"]


def fold_journals(workspace: Workspace) -> pa.Table:
    """Bring the state tables up to date and return the history.

    Safe to call at any time, by several processes at once: each writes whole files that say what they hold.
    """
    history, read, changed = read_journals(workspace)
    token = canonical_json(read).encode()
    if changed:
        _write(workspace.state / _HISTORY, history.replace_schema_metadata({_OFFSETS: token}))
    for name, view in (("done", done_view), ("failed", failed_view)):
        target = workspace.state / f"{name}.parquet"
        if changed or _made_from(target) != token:
            _write(target, view(history).replace_schema_metadata({_MADE_FROM: token}))
    return history


def read_journals(workspace: Workspace) -> tuple[pa.Table, dict[str, int], bool]:
    """The history as of now, how far each journal is in it, and whether it is more than is stored; writes nothing."""
    known = _read_history(workspace.state / _HISTORY)
    history, offsets = known or (HISTORY_SCHEMA.empty_table(), {})
    fresh: list[pa.Table] = []
    read: dict[str, int] = dict(offsets)
    for run in run_folders(workspace):
        events: list[Event] = []
        for journal in sorted(run.journals.glob("*.jsonl")):
            name = f"{run.id}/{journal.name}"
            if journal.stat().st_size > offsets.get(name, 0):
                found, read[name] = read_events(journal, offsets.get(name, 0))
                events += found
        if rows := attempts_table(run, events):
            fresh.append(rows)
    changed = known is None or read != offsets
    return (merge_history([history, *fresh]) if changed else history), read, changed


def attempts_table(run: RunFolder, events: Iterable[Event]) -> pa.Table | None:
    """Finished attempts among ``events`` with what the plan of their run says of the tasks, ``HISTORY_SCHEMA``."""
    ended = [event for event in events if not isinstance(event, Begin)]
    if not ended or not run.plan.is_file():
        return None
    try:
        plan = pq.read_table(run.plan, columns=_PLAN_COLUMNS, schema=PLAN_SCHEMA)
    except pa.ArrowInvalid as error:
        get_logger("state").warning("run passed over: its plan is damaged", plan=str(run.plan), reason=str(error))
        return None
    at = positions(pa.array([event.id for event in ended], pa.string()), plan["id"])
    known = [event for event, row in zip(ended, at, strict=True) if row >= 0]
    if not known:
        return None
    rows = plan.take(pa.array(at[at >= 0]))
    own = _columns(run.id, known)
    columns = []
    for field in HISTORY_SCHEMA:
        column = own.get(field.name, rows[field.name] if field.name in rows.column_names else None)
        columns.append(column.cast(field.type) if isinstance(column, pa.ChunkedArray) else _array(column, field.type))
    return pa.table(columns, schema=HISTORY_SCHEMA)


def _columns(run_id: str, events: list[Done | Failed]) -> dict[str, list[object]]:
    """Columns of the history that journals know."""

    def of(done: str, failed: object = 0) -> list[object]:
        return [getattr(event, done) if isinstance(event, Done) else failed for event in events]

    return {
        "attempt": [event.attempt for event in events],
        "kind": ["done" if isinstance(event, Done) else event.kind.value for event in events],
        "reason": ["" if isinstance(event, Done) else event.reason for event in events],
        "attempts": [event.number for event in events],
        "n_rows": of("n_rows"),
        "absent": of("absent", ()),
        "rasters_opened": of("rasters_opened"),
        "bytes": [sum(o.bytes for o in event.outputs) if isinstance(event, Done) else 0 for event in events],
        "cpu_s": [event.cpu_s for event in events],
        "wall_s": [event.wall_s for event in events],
        "peak_anon_bytes": [event.peak_anon_bytes for event in events],
        "base_anon_bytes": [event.base_anon_bytes for event in events],
        "max_rss_bytes": of("max_rss_bytes"),
        "twins": of("twins"),
        "finished": [round(event.t * 1e6) for event in events],
        "run": [run_id] * len(events),
    }


def merge_history(parts: list[pa.Table]) -> pa.Table:
    """Union of histories: one row per (run, task, attempt), sorted by these. Order and repetition do not matter."""
    table = pa.concat_tables([part.replace_schema_metadata(None) for part in parts]).unify_dictionaries()
    # Should one attempt hold both, its success stays: outputs are published before it is told.
    keys = [(name, "ascending") for name in ("run", "id", "attempt", "lost", "finished")]
    lookup = pa.table(
        {
            "run": table["run"].cast(pa.string()),
            "id": table["id"],
            "attempt": table["attempt"],
            "lost": pc.not_equal(table["kind"], "done"),
            "finished": table["finished"],
        }
    )
    order = pc.sort_indices(lookup, sort_keys=keys)
    ordered = lookup.take(order)
    same = np.zeros(table.num_rows, dtype=bool)
    if table.num_rows > 1:
        same[1:] = np.logical_and.reduce([_repeats(ordered[name]) for name in ("run", "id", "attempt")])
    return table.take(order.filter(pa.array(~same))).combine_chunks()


def done_view(history: pa.Table) -> pa.Table:
    """Tasks whose last word is success, ``DONE_SCHEMA``."""
    last = last_attempts(history)
    return last.filter(pc.equal(last["kind"], "done")).select(DONE_SCHEMA.names).cast(DONE_SCHEMA)


def failed_view(history: pa.Table) -> pa.Table:
    """Tasks whose last word is a failure, ``FAILED_SCHEMA``."""
    last = last_attempts(history)
    failed = last.filter(pc.not_equal(last["kind"], "done"))
    names = [{"t": "finished"}.get(name, name) for name in FAILED_SCHEMA.names]
    return failed.select(names).rename_columns(FAILED_SCHEMA.names).cast(FAILED_SCHEMA)


def last_attempts(history: pa.Table) -> pa.Table:
    """The attempt that counts of each task, sorted by id.

    The newest run decides; within a run a success decides whenever it came, since an attempt believed lost may still
    have finished. Cancelled attempts say nothing.
    """
    told = history.filter(pc.invert(pc.is_in(history["kind"].cast(pa.string()), pa.array(sorted(_NOT_TO_BLAME)))))
    lookup = pa.table(
        {
            "id": told["id"],
            "run": told["run"].cast(pa.string()),
            "won": pc.equal(told["kind"], "done"),
            "finished": told["finished"],
            "attempt": told["attempt"],
        }
    )
    order = pc.sort_indices(lookup, sort_keys=[(name, "ascending") for name in lookup.column_names])
    last = np.ones(told.num_rows, dtype=bool)
    if told.num_rows > 1:
        last[:-1] = ~_repeats(lookup["id"].take(order))
    return told.take(order.filter(pa.array(last)))


def _repeats(column: pa.ChunkedArray) -> np.ndarray:
    """Whether each value but the first equals the one before it; (n - 1,)."""
    return np.asarray(pc.equal(column.slice(1), column.slice(0, len(column) - 1))).astype(bool)


def _array(values: object, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def _read_history(path: Path) -> tuple[pa.Table, Mapping[str, int]] | None:
    """The history and how far each journal is in it; ``None`` if it is not there or not whole."""
    try:
        history = read_ledger(path, HISTORY_SCHEMA)
        offsets: dict[str, int] = json.loads(pq.read_schema(path).metadata[_OFFSETS])
    except (FileNotFoundError, S4cError, KeyError, TypeError, ValueError):
        return None
    return history, offsets


def _made_from(path: Path) -> bytes | None:
    try:
        return (pq.read_schema(path).metadata or {}).get(_MADE_FROM)
    except (OSError, pa.ArrowInvalid):
        return None


def _write(path: Path, table: pa.Table) -> None:
    # A driver that starts clears drafts away, perhaps this one: the next fold writes the table then.
    with contextlib.suppress(FileNotFoundError), replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
