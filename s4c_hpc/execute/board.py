"""Where every task of a run stands: the plan, its journals and what is still alive, as arrays. No I/O but ``open``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from s4c_hpc.core.text import human_bytes, human_seconds
from s4c_hpc.execute.journal import Begin, Closed, Done, Event, Failed, Kind, Opened
from s4c_hpc.execute.limits import Most
from s4c_hpc.execute.manifest import Chunk
from s4c_hpc.plan import PlanState, RunFolder, walltime_to_ask
from s4c_hpc.plan.classify import blocked_reason
from s4c_hpc.plan.graph import Graph, Mask, Rows, coded
from s4c_hpc.plan.predict import stage_codes

PAUSE_S = 1.0
"""Wait before the second try after a temporary failure; doubled for each further one."""
MORE = 2
"""Factor on the memory or time asked for after each time that it was not enough."""
MAX_EVICTIONS = 20
"""Times that a task may lose its place through no fault of its own: beyond, its nodes are the ones that fail."""


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


_TASK_COLUMNS = ["id", "stage", "tile", "subject", "cpus", "mem_bytes", "walltime_s", "bytes_out"]
_STATUS_COLUMNS = ["state", "reason", "attempts", "tolerates_missing", "needs"]
_ESTIMATE_COLUMNS = ["seconds", "low_s", "high_s", "common", "samples"]
"""What is read of a plan: the texts of its other columns are most of its bytes."""

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
        self.estimates = estimates
        self.graph = Graph.of_lists(status["needs"])
        self.max_attempts = max_attempts
        planned, names = coded(status["state"])
        self.state = np.asarray([_PLANNED[name] for name in names.to_pylist()], dtype=np.int8)[planned]
        self.planned_todo: Mask = self.state == State.WAITING
        self.tolerant: Mask = np.asarray(status["tolerates_missing"], dtype=bool)
        self.attempts = np.asarray(status["attempts"], dtype=np.int32).copy()
        """Failures so far for which the task is to blame."""
        self.seconds = np.asarray(estimates["seconds"], dtype=np.float64)
        self.mem_bytes = np.asarray(tasks["mem_bytes"], dtype=np.int64).copy()
        """What to ask for next time."""
        self.walltime_s = walltime_to_ask(estimates, tasks)
        """The same, of wall time."""
        self._first_asked = {Kind.RESOURCE: self.mem_bytes.copy(), Kind.TIME: self.walltime_s.copy()}
        self._evicted: dict[int, set[str]] = {}
        """Attempts in which a row lost its place."""
        self.not_before = np.zeros(len(self.state), dtype=np.float64)
        """Time before which a task is not tried again, seconds since 1970."""
        without = np.flatnonzero(self.state > State.DONE)
        reasons = status["reason"].take(pa.array(without)).to_pylist()
        self.reasons: dict[int, str] = {
            row: text.removeprefix("quarantined: ")  # the state is told beside the reason
            for row, text in zip(without.tolist(), reasons, strict=True)
        }
        self.stopped_by: Failed | None = None
        """The failure that stops the run, if any (disk full)."""
        self.stage_code, self.stage_names = stage_codes(tasks)
        """Stage of each row as an index of the names, which are in the order of the plan."""
        n_stages = len(self.stage_names)
        self.measured_s, self.expected_s, self.n_done = (np.zeros(n_stages) for _ in range(3))
        """(n_stages,) wall time of the tasks done in this run, what had been predicted for them, and their number."""
        self.begun_at = np.full(len(self.state), np.nan)
        """When the newest attempt at each task began it, seconds since 1970; NaN before."""
        self.last_begun = -1
        self._attempt: dict[int, str] = {}
        """The newest attempt that each row was submitted in; what older ones say of it is over."""
        self._row_of: dict[str, int] | None = None
        self._rows: dict[str, list[int]] = {}
        self._too_little: dict[tuple[int, Kind], set[str]] = {}
        """Attempts of each row for which memory, or time, was not enough."""
        self._settle_blocked()

    @classmethod
    def open(cls, run: RunFolder, max_attempts: int) -> Board:
        """The board of a run as its plan left it.

        Raises
        ------
        pyarrow.ArrowInvalid
            If a table of the plan is damaged.
        """
        parts = ((run.plan, _TASK_COLUMNS), (run.status, _STATUS_COLUMNS), (run.estimates, _ESTIMATE_COLUMNS))
        tasks, status, estimates = (pq.ParquetFile(path).read(columns) for path, columns in parts)
        return cls(tasks, status, estimates, max_attempts)

    def expect(self, ids: Iterable[str]) -> None:
        """Say that no other tasks will be asked for by id: an index of all of them takes seconds for a country."""
        wanted = np.asarray(pc.is_in(self.tasks["id"], value_set=pa.array(list(ids), pa.string())), dtype=bool)
        self._row_of = self._index(np.flatnonzero(wanted & self.planned_todo))

    @property
    def row_of(self) -> dict[str, int]:
        """Row of each task that was to do, by id."""
        if self._row_of is None:
            self._row_of = self._index(np.flatnonzero(self.planned_todo))
        return self._row_of

    def _index(self, rows: Rows) -> dict[str, int]:
        return dict(zip(self.tasks["id"].take(pa.array(rows)).to_pylist(), rows.tolist(), strict=True))

    @property
    def depth(self) -> npt.NDArray[np.int32]:
        """Place of each row's stage in the chain: plans list stages in their order."""
        return self.stage_code

    @cached_property
    def cpus(self) -> npt.NDArray[np.int32]:
        """Cores that each row asks for."""
        return np.asarray(self.tasks["cpus"], dtype=np.int32)

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
            if isinstance(event, Opened | Closed):
                continue
            row = self.row_of.get(event.id)
            if row is None or self.state[row] == State.DONE:
                continue
            if isinstance(event, Begin):
                self.last_begun = row
                if self._is_newest(row, event.attempt):
                    self.begun_at[row] = event.t
                    self._move(row, State.RUNNING, if_in={State.WAITING, State.SUBMITTED})
            elif isinstance(event, Done):
                self.were_done(np.asarray([row]), np.asarray([event.wall_s]))
            else:
                self._failed(row, event)
        self._settle_blocked()

    def were_done(self, rows: Rows, wall_s: npt.NDArray[np.float64]) -> None:
        """Take note that tasks which were to do are done, and how long they took; (n,) each."""
        self.state[rows] = State.DONE
        for row in rows.tolist() if self.reasons else ():
            self.reasons.pop(row, None)
        for total, values in ((self.measured_s, wall_s), (self.expected_s, self.seconds[rows]), (self.n_done, 1.0)):
            np.add.at(total, self.stage_code[rows], values)

    def ended(self, attempt: str) -> None:
        """Take note that an attempt is over: what it did not settle waits again."""
        for row in self._rows.get(attempt, ()):
            if self._is_newest(row, attempt):
                self._move(row, State.WAITING, if_in={State.SUBMITTED, State.RUNNING})

    def rows_of(self, attempt: str) -> list[int]:
        """Rows that an attempt was to do."""
        return self._rows.get(attempt, [])

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

    def unfit(self, most: Sequence[Most]) -> dict[int, str]:
        """Waiting rows that nothing here can hold, and why: row -> sentence.

        A first estimate of the time is generous and may be cut to what there is; one of the memory is a bound. What
        was not enough and is doubled may be cut as well, unless all there is has been tried.

        Parameters
        ----------
        most : of each stage, in the order of ``stage_names``
        """
        largest_bytes = np.asarray([m.mem_bytes for m in most])[self.stage_code]
        longest_s = np.asarray([m.walltime_s or np.iinfo(np.int64).max for m in most])[self.stage_code]
        first_bytes, first_s = self._first_asked[Kind.RESOURCE], self._first_asked[Kind.TIME]
        tried_all = np.where(
            self.mem_bytes == first_bytes, self.mem_bytes > largest_bytes, self.mem_bytes // MORE >= largest_bytes
        )
        found = {
            row: f"asks for {human_bytes(int(self.mem_bytes[row]))} of memory, "
            f"the most that it can have here is {human_bytes(int(largest_bytes[row]))}"
            for row in np.flatnonzero((self.state == State.WAITING) & tried_all).tolist()
        }
        too_long = (self.walltime_s > first_s) & (self.walltime_s // MORE >= longest_s)
        for row in np.flatnonzero((self.state == State.WAITING) & too_long).tolist():
            found[row] = f"takes longer than {human_seconds(int(longest_s[row]))}, the most that it can have here"
        return found

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
        if event.kind is Kind.EVICTED:
            self._evicted.setdefault(row, set()).add(event.attempt)
        elif event.kind is not Kind.CANCELLED:
            self.attempts[row] = max(self.attempts[row], event.number)
        if event.kind in {Kind.RESOURCE, Kind.TIME}:
            too_little = self._too_little.setdefault((row, event.kind), set())
            too_little.add(event.attempt)
            asked = self.mem_bytes if event.kind is Kind.RESOURCE else self.walltime_s
            asked[row] = self._first_asked[event.kind][row] * MORE ** len(too_little)
        if event.kind is Kind.TEMPORARY:
            self.not_before[row] = event.t + PAUSE_S * 2.0 ** (event.number - 1)
        given_up = self.attempts[row] >= self.max_attempts or len(self._evicted.get(row, ())) > MAX_EVICTIONS
        if event.final or given_up:
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
