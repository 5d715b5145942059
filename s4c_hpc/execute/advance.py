"""One step of a run, computed from disk: safe to repeat, and to continue in another process after a kill."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.core.log import get_logger
from s4c_hpc.core.text import human_bytes
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.choose import choose_chunks
from s4c_hpc.execute.journal import Begin, Event, Failed, Journal, Kind, read_events
from s4c_hpc.execute.manifest import Chunk, next_wave, read_wave, wave_names, wave_path, write_wave
from s4c_hpc.execute.progress import Progress
from s4c_hpc.plan import RunFolder

MAX_IDLE_LOSSES = 5
"""Chunks in a row that may vanish before their first task began: then workers cannot start at all."""


class Executor(Protocol):
    """Something that runs chunks in processes of their own."""

    @property
    def slots(self) -> int:
        """Cores that chunks may ask for together; the submission window."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Memory that chunks may ask for together."""
        ...

    def submit(self, run: RunFolder, chunks: Sequence[Chunk]) -> None:
        """Start ``worker.run_chunk(run.root, chunk.attempt)`` for each, in the order given, some time."""
        ...

    def alive(self) -> Collection[str]:
        """Attempts that may still write to their journals: waiting or running."""
        ...

    def why_ended(self, attempt: str) -> str | None:
        """What is known of an attempt that ended before its tasks did."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Return when an attempt has ended, or after ``timeout_s``."""
        ...

    def cancel(self) -> None:
        """Stop every attempt; none is alive afterwards."""
        ...


class Run:
    """A run folder and what has been read of it so far; another process gets the same from disk."""

    def __init__(self, folder: RunFolder, max_attempts: int) -> None:
        self.folder = folder
        self.board = Board.open(folder, max_attempts)
        self.waves: list[str] = []
        self.open: dict[str, Chunk] = {}
        """Attempts that have not ended as far as is known."""
        self._begun: dict[str, dict[str, int]] = {}
        """By attempt, tasks that began and are not settled: id -> which try."""
        self._offsets: dict[str, int] = {}
        self._journal: Journal | None = None
        self._idle_losses = 0
        self._read_all = True

    def refresh(self) -> list[Event]:
        """Read what manifests and journals say beyond what was read before, and return the events."""
        known = set(self.waves)
        for wave in wave_names(self.folder):
            if wave not in known:
                self.took(wave, read_wave(wave_path(self.folder, wave)))
        names = [path.stem for path in sorted(self.folder.journals.glob("*.jsonl"))] if self._read_all else self.open
        self._read_all = False
        events = [event for name in names for event in self._news(name)]
        self.board.happened(events)
        return events

    def took(self, wave: str, chunks: Sequence[Chunk]) -> None:
        """Take note of a wave."""
        self.waves.append(wave)
        self.open.update((chunk.attempt, chunk) for chunk in chunks)
        self.board.submitted(chunks)

    def close_attempt(self, attempt: str, kind: Kind, why: str) -> None:
        """Settle an attempt that has ended: what it had begun and not finished was lost (or cancelled).

        What it had not begun waits again, as it was.
        """
        chunk = self.open.pop(attempt)
        unfinished = self._begun.pop(attempt, {})
        for key, number in unfinished.items():
            self._note(Failed(id=key, attempt=attempt, number=number, kind=kind, what=why, hint=None))
        untouched = not unfinished and not (self.folder.journals / f"{attempt}.jsonl").exists()
        self._idle_losses = self._idle_losses + 1 if untouched else 0
        self.board.ended(attempt)
        shutil.rmtree(self.folder.scratch / chunk.attempt, ignore_errors=True)
        if self._idle_losses >= MAX_IDLE_LOSSES and kind is Kind.LOST:
            raise SchedulerError(
                f"{self._idle_losses} chunks ended before their first task began: {why}",
                where=str(self.folder.root),
                hint="the run can be continued with 's4c run' once workers start",
            )

    def refuse(self, row: int, what: str, hint: str) -> None:
        """Settle a task that cannot run here."""
        number = int(self.board.attempts[row]) + 1
        key = self.board.tasks["id"][row].as_py()
        attempt = f"refused-{self.folder.id}"
        self._note(
            Failed(id=key, attempt=attempt, number=number, kind=Kind.TEMPORARY, what=what, hint=hint, final=True)
        )

    def close(self) -> None:
        """Close the driver's own journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _news(self, name: str) -> list[Event]:
        path = self.folder.journals / f"{name}.jsonl"
        try:
            events, self._offsets[name] = read_events(path, self._offsets.get(name, 0))
        except FileNotFoundError:
            return []
        for event in events:
            begun = self._begun.setdefault(event.attempt, {})
            if isinstance(event, Begin):
                begun[event.id] = event.number
            else:
                begun.pop(event.id, None)
        return events

    def _note(self, event: Failed) -> None:
        if self._journal is None:
            self._journal = Journal(self.folder.journals / f"driver-{os.getpid()}-{time.time_ns()}.jsonl")
        self._journal.write(event)
        self.board.happened([event])


def advance(run: Run, executor: Executor, *, submit: bool = True) -> Progress:
    """Fold journals, reconcile with the executor, decide retries, submit what is ready, return.

    Idempotent: called twice, the second call finds nothing to do. Killed anywhere, the next call goes on.

    Parameters
    ----------
    submit : ``False`` only looks and settles (a run that is being stopped)
    """
    # Before the journals are read: what has ended by now has written all that it ever will.
    alive = set(executor.alive())
    board = run.board
    for event in run.refresh():
        if isinstance(event, Failed) and board.state_of(event.id) == State.WAITING:
            _warn("task failed, is tried again", run, task=event.id, attempt=event.attempt, reason=event.reason)
    for attempt in [name for name in run.open if name not in alive]:
        _close_ended(run, attempt, executor.why_ended(attempt))
    if submit and board.stopped_by is None and not board.is_settled:
        _refuse_unfit(run, executor.memory_bytes)
        wave = next_wave(run.waves)
        chunks = choose_chunks(
            board,
            list(run.open.values()),
            slots=executor.slots,
            memory_bytes=executor.memory_bytes,
            now=time.time(),
            wave=wave,
        )
        if chunks:
            write_wave(run.folder, wave, chunks)
            run.took(wave, chunks)
            executor.submit(run.folder, chunks)
    return Progress.of(board, executor.slots)


def _close_ended(run: Run, attempt: str, why: str | None) -> None:
    """Settle an attempt that is over; it is lost unless it did all that it was to do."""
    reason = why or "the worker process is gone (killed, crashed or out of memory)"
    board = run.board
    unsettled = [key for key in run.open[attempt].ids if board.state_of(key) in {State.SUBMITTED, State.RUNNING}]
    if unsettled and board.stopped_by is None:
        _warn("attempt lost", run, attempt=attempt, tasks_unsettled=len(unsettled), reason=reason)
    run.close_attempt(attempt, Kind.LOST, reason)


def _warn(event: str, run: Run, **values: object) -> None:
    get_logger("driver").warning(event, run=run.folder.id, **values)


def _refuse_unfit(run: Run, memory_bytes: int) -> None:
    board = run.board
    asked = np.asarray(board.tasks["mem_bytes"])
    for row in np.flatnonzero((board.state == State.WAITING) & (asked > memory_bytes)):
        what = (
            f"asks for {human_bytes(int(asked[row]))} of memory, all tasks together may have "
            f"{human_bytes(memory_bytes)}"
        )
        _warn("task refused", run, task=board.tasks["id"][int(row)].as_py(), reason=what)
        run.refuse(int(row), what, "raise execute.memory or run where there is more")
