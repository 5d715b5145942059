"""What has to run and why: the plan held against what was done before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.graph import Graph, Rows, flattened, positions
from s4c_hpc.plan.ledger import STATUS_SCHEMA
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
    done: pa.Table,
    failed: pa.Table,
    existing: Collection[str],
    tolerates_missing: Mapping[str, bool],
    *,
    max_attempts: int,
    retry_quarantined: bool = False,
) -> pa.Table:
    """State and reason of each row.

    Parameters
    ----------
    tasks : (n_tasks,) rows of a plan
    done, failed : what is known, ``DONE_SCHEMA`` and ``FAILED_SCHEMA``
    existing : workspace-relative paths of the outputs that are there
    tolerates_missing : by stage, whether its tasks run without a dependency that has no output
    max_attempts : failures after which a task is not tried again
    retry_quarantined : whether quarantined tasks are tried again

    Returns
    -------
    (n_tasks,) rows in ``STATUS_SCHEMA``
    """
    rows = _Classifier(tasks, done, tolerates_missing)
    rows.check_outputs(existing)
    rows.read_failures(failed, max_attempts, retry_quarantined)
    rows.propagate()
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

    def __init__(self, tasks: pa.Table, done: pa.Table, tolerates_missing: Mapping[str, bool]) -> None:
        self.tasks, self.done = tasks, done
        self.graph = Graph.of(tasks)
        self.explain = Explainer(tasks, done)
        self.finished = positions(tasks["id"], done["id"])
        n_tasks = tasks.num_rows
        self.is_done = self.finished >= 0
        self.quarantined = np.zeros(n_tasks, dtype=bool)
        self.bad_input = np.zeros(n_tasks, dtype=bool)
        self.blocked = np.zeros(n_tasks, dtype=bool)
        self.todo = np.zeros(n_tasks, dtype=bool)
        self.attempts = np.zeros(n_tasks, dtype=np.int32)
        self.reasons = np.full(n_tasks, "", dtype=object)
        self.tolerant = np.asarray([tolerates_missing[name] for name in tasks["stage"].to_pylist()], dtype=bool)

    def check_outputs(self, existing: Collection[str]) -> None:
        """Take back what was done where an output is gone or another task has overwritten it."""
        row_of, paths = flattened(self.tasks["outputs"])
        writer = positions(paths, self.explain.written)
        last_writer = np.full(len(paths), -1, dtype=np.int64)
        last_writer[writer >= 0] = self.explain.last_writer[writer[writer >= 0]]
        there = pc.is_in(paths, value_set=pa.array(sorted(existing), pa.string())).to_numpy(zero_copy_only=False)
        overwritten = last_writer != self.finished[row_of]
        for i in np.flatnonzero(self.is_done[row_of] & (overwritten | ~there)):
            row = int(row_of[i])
            self.is_done[row] = False
            self.reasons[row] = (
                self.explain.difference(row, int(last_writer[i]))
                if overwritten[i]
                else f"output missing: {paths[i].as_py()}"
            )

    def read_failures(self, failed: pa.Table, max_attempts: int, retry_quarantined: bool) -> None:
        """Tell tasks that are tried again from tasks that are given up."""
        failures = positions(self.tasks["id"], failed["id"])
        for row in np.flatnonzero((failures >= 0) & ~self.is_done):
            failure = failed.slice(int(failures[row]), 1).to_pylist()[0]
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
        self.todo = ~self.is_done & ~self.quarantined
        for level in self.graph.levels():
            here = np.zeros(len(self.todo), dtype=bool)
            here[level] = True
            remade = here & self.bad_input & self.graph.any_needed(self.todo)
            self.reasons[remade] = "input is made again"
            self.quarantined &= ~remade
            self.todo |= remade
            arrived = np.zeros(len(self.todo), dtype=bool)
            arrived[absent_row[self.is_done[absent_of]]] = True
            stale = here & self.is_done & (arrived | self.graph.any_needed(self.todo))
            for row in np.flatnonzero(stale):
                now_there = [int(a) for a in absent_of[absent_row == row] if self.is_done[a]] if arrived[row] else []
                self.reasons[row] = self.explain.arrived(now_there) if now_there else "upstream re-runs"
            self.is_done &= ~stale
            self.todo |= stale
            missing = self.quarantined | self.blocked
            without = here & self.todo & ~self.tolerant & self.graph.any_needed(missing)
            for row in np.flatnonzero(without):
                lacking = next(int(r) for r in self.graph.needed_by(int(row)) if missing[r])
                self.reasons[row] = blocked_reason(self.explain.name(lacking), str(self.reasons[lacking]))
            self.blocked |= without
            self.todo &= ~without
        for row in np.flatnonzero(self.todo & (self.reasons == "")):
            self.reasons[row] = self.explain.first_time(int(row))

    def table(self) -> pa.Table:
        """The columns as ``STATUS_SCHEMA``."""
        state = np.select(
            [self.quarantined, self.blocked, self.todo],
            [PlanState.QUARANTINED.value, PlanState.BLOCKED.value, PlanState.TODO.value],
            PlanState.DONE.value,
        )
        columns = [
            self.tasks["id"],
            pa.array(state.tolist(), pa.string()).dictionary_encode(),
            pa.array(self.reasons.tolist(), pa.string()),
            pa.array(self.attempts),
            pa.array(self.tolerant),
        ]
        return pa.table(columns, schema=STATUS_SCHEMA)

    def _absent(self) -> tuple[Rows, Rows]:
        """Pairs (row, planned dependency) of rows that were done without that dependency."""
        rows = np.flatnonzero(self.finished >= 0)
        index, keys = flattened(self.done["absent"].take(pa.array(self.finished[rows])))
        dependency = positions(keys, self.tasks["id"])
        return rows[index][dependency >= 0].astype(np.int64), dependency[dependency >= 0]
