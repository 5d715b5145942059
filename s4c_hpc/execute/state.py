"""Fold the journals of all runs into ``state/{history,done,failed}.parquet``.

Journals are the truth. ``history.parquet`` holds every finished attempt, and in its metadata how far each journal was
read, so that both change in one step; the other two are views of it, marked with the history that they were made
from. Whatever is deleted, or lost by a kill in between, the next fold makes again.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
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
from s4c_hpc.execute.journal import Done, Failed, Kind, read_events
from s4c_hpc.execute.journal_table import done_table, read_lines
from s4c_hpc.plan import DONE_SCHEMA, FAILED_SCHEMA, HISTORY_SCHEMA, RunFolder, read_ledger, run_folders
from s4c_hpc.plan.graph import positions

_HISTORY = "history.parquet"
_OFFSETS = b"s4c:journals"
_MADE_FROM = b"s4c:history"
_NOT_TO_BLAME = frozenset({Kind.CANCELLED.value})
_REPEATED = ["stage", "tile", "kind", "params", "run", "reason"]
"""Columns of few texts. Identities are what most of the bytes are: they do not compress, and to try takes long."""
_ROW_GROUP = 1 << 16
_CLOCK_SLACK_S = 60.0
"""Most that the clock of a file server is ahead."""
_BYTES_AT_ONCE = 64 << 20
"""Lines of journals that are made a table at once."""
_PLAN_COLUMNS = ["id", "stage", "tile", "subject", "params", "input_keys", "outputs", "work", "mem_bytes", "walltime_s"]


def fold_journals(workspace: Workspace) -> pa.Table:
    """Bring the state tables up to date and return the history; see ``update_state``."""
    update_state(workspace)
    return read_ledger(workspace.state / _HISTORY, HISTORY_SCHEMA)


def update_state(workspace: Workspace) -> None:
    """Bring the state tables up to date; without news nothing but names and sizes is read.

    Safe to call at any time, by several processes at once: each writes whole files that say what they hold.
    """
    offsets = _read_offsets(workspace.state / _HISTORY)
    token = canonical_json(offsets).encode()
    views = {"done": done_view, "failed": failed_view}
    targets = {name: workspace.state / f"{name}.parquet" for name in views}
    is_old = offsets is None or _has_news(workspace, offsets)
    if not is_old and all(_made_from(target) == token for target in targets.values()):
        return
    history, read, changed = read_journals(workspace)
    token = canonical_json(read).encode()
    if changed:
        _write(workspace.state / _HISTORY, history.replace_schema_metadata({_OFFSETS: token}))
    last = last_attempts(history)
    for name, view in views.items():
        if changed or _made_from(targets[name]) != token:
            _write(targets[name], view(last).replace_schema_metadata({_MADE_FROM: token}))


def read_journals(workspace: Workspace) -> tuple[pa.Table, dict[str, int], bool]:
    """The history as of now, how far each journal is in it, and whether it is more than is stored; writes nothing."""
    known = _read_history(workspace.state / _HISTORY)
    history, offsets = known or (HISTORY_SCHEMA.empty_table(), {})
    fresh: list[pa.Table] = []
    read: dict[str, int] = dict(offsets)
    for run in run_folders(workspace):
        parts, ends = _read_run(run, offsets)
        fresh += parts
        read |= ends
    changed = known is None or read != offsets
    return (merge_history([history, *fresh]) if changed else history), read, changed


def n_attempts(workspace: Workspace) -> int:
    """Rows of the stored history."""
    try:
        return int(pq.read_metadata(workspace.state / _HISTORY).num_rows)
    except (OSError, pa.ArrowInvalid):
        return 0


def folded_s_ago(workspace: Workspace) -> float:
    """Seconds since the history was last written; infinite if there is none, or if its time cannot be right."""
    try:
        ago = time.time() - (workspace.state / _HISTORY).stat().st_mtime
    except FileNotFoundError:
        return math.inf
    return ago if ago >= -_CLOCK_SLACK_S else math.inf


def folded_of(run: RunFolder, columns: Sequence[str]) -> tuple[pa.Table, dict[str, int]]:
    """What the stored history knows of one run, and how far each of its journals is in that; writes nothing.

    Parameters
    ----------
    columns : of ``HISTORY_SCHEMA``

    Returns
    -------
    the rows; bytes by name of the journal
    """
    try:
        file = pq.ParquetFile(run.workspace.state / _HISTORY)
        offsets: dict[str, int] = json.loads(file.schema_arrow.metadata[_OFFSETS])
        at = file.schema_arrow.get_field_index("run")
        ranges = [file.metadata.row_group(i).column(at).statistics for i in range(file.num_row_groups)]
        groups = [i for i, r in enumerate(ranges) if r is None or not r.has_min_max or r.min <= run.id <= r.max]
        rows = file.read_row_groups(groups, columns=[*columns, "run"])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
        # It is made anew by the next fold; till then the journals tell.
        return pa.schema([HISTORY_SCHEMA.field(name) for name in columns]).empty_table(), {}
    ends = {
        name.partition("/")[2].removesuffix(".jsonl"): end
        for name, end in offsets.items()
        if name.startswith(f"{run.id}/")
    }
    return rows.filter(pc.equal(rows["run"], run.id)).select(list(columns)), ends


def _has_news(workspace: Workspace, offsets: Mapping[str, int]) -> bool:
    return any(
        journal.stat().st_size > offsets.get(name, 0)
        for run in run_folders(workspace)
        for name, journal in _journals(run)
    )


def _journals(run: RunFolder) -> list[tuple[str, Path]]:
    """Journals of a run by the name under which the history knows them."""
    return [(f"{run.id}/{journal.name}", journal) for journal in sorted(run.journals.glob("*.jsonl"))]


def _read_run(run: RunFolder, offsets: Mapping[str, int]) -> tuple[list[pa.Table], dict[str, int]]:
    """What journals of a run say beyond ``offsets``, ``HISTORY_SCHEMA``, and how far each was read."""
    parts: list[pa.Table] = []
    ends: dict[str, int] = {}
    news = [(name, path) for name, path in _journals(run) if path.stat().st_size > offsets.get(name, 0)]
    if not news:
        return parts, ends
    plan = _Plan(run)
    waiting: list[tuple[Path, int, bytes]] = []
    n_bytes = 0
    for name, path in news:
        offset = offsets.get(name, 0)
        lines, has_failed, ends[name] = read_lines(path, offset)
        waiting.append((path, offset, lines))
        n_bytes += len(lines)
        if has_failed:
            parts += plan.of_events([event for event in read_events(path, offset)[0] if isinstance(event, Failed)])
        if n_bytes >= _BYTES_AT_ONCE:
            parts += _read_done(plan, waiting)
            waiting, n_bytes = [], 0
    return [*parts, *_read_done(plan, waiting)], ends


def _read_done(plan: _Plan, journals: list[tuple[Path, int, bytes]]) -> list[pa.Table]:
    """What lines of done tasks say; those of irregular journals one by one."""
    lines = b"".join(lines for _, _, lines in journals)
    if not lines:
        return []
    table = done_table(lines)
    if table is not None:
        return plan.of_table(table)
    events = [event for path, offset, _ in journals for event in read_events(path, offset)[0]]
    return plan.of_events([event for event in events if isinstance(event, Done)])


class _Plan:
    """What the plan of a run says of its tasks; read when it is asked."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    @cached_property
    def _rows(self) -> pa.Table | None:
        if not self._run.plan.is_file():
            return None
        try:
            return pq.read_table(self._run.plan, columns=_PLAN_COLUMNS, schema=PLAN_SCHEMA)
        except pa.ArrowInvalid as error:
            get_logger("state").warning(
                "run passed over: its plan is damaged", plan=str(self._run.plan), reason=str(error)
            )
            return None

    def of_events(self, events: Sequence[Done | Failed]) -> list[pa.Table]:
        """Finished attempts with what the plan says of the tasks, ``HISTORY_SCHEMA``."""
        if not events:
            return []
        columns = {"id": [event.id for event in events], **_columns(events)}
        kinds = {name: HISTORY_SCHEMA.field(name).type for name in columns}
        return self.of_table(pa.table({name: _array(values, kinds[name]) for name, values in columns.items()}))

    def of_table(self, attempts: pa.Table) -> list[pa.Table]:
        """The same of columns as ``done_table`` makes them."""
        if self._rows is None:
            return []
        at = positions(attempts["id"], self._rows["id"])
        rows = self._rows.take(pa.array(at[at >= 0]))
        known = attempts.filter(pa.array(at >= 0))
        own = known.append_column("run", pa.repeat(self._run.id, known.num_rows))
        columns = [own[name] if name in own.column_names else rows[name] for name in HISTORY_SCHEMA.names]
        return [pa.table(columns, names=HISTORY_SCHEMA.names).cast(HISTORY_SCHEMA)] if known.num_rows else []


def _columns(events: Sequence[Done | Failed]) -> dict[str, list[object]]:
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


def done_view(last: pa.Table) -> pa.Table:
    """Tasks whose last word is success, ``DONE_SCHEMA``."""
    return last.filter(pc.equal(last["kind"], "done")).select(DONE_SCHEMA.names).cast(DONE_SCHEMA)


def failed_view(last: pa.Table) -> pa.Table:
    """Tasks whose last word is a failure, ``FAILED_SCHEMA``."""
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


def _read_offsets(path: Path) -> dict[str, int] | None:
    """How far each journal is in the history; ``None`` if that is not there or not whole."""
    try:
        offsets: dict[str, int] = json.loads(pq.read_schema(path).metadata[_OFFSETS])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
        return None
    return offsets


def _made_from(path: Path) -> bytes | None:
    try:
        return (pq.read_schema(path).metadata or {}).get(_MADE_FROM)
    except (OSError, pa.ArrowInvalid):
        return None


def _write(path: Path, table: pa.Table) -> None:
    # A driver that starts clears drafts away, perhaps this one: the next fold writes the table then.
    with contextlib.suppress(FileNotFoundError), replacing(path) as temporary:
        pq.write_table(table, temporary, row_group_size=_ROW_GROUP, compression="lz4", use_dictionary=_REPEATED)
