"""One step of a run, computed from disk: safe to repeat, and to continue in another process after a kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from s4c_hpc.core.log import get_logger
from s4c_hpc.core.task import Launch
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.choose import Budget, Cut, choose_chunks
from s4c_hpc.execute.clock import Clock
from s4c_hpc.execute.journal import Begin, Closed, Event, Failed, Journal, Kind, Opened, read_events
from s4c_hpc.execute.losses import Losses
from s4c_hpc.execute.manifest import Chunk, Wave, attempt_name, next_wave, read_wave, wave_names, wave_of, write_wave
from s4c_hpc.execute.progress import Progress
from s4c_hpc.execute.quiet import GoodEnds, QuietWave, read_quiet, rows_done, write_quiet
from s4c_hpc.plan import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How an attempt ended that did not do all that it was to do."""

    kind: Kind
    what: str
    may_live: bool = False
    """Whether it may be at work still, unknown to the scheduler: then its private files are left alone."""
    final: bool = False
    """Whether what it was to do cannot be done here at all."""
    hint: str | None = None


class Executor(Protocol):
    """Something that runs chunks in processes of their own."""

    @property
    def cut(self) -> Cut:
        """How it wants work cut into chunks."""
        ...

    @property
    def outlives_driver(self) -> bool:
        """Whether attempts go on when the driver stops."""
        ...

    def launch(self, stage: str) -> Launch:
        """How chunks of a stage are started here."""
        ...

    def budget(self, board: Board, chunks: Mapping[str, Chunk]) -> Budget:
        """What it takes now.

        Parameters
        ----------
        chunks : attempts that have not ended
        """
        ...

    def submit(self, run: RunFolder, wave: Wave) -> None:
        """Start ``worker.run_chunk(run.root, chunk.attempt)`` for each chunk, in the order given, some time."""
        ...

    def alive(self, chunks: Mapping[str, Chunk]) -> Collection[str]:
        """Attempts, of ``chunks``, that may still write to their journals: waiting or running."""
        ...

    def waiting(self) -> Collection[str]:
        """Those of them that were certainly not at work when ``alive`` was asked: their journals say nothing new."""
        ...

    def why_ended(self, attempt: str) -> End | None:
        """What is known of an attempt that is not alive."""
        ...

    @property
    def poll_s(self) -> float:
        """Pause between two calls of ``advance``, in seconds, if nothing happens meanwhile."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Return when an attempt has ended, or after ``timeout_s``; whether one has, as far as can be told."""
        ...

    def cancel(self) -> None:
        """Stop every attempt; none is alive afterwards."""
        ...


class Run:
    """A run folder and what has been read of it so far; another process gets the same from disk."""

    def __init__(self, folder: RunFolder, max_attempts: int) -> None:
        self.folder = folder
        self.board = Board.open(folder, max_attempts)
        self.clock = Clock(folder, self.board)
        self.waves: list[str] = []
        self.open: dict[str, Chunk] = {}
        """Attempts that have not been closed."""
        self.finished: set[str] = set()
        """Those of them that told their orderly end."""
        self._begun: dict[str, dict[str, int]] = {}
        """By attempt, tasks that began and are not settled: id -> which try."""
        self._offsets: dict[str, int] = {}
        self.losses = Losses()
        self.has_strays = False
        """Whether an attempt has been given up that may show up again."""
        self._journal: Journal | None = None
        self._read_all = True
        self._quiet: dict[str, QuietWave] | None = None
        """Waves that came to a good end before this process began; ``None`` until looked for."""
        self._good_ends = GoodEnds()
        self._n_chunks: dict[str, int] = {}

    def refresh(self, waiting: Collection[str] = ()) -> list[Event]:
        """Read what manifests and journals say beyond what was read before, and return the events.

        Parameters
        ----------
        waiting : attempts that are not at work, and so say nothing new
        """
        self.take_waves()
        names = self._all_journals() if self._read_all else [name for name in self.open if name not in waiting]
        events = [event for name in names for event in self._news(name)]
        self.board.happened(events)
        closed = [event for event in events if isinstance(event, Closed)]
        if self._read_all:
            closed += [Closed(attempt=attempt_name(name, 0), t=wave.ended) for name, wave in self._past_waves().items()]
        self.losses.read(closed, self._begun)
        self.has_strays |= any(event.kind is Kind.EVICTED for event in closed)
        for event in closed:
            if event.attempt in self.open:
                if self._read_all:  # it was settled when it was closed
                    self._forget(event.attempt)
                else:
                    self.finished.add(event.attempt)
        self._read_all = False
        return events

    def take_waves(self) -> None:
        """Take note of waves that another process has written."""
        quiet, known = self._past_waves(), set(self.waves)
        for name in wave_names(self.folder):
            if name in quiet and name not in known:
                self.waves.append(name)
            elif name not in known:
                self.took(read_wave(self.folder, name))

    def took(self, wave: Wave) -> None:
        """Take note of a wave."""
        self.waves.append(wave.name)
        self._n_chunks[wave.name] = len(wave.chunks)
        self.open.update((chunk.attempt, chunk) for chunk in wave.chunks)
        self.board.submitted(wave.chunks)

    def close_attempt(self, attempt: str, end: End) -> None:
        """Settle an attempt that has ended: what it had begun and not finished was lost, for the reason given.

        What it had not begun waits again, as it was.
        """
        if attempt not in self.finished:  # one of several ranks may have told, in a journal of its own, why
            self.board.happened(self._news(f"{attempt}.rank"))
        began = attempt in self._begun
        for key, number in list(self._begun.get(attempt, {}).items()):
            self._note(Failed(id=key, attempt=attempt, number=number, kind=end.kind, what=end.what))
        if end.final:
            for key in self.open[attempt].ids:
                if self.board.state_of(key) in {State.SUBMITTED, State.WAITING}:
                    self.refuse(self.board.row_of[key], end.what, end.hint)
        if attempt not in self.finished:
            closed = Closed(attempt=attempt, kind=end.kind, what=end.what)
            self._note(closed)
            self.losses.ended(closed, began=began)
            self.has_strays |= end.may_live
        self._forget(attempt)
        if not end.may_live:
            shutil.rmtree(self.folder.scratch / attempt, ignore_errors=True)

    def refuse(self, row: int, what: str, hint: str | None) -> None:
        """Settle a task that cannot run here."""
        number = int(self.board.attempts[row]) + 1
        key = self.board.tasks["id"][row].as_py()
        attempt = f"refused-{self.folder.id}"
        self._note(
            Failed(id=key, attempt=attempt, number=number, kind=Kind.TEMPORARY, what=what, hint=hint, final=True)
        )

    def close(self) -> None:
        """Close the driver's own journal, and tell the next driver what it need not read."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if fresh := self._good_ends.quiet(self._n_chunks):
            with contextlib.suppress(OSError):  # it reads them, then
                write_quiet(self.folder, {**self._past_waves(), **fresh})

    def _past_waves(self) -> dict[str, QuietWave]:
        """Waves that came to a good end before this process began; their tasks are taken from the history."""
        if self._quiet is None:
            self._quiet, done = read_quiet(self.folder)
            rows, wall_s = rows_done(done, self.board.tasks["id"])
            todo = self.board.planned_todo[rows]
            self.board.were_done(rows[todo], wall_s[todo])
        return self._quiet

    def _all_journals(self) -> list[str]:
        quiet = self._past_waves()
        names = (path.stem for path in self.folder.journals.glob("*.jsonl"))
        return sorted(name for name in names if wave_of(name) not in quiet)

    def _forget(self, attempt: str) -> None:
        del self.open[attempt]
        self.finished.discard(attempt)
        self._begun.pop(attempt, None)
        self._offsets.pop(attempt, None)
        self.board.ended(attempt)

    def _news(self, name: str) -> list[Event]:
        path = self.folder.journals / f"{name}.jsonl"
        try:
            events, self._offsets[name] = read_events(path, self._offsets.get(name, 0))
        except FileNotFoundError:
            return []
        for event in events:
            if isinstance(event, Closed):
                self._count_end(event, name)
            if isinstance(event, Opened | Closed):
                continue
            if isinstance(event, Failed):
                self._good_ends.trouble(event.attempt)
            begun = self._begun.setdefault(event.attempt, {})
            if isinstance(event, Begin):
                begun[event.id] = event.number
            else:
                begun.pop(event.id, None)
        return events

    def _count_end(self, event: Closed, journal: str) -> None:
        if event.kind is None and event.attempt == journal:
            self._good_ends.ended(event.attempt, journal_bytes=self._offsets[journal], t=event.t)
        else:
            self._good_ends.trouble(event.attempt)

    def _note(self, event: Failed | Closed) -> None:
        self._good_ends.trouble(event.attempt)
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

    Raises
    ------
    SchedulerError
        If jobs do not start, are all cancelled from outside, or sbatch refuses them for good.
    """
    # Before the journals are read: what has ended by now has written all that it ever will.
    run.take_waves()
    alive = set(executor.alive(run.open))
    board = run.board
    for event in run.refresh(executor.waiting()):
        if isinstance(event, Failed) and board.state_of(event.id) == State.WAITING:
            _warn("task failed, is tried again", run, task=event.id, attempt=event.attempt, reason=event.reason)
    for attempt in [name for name in run.open if name not in alive or name in run.finished]:
        _close_ended(run, attempt, executor.why_ended(attempt))
    if not board.is_settled and (hopeless := run.losses.why_stop(len(run.open))) is not None:
        hopeless.where = str(run.folder.root)
        raise hopeless
    cut = executor.cut
    if submit and board.stopped_by is None and not board.is_settled:
        _refuse_unfit(run, cut)
        budget = executor.budget(board, run.open)
        chosen = choose_chunks(board, budget, cut, now=time.time(), first_wave=next_wave(run.waves))
        for chunks in chosen:
            _submit(run, executor, chunks)
    return Progress.of(board, run.clock.left())


def _submit(run: Run, executor: Executor, chunks: Sequence[Chunk]) -> None:
    """Hand a wave to the executor, having written down that it will be."""
    wave = Wave(name=wave_of(chunks[0].attempt), launch=executor.launch(chunks[0].stage), chunks=tuple(chunks))
    write_wave(run.folder, wave)
    run.took(wave)
    executor.submit(run.folder, wave)


def _close_ended(run: Run, attempt: str, end: End | None) -> None:
    """Settle an attempt that is over; it is lost unless it did all that it was to do."""
    end = end or End(kind=Kind.LOST, what="the worker process is gone (killed, crashed or out of memory)")
    board = run.board
    unsettled = [key for key in run.open[attempt].ids if board.state_of(key) in {State.SUBMITTED, State.RUNNING}]
    if unsettled and board.stopped_by is None and attempt not in run.finished:
        _warn("attempt lost", run, attempt=attempt, tasks_unsettled=len(unsettled), reason=end.what)
    run.close_attempt(attempt, end)


def _warn(event: str, run: Run, **values: object) -> None:
    get_logger("driver").warning(event, run=run.folder.id, **values)


def _refuse_unfit(run: Run, cut: Cut) -> None:
    for row, what in run.board.unfit([cut.most_for(stage) for stage in run.board.stage_names]).items():
        _warn("task refused", run, task=run.board.tasks["id"][row].as_py(), reason=what)
        run.refuse(row, what, "raise execute.memory (on Slurm: slurm.max_memory), or run where there is more")
