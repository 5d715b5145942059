"""Look at the queue and the accounts of a cluster, and say of each attempt whether it lives or how it ended."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.log import get_logger
from s4c_hpc.execute.advance import End
from s4c_hpc.execute.manifest import wave_of
from s4c_hpc.execute.pool_job import worker_job_name
from s4c_hpc.execute.queue_view import QueueLine, QueueView, read_view, write_view
from s4c_hpc.execute.slurm_budget import Refusal
from s4c_hpc.execute.slurm_end import end_of
from s4c_hpc.execute.wave_records import WaveRecords
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.ending import Ending
from s4c_hpc.slurm.errors import SlurmFailed, SlurmMissing, SlurmUnreachable
from s4c_hpc.slurm.reconcile import CLOCK_SLACK_S, Element, Index, Sight, by_element, look
from s4c_hpc.slurm.rows import AccountingRow, QueueRow

_TELLS = frozenset({Ending.DONE, Ending.MEMORY, Ending.TIME})
"""Ends of attempts that have begun something: their journals are there, or come to be seen."""
_BY_WORKER = frozenset({Ending.MEMORY, Ending.TIME, Ending.NODE_FAIL, Ending.PREEMPTED})
"""Ends of a pool's worker that are the reason for the end of what it did. At its end a pool cancels all workers."""

REMEMBERED_S = 300.0
"""After the controller was away, how long cancelled jobs may be its own doing: nodes register again (SlurmdTimeout)."""

Queue = Index[QueueRow]
Accounting = Index[AccountingRow]


class QueueWatch:
    """What was last seen of a run's jobs; what must outlive this process is kept in ``queue.json``."""

    def __init__(self, run: RunFolder, site: Slurm, client: SlurmClient, records: WaveRecords) -> None:
        self._run, self._site, self._client, self._records = run, site, client, records
        self._sights: dict[str, Sight] = {}
        self._looked = float("-inf")
        self._view = read_view(run) or QueueView()
        self._missing = dict(self._view.missing)
        self.refusals: dict[str, Refusal] = dict(self._view.refusals)
        """By stage, what sbatch has lately not taken."""
        self._saw_scancel = False

    def alive(self, attempts: Collection[str]) -> set[str]:
        """Attempts that may still write: pending, running, or not known to be over."""
        if time.monotonic() - self._looked >= self._site.poll_s or not self._sights.keys() >= set(attempts):
            self._look(attempts)
            self._looked = time.monotonic()
        return {attempt for attempt in attempts if self._sights[attempt].alive}

    def waiting(self) -> set[str]:
        """Attempts that had not begun when the queue was last looked at."""
        return {attempt for attempt, sight in self._sights.items() if sight.state == "pending"}

    def why_ended(self, attempt: str) -> End | None:
        """How Slurm says that an attempt ended, and forget it."""
        sight = self._sights.pop(attempt, None)
        self._missing.pop(attempt, None)
        if sight is None:
            return None
        submission = self._records.submission(wave_of(attempt))
        was_away = time.time() - self._view.silent_at < REMEMBERED_S
        return end_of(sight, submission, was_away=was_away, log_tail=partial(self._records.log_tail, attempt))

    def forget(self) -> None:
        """Nothing is alive any more."""
        self._sights.clear()
        self._missing.clear()
        self.refusals.clear()
        self._view = QueueView(interval_s=self._site.poll_s)
        with contextlib.suppress(OSError):  # for people only; a full disk may be why all was stopped
            self.keep_view()

    def was_refused(self, why: str) -> None:
        """Tell people, until the next look, what sbatch has refused for good."""
        self._view = replace(self._view, trouble=why, t=time.time())
        self.keep_view()

    @property
    def is_being_emptied(self) -> bool:
        """Whether jobs are being cancelled from outside: some have ended so, others take a while."""
        return self._saw_scancel and any(sight.reason.startswith("COMPLETING") for sight in self._sights.values())

    def keep_view(self) -> None:
        """Keep what was seen, for ``s4c status`` and for the next driver."""
        now = time.time()
        waits = [
            f"{stage}: {refusal.why}; tried again in {max(refusal.until(self._site.poll_s) - now, 0):.0f} s"
            for stage, refusal in sorted(self.refusals.items())
            if refusal.streak
        ]
        trouble = "; ".join(filter(None, [self._view.trouble, *waits]))
        write_view(self._run, replace(self._view, missing=self._missing, refusals=self.refusals, trouble=trouble))

    def _look(self, attempts: Collection[str]) -> None:
        """Ask the queue, and the accounting about what the queue does not list as waiting or running."""
        now, trouble, silent_at = time.time(), "", self._view.silent_at
        queue: Queue | None = None
        accounting: Accounting | None = None
        elements = {attempt: self._records.element(attempt) for attempt in attempts}
        workers = self._worker_names(elements)
        try:
            queue = by_element(self._client.queue(names_start="s4c-", ended=True))
        except SlurmUnreachable as error:
            trouble, silent_at = str(error), now
            _warn("Slurm does not answer; running jobs go on", self._run, reason=trouble)
        else:
            accounting = self._accounting(elements, workers, queue)
        self._sights = {}
        for attempt, element in elements.items():
            since = self._missing.get(attempt)
            if since is not None and since > now:  # the clock was set back
                since = self._missing[attempt] = now
            sight = self._refused(attempt) or look(
                element,
                queue,
                accounting,
                now=now,
                missing_since=since,
                forgotten_after_s=self._site.forgotten_after_s,
                log_tail=partial(self._records.log_tail, attempt),
            )
            if queue is not None and element.name in workers and not sight.alive:
                sight = self._in_pool(attempt, sight, workers[element.name], queue, accounting or {})
            sight = self._until_seen(attempt, sight, silent_s=0.0 if since is None else now - since)
            if queue is not None:
                if sight.state == "unknown":
                    self._missing.setdefault(attempt, now)
                else:
                    self._missing.pop(attempt, None)
            self._sights[attempt] = sight
        if queue is not None:
            self._end_orphans(elements.values(), workers, queue)
        self._saw_scancel = any(sight.ending is Ending.CANCELLED for sight in self._sights.values())
        lines = self._lines(elements, queue or {})
        self._view = QueueView(lines=lines, trouble=trouble, silent_at=silent_at, interval_s=self._site.poll_s)
        self.keep_view()

    def _until_seen(self, attempt: str, sight: Sight, *, silent_s: float) -> Sight:
        """Wait a while for the journal of what has ended: a network file system shows new files late."""
        if sight.ending not in _TELLS or silent_s >= self._site.forgotten_after_s:
            return sight
        told = self._records.told_its_end if sight.ending is Ending.DONE else self._records.has_begun
        if told(attempt):
            return sight
        return replace(sight, alive=True, state="unknown", ending=None, reason="its journal is not to be seen here yet")

    def _accounting(
        self, elements: Mapping[str, Element], workers: Mapping[str, str], queue: Queue
    ) -> Accounting | None:
        there = {key for key, rows in queue.items() if any(row.ending is None for row in rows)}
        gone = [
            element
            for attempt, element in elements.items()
            if (element.name, element.index) not in there and not self._records.told_its_end(attempt)
        ]
        if not gone:
            return None
        names = {element.name for element in gone}
        names |= {worker for pool, worker in workers.items() if pool in names}
        since = min(element.submitted_at for element in gone) - CLOCK_SLACK_S
        try:
            return by_element(self._client.accounting(sorted(names), since))
        except (SlurmUnreachable, SlurmFailed, SlurmMissing):  # a cluster without accounts, or with none just now
            return None

    def _worker_names(self, elements: Mapping[str, Element]) -> dict[str, str]:
        """Name of the workers' jobs, by that of the pool."""
        return {
            element.name: worker_job_name(self._run, self._records.wave(wave_of(attempt)))
            for attempt, element in elements.items()
            if self._records.is_pool(attempt)
        }

    def _in_pool(self, attempt: str, sight: Sight, workers: str, queue: Queue, accounting: Accounting) -> Sight:
        """What is known of an attempt whose pool has ended."""
        left = _live(queue.get((workers, None), ()))
        if left:
            reason = f"its pool has ended, {len(left)} workers have not yet"
            return replace(sight, alive=True, state="running", ending=None, reason=reason)
        job = self._records.job_that_opened(attempt)
        element = replace(self._records.element(attempt), name=workers, job_id=job)
        worker = None
        if job is not None:
            worker = look(
                element,
                {(workers, None): [row for row in queue.get((workers, None), ()) if row.job_id == job]},
                {(workers, None): [row for row in accounting.get((workers, None), ()) if row.job_id_raw == job]},
                now=0.0,
                missing_since=None,
                forgotten_after_s=0.0,
                log_tail=partial(self._records.worker_log_tail, attempt, job),
            )
        if worker is not None and worker.ending in _BY_WORKER:
            return worker
        if sight.ending in {Ending.MEMORY, Ending.TIME}:  # the pool's own, not those of any task
            return replace(sight, ending=Ending.FAILED, reason=f"its pool ended: {sight.reason}")
        return sight

    def _end_orphans(self, elements: Iterable[Element], workers: Mapping[str, str], queue: Queue) -> None:
        """End the workers of pools that were killed: they wait in the queue to find nobody."""
        ended = {
            element.name for element in elements if not _live(queue.get((element.name, None), ())) and element.job_id
        }
        jobs = {row.job_id for pool in ended & workers.keys() for row in _live(queue.get((workers[pool], None), ()))}
        if jobs:
            with contextlib.suppress(SlurmUnreachable):  # at the next look
                self._client.cancel(sorted(jobs))

    def _refused(self, attempt: str) -> Sight | None:
        submission = self._records.submission(wave_of(attempt))
        if submission is None or submission.job is not None:
            return None
        return Sight(
            alive=False,
            state="ended",
            reason=submission.refused,
            ending=Ending.NEVER_SUBMITTED,
            may_live=False,
            nodes="",
        )

    def _lines(self, elements: Mapping[str, Element], queue: Queue) -> tuple[QueueLine, ...]:
        counts: Counter[tuple[str, str, str, str]] = Counter()
        for attempt, sight in self._sights.items():
            if sight.alive:
                element = elements[attempt]
                rows = queue.get((element.name, element.index), ())
                stage = self._records.wave(wave_of(attempt)).stage
                counts[stage, rows[-1].qos if rows else "", sight.state, sight.reason] += 1
        return tuple(
            QueueLine(stage=stage, qos=qos, state=state, reason=reason, elements=n)
            for (stage, qos, state, reason), n in sorted(counts.items())
        )


def _live(rows: Sequence[QueueRow]) -> list[QueueRow]:
    return [row for row in rows if row.ending is None]


def _warn(event: str, run: RunFolder, **values: object) -> None:
    get_logger("driver").warning(event, run=run.id, **values)
