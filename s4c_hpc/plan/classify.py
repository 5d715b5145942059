"""What has to run and why: the plan held against what was done before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.graph import Graph, Mask, Rows, coded, flattened, positions
from s4c_hpc.plan.ledger import STATUS_SCHEMA, Ledger
from s4c_hpc.plan.reason import Explainer

_FRESH_START = frozenset({"temporary"})
"""Kinds of failure that say nothing about the task: a new run tries again whatever the count."""


class PlanState(StrEnum):
    """What a plan says of a row."""

    DONE = "done"
    TODO = "todo"
    QUARANTINED = "quarantined"
    """Its input is bad or it failed too often; tried again only on request."""
    BLOCKED = "blocked"
    """It cannot do without a row that is quarantined."""


def classify(
    tasks: pa.Table,
    graph: Graph,
    done: Ledger,
    failed: pa.Table,
    are_there: Callable[[pa.ChunkedArray], Mask],
    tolerates_missing: Mapping[str, bool],
    *,
    max_attempts: int,
    retry_quarantined: bool = False,
    removable: Collection[str] = (),
) -> pa.Table:
    """State and reason of each row.

    Parameters
    ----------
    tasks, graph : (n_tasks,) rows of a plan and their edges
    done, failed : what is known, ``DONE_SCHEMA`` and ``FAILED_SCHEMA``
    are_there : tells which of some workspace-relative paths exist
    tolerates_missing : by stage, whether its tasks run without a dependency that has no output
    max_attempts : failures after which a task is not tried again
    retry_quarantined : whether quarantined tasks are tried again
    removable : stages whose files are removed after use: a task of theirs is done without them until something to do
        needs it

    Returns
    -------
    (n_tasks,) rows in ``STATUS_SCHEMA``
    """
    rows = _Classifier(tasks, graph, done, tolerates_missing, removable)
    rows.check_outputs(are_there)
    pa.default_memory_pool().release_unused()  # what was needed to look paths up, as much as the plan itself
    rows.read_failures(failed, max_attempts, retry_quarantined)
    rows.propagate()
    rows.make_removed_again()
    pa.default_memory_pool().release_unused()
    return rows.table()


def blocked_reason(name: str, reason: str) -> str:
    """Why a row cannot run, told with the first cause only however long the chain is."""
    if _NOT_THERE in reason:
        return reason
    return f"{name}{_NOT_THERE}{reason.removeprefix('quarantined: ')}"


def count_states(status: pa.Table) -> dict[PlanState, int]:
    """Number of rows in each state."""
    counts = {row["values"]: row["counts"] for row in pc.value_counts(status["state"]).to_pylist()}
    return {state: counts.get(state.value, 0) for state in PlanState}


_NOT_THERE = " is not there: "


class _Classifier:
    """The columns that grow while a plan is classified; each is (n_tasks,)."""

    def __init__(
        self,
        tasks: pa.Table,
        graph: Graph,
        done: Ledger,
        tolerates_missing: Mapping[str, bool],
        removable: Collection[str],
    ) -> None:
        self.tasks, self.graph, self.done = tasks, graph, done
        self.explain = Explainer(tasks, done)
        self.finished = positions(tasks["id"], done.column("id"))
        n_tasks = tasks.num_rows
        self.is_done = self.finished >= 0
        self.quarantined = np.zeros(n_tasks, dtype=bool)
        self.bad_input = np.zeros(n_tasks, dtype=bool)
        self.failed_at = np.zeros(n_tasks, dtype=np.int64)
        self.blocked = np.zeros(n_tasks, dtype=bool)
        self.todo = np.zeros(n_tasks, dtype=bool)
        self.attempts = np.zeros(n_tasks, dtype=np.int32)
        self.reasons = np.full(n_tasks, "", dtype=object)
        stage, names = coded(tasks["stage"])
        self.tolerant = np.asarray([tolerates_missing[name] for name in names.to_pylist()], dtype=bool)[stage]
        self.removable = np.asarray([name in removable for name in names.to_pylist()], dtype=bool)[stage]
        self.removed = np.zeros(n_tasks, dtype=bool)

    def check_outputs(self, are_there: Callable[[pa.ChunkedArray], Mask]) -> None:
        """Take back what was done where an output is gone or another task has overwritten it."""
        row_of, paths = flattened(self.tasks["outputs"])
        of_done = self.is_done[row_of]
        if not of_done.all():
            row_of, paths = row_of[of_done], paths.filter(pa.array(of_done))
        last_writer = self.explain.last_writers(paths)
        overwritten = last_writer != self.finished[row_of]
        absent = ~are_there(paths)
        removed = absent & ~overwritten & self.removable[row_of]
        self.removed[row_of[removed]] = True
        gone = np.flatnonzero((overwritten | absent) & ~removed)
        texts = np.asarray([f"output missing: {path}" for path in paths.take(pa.array(gone)).to_pylist()], dtype=object)
        other = overwritten[gone]
        texts[other] = self.explain.differences(row_of[gone[other]], last_writer[gone[other]])
        self.is_done[row_of[gone]] = False
        self.reasons[row_of[gone]] = texts  # of several outputs the last one tells

    def read_failures(self, failed: pa.Table, max_attempts: int, retry_quarantined: bool) -> None:
        """Tell tasks that are tried again from tasks that are given up."""
        failures = positions(self.tasks["id"], failed["id"])
        rows = np.flatnonzero((failures >= 0) & ~self.is_done)
        told = failed.select(["kind", "reason", "attempts"]).take(pa.array(failures[rows]))
        self.failed_at[rows] = np.asarray(failed["t"].take(pa.array(failures[rows])).cast(pa.int64()))
        for row, failure in zip(rows.tolist(), told.to_pylist(), strict=True):
            kind, why, count = failure["kind"], failure["reason"], failure["attempts"]
            exhausted = count >= max_attempts
            if kind == "input" or (exhausted and kind not in _FRESH_START):
                self.quarantined[row] = not retry_quarantined
                self.bad_input[row] = kind == "input" and not retry_quarantined
                self.reasons[row] = f"tried again on request: {why}" if retry_quarantined else f"quarantined: {why}"
            else:
                self.attempts[row] = 0 if exhausted else count
                self.reasons[row] = f"retry (attempt {self.attempts[row] + 1} of {max_attempts}): {kind}: {why}"

    def propagate(self) -> None:
        """Decide each row from its dependencies, which are decided before it."""
        absent_row, absent_of = self._absent()
        made_since = self._made_since()
        self.todo = ~self.is_done & ~self.quarantined
        for level in self.graph.levels():
            here = np.zeros(len(self.todo), dtype=bool)
            here[level] = True
            again = self.graph.any_needed(self.todo)
            remade = here & self.bad_input & (again | made_since)
            self.reasons[remade] = np.where(again[remade], "input is made again", "input was made again")
            self.quarantined &= ~remade
            self.todo |= remade
            arrived = np.zeros(len(self.todo), dtype=bool)
            arrived[absent_row[self.is_done[absent_of]]] = True
            stale = here & self.is_done & (arrived | self.graph.any_needed(self.todo))
            self.reasons[stale] = "upstream re-runs"
            for row in np.flatnonzero(stale & arrived).tolist():
                first, last = np.searchsorted(absent_row, [row, row + 1])
                lacked = absent_of[first:last]
                self.reasons[row] = self.explain.arrived(lacked[self.is_done[lacked]])
            self.is_done &= ~stale
            self.todo |= stale
            missing = self.quarantined | self.blocked
            without = here & self.todo & ~self.tolerant & self.graph.any_needed(missing)
            self._tell_blocked(np.flatnonzero(without), missing)
            self.blocked |= without
            self.todo &= ~without
        unexplained = np.flatnonzero(self.todo & (self.reasons == ""))
        self.reasons[unexplained] = self.explain.first_time(unexplained)

    def make_removed_again(self) -> None:
        """Do again what was removed after use and is needed now. The bytes are the same, so nothing follows from it."""
        while True:
            needed = np.zeros(len(self.todo), dtype=bool)
            needed[self.graph.needed[self.todo[self.graph.waiting]]] = True
            again = needed & self.removed & self.is_done
            if not again.any():
                return
            self.is_done &= ~again
            self.todo |= again
            self.reasons[again] = "removed after use ([retention]) and needed again"

    def table(self) -> pa.Table:
        """The columns as ``STATUS_SCHEMA``."""
        states = list(PlanState)
        code = np.full(len(self.todo), states.index(PlanState.DONE), dtype=np.int32)
        for state, rows in (
            (PlanState.TODO, self.todo),
            (PlanState.BLOCKED, self.blocked),
            (PlanState.QUARANTINED, self.quarantined),
        ):
            code[rows] = states.index(state)
        columns = [
            self.tasks["id"],
            pa.DictionaryArray.from_arrays(pa.array(code), pa.array([state.value for state in states])),
            pa.array(self.reasons, pa.string()),
            pa.array(self.attempts),
            pa.array(self.tolerant),
            self.graph.lists(),
        ]
        return pa.table(columns, schema=STATUS_SCHEMA)

    def _tell_blocked(self, rows: Rows, missing: Mask) -> None:
        """Say of each row which of the missing rows it cannot do without: the first."""
        if not rows.size:
            return
        lacking, which = np.unique(self.graph.first_needed(missing)[rows], return_inverse=True)
        texts = map(blocked_reason, self.explain.names(lacking), self.reasons[lacking].tolist())
        self.reasons[rows] = np.asarray(list(texts), dtype=object)[which]

    def _made_since(self) -> Mask:
        """Rows that could not read their input, of which some was made again since, by a run of some stages say."""
        made_at = np.zeros(len(self.finished), dtype=np.int64)
        known = np.flatnonzero(self.finished >= 0)
        if not (known.size and self.bad_input.any()):
            return np.zeros(len(self.finished), dtype=bool)
        times = self.done.column("finished").cast(pa.int64()).take(pa.array(self.finished[known]))
        made_at[known] = np.asarray(times)
        later = made_at[self.graph.needed] > self.failed_at[self.graph.waiting]
        since = np.zeros(len(self.finished), dtype=bool)
        since[self.graph.waiting[later]] = True
        return since & self.bad_input

    def _absent(self) -> tuple[Rows, Rows]:
        """Pairs (row, planned dependency) of rows that were done without that dependency."""
        rows = np.flatnonzero(self.finished >= 0)
        index, keys = flattened(self.done.column("absent").take(pa.array(self.finished[rows])))
        dependency = positions(keys, self.tasks["id"])
        return rows[index][dependency >= 0].astype(np.int64), dependency[dependency >= 0]
