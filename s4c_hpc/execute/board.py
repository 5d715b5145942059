"""Where every task of a run stands: the plan, its journals and what is still alive, as arrays. No I/O but ``open``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.execute.journal import Begin, Done, Event, Failed, Kind
from s4c_hpc.execute.manifest import Chunk
from s4c_hpc.plan import ESTIMATE_SCHEMA, STATUS_SCHEMA, PlanState, RunFolder
from s4c_hpc.plan.classify import blocked_reason
from s4c_hpc.plan.graph import Graph, Mask, Rows

PAUSE_S = 1.0
"""Wait before the second try after a temporary failure; doubled for each further one."""
MORE_MEMORY = 2
"""Factor on the memory asked for after each time that it was not enough."""


class State(IntEnum):
    """Where a task stands. States from ``DONE`` on are settled: nothing more happens to it in this run."""

    WAITING = 0
    SUBMITTED = 1
    """Handed to the executor, not begun."""
    RUNNING = 2
    DONE = 3
    QUARANTINED = 4
    """Its input is bad."""
    FAILED = 5
    """Tried as often as allowed."""
    BLOCKED = 6
    """It needs a task that ended without output."""


_PLANNED = {
    PlanState.DONE.value: State.DONE,
    PlanState.TODO.value: State.WAITING,
    PlanState.QUARANTINED.value: State.QUARANTINED,
    PlanState.BLOCKED.value: State.BLOCKED,
}


class Board:
    """States of a run's tasks, (n_tasks,) arrays in the order of the plan."""

    def __init__(self, tasks: pa.Table, status: pa.Table, estimates: pa.Table, max_attempts: int) -> None:
        """``tasks``, ``status`` and ``estimates`` are a plan and its side tables."""
        self.tasks = tasks
        self.graph = Graph.of(tasks)
        self.max_attempts = max_attempts
        self.state = np.asarray([_PLANNED[name] for name in status["state"].to_pylist()], dtype=np.int8)
        self.planned_todo: Mask = self.state == State.WAITING
        self.tolerant: Mask = np.asarray(status["tolerates_missing"].to_pylist(), dtype=bool)
        self.attempts = np.asarray(status["attempts"], dtype=np.int32).copy()
        """Failures so far for which the task is to blame."""
        self.seconds = np.asarray(estimates["seconds"], dtype=np.float64)
        self.mem_bytes = np.asarray(tasks["mem_bytes"], dtype=np.int64).copy()
        """What to ask for next time."""
        self.not_before = np.zeros(len(self.state), dtype=np.float64)
        """Time before which a task is not tried again, seconds since 1970."""
        self.reasons: dict[int, str] = {
            row: text.removeprefix("quarantined: ")  # the state is told beside the reason
            for row, text in enumerate(status["reason"].to_pylist())
            if self.state[row] in {State.QUARANTINED, State.BLOCKED}
        }
        self.stopped_by: Failed | None = None
        """The failure that stops the run, if any (disk full)."""
        self.measured_s = self.expected_s = 0.0
        """Wall time of the tasks done in this run, and what had been predicted for them."""
        self.last_begun = -1
        self._attempt: dict[int, str] = {}
        """The newest attempt that each row was submitted in; what older ones say of it is over."""
        self._rows: dict[str, list[int]] = {}
        self._too_small: dict[int, set[str]] = {}
        """Attempts of each row whose memory was not enough."""
        self._settle_blocked()

    @classmethod
    def open(cls, run: RunFolder, max_attempts: int) -> Board:
        """The board of a run as its plan left it."""
        tasks = pq.read_table(run.plan, schema=PLAN_SCHEMA)
        status = pq.read_table(run.status, schema=STATUS_SCHEMA)
        estimates = pq.read_table(run.estimates, schema=ESTIMATE_SCHEMA)
        return cls(tasks, status, estimates, max_attempts)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each task that was to do, by id."""
        rows = np.flatnonzero(self.planned_todo)
        return dict(zip(self.tasks["id"].take(pa.array(rows)).to_pylist(), rows.tolist(), strict=True))

    @cached_property
    def stage_code(self) -> npt.NDArray[np.int32]:
        """Code of each row's stage, an index of ``stage_names``."""
        return np.asarray(self._stages.indices, dtype=np.int32)

    @cached_property
    def stage_names(self) -> list[str]:
        """Names of the stages, in no particular order."""
        names: list[str] = self._stages.dictionary.to_pylist()
        return names

    @cached_property
    def _stages(self) -> pa.DictionaryArray:
        return pa.concat_arrays(self.tasks["stage"].cast(pa.string()).chunks).dictionary_encode()

    def state_of(self, key: str) -> State | None:
        """State of a task that was to do, by its id."""
        row = self.row_of.get(key)
        return None if row is None else State(self.state[row])

    def name(self, row: int) -> str:
        """``stage tile subject`` of a row."""
        return " ".join(self.tasks[column][row].as_py() for column in ("stage", "tile", "subject"))

    def submitted(self, chunks: Iterable[Chunk]) -> None:
        """Take note that chunks were handed to the executor."""
        for chunk in chunks:
            rows = self._rows[chunk.attempt] = [self.row_of[key] for key in chunk.ids]
            for row in rows:
                self._attempt[row] = max(self._attempt.get(row, ""), chunk.attempt)
                self._move(row, State.SUBMITTED, if_in={State.WAITING})

    def happened(self, events: Iterable[Event]) -> None:
        """Take note of journal events; neither repetition nor the order of journals changes the result."""
        for event in events:
            row = self.row_of.get(event.id)
            if row is None or self.state[row] == State.DONE:
                continue
            if isinstance(event, Begin):
                self.last_begun = row
                if self._is_newest(row, event.attempt):
                    self._move(row, State.RUNNING, if_in={State.WAITING, State.SUBMITTED})
            elif isinstance(event, Done):
                self.state[row] = State.DONE
                self.reasons.pop(row, None)
                self.measured_s += event.wall_s
                self.expected_s += float(self.seconds[row])
            else:
                self._failed(row, event)
        self._settle_blocked()

    def ended(self, attempt: str) -> None:
        """Take note that an attempt is over: what it did not settle waits again."""
        for row in self._rows.get(attempt, ()):
            if self._is_newest(row, attempt):
                self._move(row, State.WAITING, if_in={State.SUBMITTED, State.RUNNING})

    def ready(self, now: float) -> Rows:
        """Rows that could start now: everything they depend on is settled."""
        unsettled = self.state < State.DONE
        return np.flatnonzero(
            (self.state == State.WAITING) & ~self.graph.any_needed(unsettled) & (self.not_before <= now)
        )

    def missing_needs(self, row: int) -> dict[str, str]:
        """Dependencies of a row that are settled without output: id -> reason."""
        needed = [int(r) for r in self.graph.needed_by(row) if self.state[r] > State.DONE]
        return {self.tasks["id"][r].as_py(): self.reasons.get(r, "") for r in needed}

    def count(self, *states: State) -> int:
        """Number of rows in any of these states."""
        return int(np.isin(self.state, states).sum())

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.state < State.DONE).any()

    def _move(self, row: int, state: State, *, if_in: set[State]) -> None:
        if self.state[row] in if_in:
            self.state[row] = state

    def _is_newest(self, row: int, attempt: str) -> bool:
        return self._attempt.get(row, "") <= attempt

    def _failed(self, row: int, event: Failed) -> None:
        if event.stops_run:
            self.stopped_by = event
        if self.state[row] > State.DONE and not self._is_newest(row, event.attempt):
            return
        self.reasons[row] = event.reason
        if event.kind is Kind.INPUT:
            self.state[row] = State.QUARANTINED
            return
        if event.kind is not Kind.CANCELLED:
            self.attempts[row] = max(self.attempts[row], event.number)
        if event.kind is Kind.RESOURCE:
            too_small = self._too_small.setdefault(row, set())
            too_small.add(event.attempt)
            self.mem_bytes[row] = self.tasks["mem_bytes"][row].as_py() * MORE_MEMORY ** len(too_small)
        if event.kind is Kind.TEMPORARY:
            self.not_before[row] = event.t + PAUSE_S * 2.0 ** (event.number - 1)
        if event.final or self.attempts[row] >= self.max_attempts:
            self.state[row] = State.FAILED
        elif self._is_newest(row, event.attempt):
            self.state[row] = State.WAITING

    def _settle_blocked(self) -> None:
        """Settle what cannot do without a task that has ended without output, and what depends on that in turn."""
        while True:
            lacking = self.graph.any_needed(self.state > State.DONE)
            blocked = (self.state == State.WAITING) & lacking & ~self.tolerant
            if not blocked.any():
                return
            for row in np.flatnonzero(blocked):
                cause = next(int(r) for r in self.graph.needed_by(int(row)) if self.state[r] > State.DONE)
                self.reasons[int(row)] = blocked_reason(self.name(cause), self.reasons.get(cause, ""))
            self.state[blocked] = State.BLOCKED
