"""Run chunks as job arrays of a Slurm cluster. All it knows is on disk or in the queue: any process can be the next."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from s4c_hpc.config import Config
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import ConfigError, SchedulerError
from s4c_hpc.core.log import get_logger
from s4c_hpc.core.stage import stage as installed_stage
from s4c_hpc.core.task import Launch
from s4c_hpc.execute.advance import End
from s4c_hpc.execute.board import Board
from s4c_hpc.execute.choose import Budget, Cut
from s4c_hpc.execute.cluster_facts import Cluster, cluster_of
from s4c_hpc.execute.limits import Most
from s4c_hpc.execute.manifest import Chunk, Wave, wave_names, wave_of
from s4c_hpc.execute.queue_watch import QueueWatch
from s4c_hpc.execute.slurm_budget import REFILL_SHARE, Refusal, SlurmBudget, refused, stage_room
from s4c_hpc.execute.slurm_job import job_of, memory_classes
from s4c_hpc.execute.submissions import Submission, is_ours
from s4c_hpc.execute.wave_records import WaveRecords
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.errors import (
    SlurmMissing,
    SlurmUnreachable,
    SubmitInDoubt,
    SubmitLater,
    SubmitRefused,
    SubmitTooLarge,
    SubmitUnreachable,
)
from s4c_hpc.slurm.jobs import JobSpec, own_job
from s4c_hpc.slurm.queues import queue_of
from s4c_hpc.slurm.script import batch_script

HOLD_S = 600.0
"""Ready work waits no longer than this for more of its kind while the cluster is busy."""
LINGER_POLLS = 4
"""Where the cluster is not busy, a little ready work waits until the newest array is so many polls old: what becomes
ready one by one would go out in arrays of one."""
CANCEL_TIMEOUT_S = 120.0


@contextlib.contextmanager
def slurm_executor(run: RunFolder, config: Config) -> Iterator[SlurmExecutor]:
    """The cluster as an executor; jobs live on when the context is left."""
    yield SlurmExecutor(run, config.slurm, SlurmClient.of(config.slurm))


class SlurmExecutor:
    """Chunks on Slurm; see the protocol ``Executor``."""

    def __init__(self, run: RunFolder, site: Slurm, client: SlurmClient) -> None:
        self._run, self._site, self._client = run, site, client
        self._records = WaveRecords(run)
        self._watch = QueueWatch(run, site, client, self._records)
        self._in_queue: Counter[str] = Counter()
        """Elements of each stage, this call's among them."""

    @property
    def cluster(self) -> Cluster:
        """What this cluster is like; mostly from a file."""
        return cluster_of(self._run, self._client, self._site)

    @property
    def poll_s(self) -> float:
        """Pause between two looks at the queue, in seconds."""
        return self._site.poll_s

    @property
    def outlives_driver(self) -> bool:
        """Yes: jobs belong to Slurm."""
        return True

    @property
    def cut(self) -> Cut:
        """Chunks worth minutes, in classes of memory."""
        cluster, site = self.cluster, self._site

        def of_tasks(most: Most) -> Most:
            longest_s = None if most.walltime_s is None else max(most.walltime_s - site.start_s, 1)
            return replace(most, mem_bytes=most.mem_bytes - site.memory_overhead, walltime_s=longest_s)

        return Cut(
            cores=cluster.cores,
            longest_s=site.chunk_s,
            longest_s_of={name: own.chunk_s for name, own in site.stages.items() if own.chunk_s is not None},
            shortest_s=site.min_chunk_s,
            most=of_tasks(cluster.most),
            most_of={stage: of_tasks(most) for stage, most in cluster.most_of(site).items()},
            most_spread=of_tasks(cluster.most_spread),
            is_spread=lambda stage: self.launch(stage) is Launch.MPI,
            memory_classes=memory_classes(site),
        )

    def launch(self, stage: str) -> Launch:
        """As job arrays or with MPI; in a pool only where the site says so, since a pool opens ports between nodes."""
        if installed_stage(stage).launch is Launch.MPI:
            return Launch.MPI
        return Launch.POOL if queue_of(self._site, stage).pool else Launch.ARRAY

    def budget(self, board: Board, chunks: Mapping[str, Chunk]) -> Budget:
        """Places in the queue; none while the cluster is busy and what is ready would make a small array."""
        site, now = self._site, time.time()
        free = site.max_submitted - len(chunks)
        if chunks and (
            free < REFILL_SHARE * site.max_submitted
            or self._is_worth_holding(board, chunks)
            or self._watch.is_being_emptied
        ):
            free = 0
        self._in_queue = Counter(chunk.stage for chunk in chunks.values())
        rooms = {
            stage: stage_room(there=self._in_queue[stage], window=site.max_submitted) for stage in board.stage_names
        }
        for stage, refusal in self._watch.refusals.items():
            room = refusal.room(self._in_queue[stage], poll_s=site.poll_s, now=now)
            if room is not None:
                rooms[stage] = min(room, rooms.get(stage, room))
        return SlurmBudget.of(free_elements=free, largest_array=self.cluster.max_array, rooms=rooms)

    def submit(self, run: RunFolder, wave: Wave) -> None:
        """Hand a wave to sbatch; what comes of it is on disk before this returns, or the wave is in doubt.

        Raises
        ------
        SubmitRefused, SlurmMissing, ConfigError
            If jobs of this stage cannot be submitted at all.
        """
        self._records.took(wave)
        refusals = self._watch.refusals
        try:
            script = batch_script(self.job(wave), self._site, python=self._site.launch.python or sys.executable)
            run.log(wave.stage, wave.name).parent.mkdir(parents=True, exist_ok=True)  # sbatch fails silently without
            job = self._client.submit(script)
        except SubmitInDoubt as error:
            _warn("sbatch did not answer; the job is looked for by its name", run, wave=wave.name, reason=str(error))
            self._came_to_nothing(wave, str(error), is_full=False)
        except SubmitLater as error:
            is_full = not isinstance(error, SubmitUnreachable)
            event = "the queue takes no more for now" if is_full else "the controller is not there, submitted later"
            _warn(event, run, wave=wave.name, reason=str(error))
            self._records.answered(wave, Submission(job=None, refused=str(error)))
            self._came_to_nothing(wave, str(error), is_full=is_full)
        except (SubmitRefused, SlurmMissing, ConfigError) as error:
            final = isinstance(error, SubmitTooLarge | ConfigError) and self._asks_for_more(wave)
            self._records.answered(wave, Submission(job=None, refused=error.what, hint=error.hint, final=final))
            if not final:
                self._watch.was_refused(str(error))
                raise
            _warn("tasks refused", run, wave=wave.name, tasks=sum(len(c.ids) for c in wave.chunks), reason=str(error))
        else:
            self._records.answered(wave, Submission(job=job))
            if wave.stage in refusals:
                refusals[wave.stage] = replace(refusals[wave.stage], streak=0)
        self._in_queue[wave.stage] += len(wave.chunks)

    def _came_to_nothing(self, wave: Wave, why: str, *, is_full: bool) -> None:
        """Keep in mind, also for the next tick, that sbatch made no job."""
        refusals: dict[str, Refusal] = self._watch.refusals
        refusals[wave.stage] = refused(
            refusals.get(wave.stage),
            n=len(wave.chunks),
            in_queue=self._in_queue[wave.stage],
            is_full=is_full,
            why=why,
            now=time.time(),
        )
        self._watch.keep_view()

    def _asks_for_more(self, wave: Wave) -> bool:
        """Whether jobs of its stage were taken before that asked for less: then it is the tasks that are too large."""
        any_less = False
        # The newest first: the large ones come last, and one of them is enough to know.
        for name in reversed(wave_names(self._run)):
            answer = self._records.submission(name)
            if answer is None or answer.job is None or (one := self._wave(name)).stage != wave.stage:
                continue
            if one.mem_bytes >= wave.mem_bytes and one.walltime_s >= wave.walltime_s and one.cpus >= wave.cpus:
                return False
            any_less = True
        return any_less

    def job(self, wave: Wave) -> JobSpec:
        """What is asked of Slurm for a wave; see ``job_of``."""
        longest_s = None
        if wave.launch is Launch.POOL:
            longest_s = self.cluster.most_for(self._site, wave.stage).walltime_s
        return job_of(self._run, wave, self._site, max_walltime_s=longest_s)

    def alive(self, chunks: Mapping[str, Chunk]) -> set[str]:
        """Attempts that may still write: pending, running, or not known to be over."""
        return self._watch.alive(chunks.keys())

    def waiting(self) -> set[str]:
        """Attempts that have no journal yet, or one that says nothing new."""
        return self._watch.waiting()

    def why_ended(self, attempt: str) -> End | None:
        """How Slurm says that an attempt ended."""
        return self._watch.why_ended(attempt)

    def wait(self, timeout_s: float) -> bool:
        """Nothing tells of a job's end but a look at the queue and the journals."""
        time.sleep(timeout_s)
        return False

    def cancel(self) -> None:
        """Cancel every job of the run and wait until Slurm lists none.

        Raises
        ------
        SchedulerError
            If they do not end, or Slurm cannot be asked.
        """
        own = own_job()  # a tick that ends a run is a job of the run
        deadline = time.monotonic() + CANCEL_TIMEOUT_S
        while True:
            try:
                rows = self._client.queue(names_start="s4c-")
                ours = [row for row in rows if is_ours(self._run, row.name) and row.job_id != own]
                if not ours:
                    self._watch.forget()
                    return
                self._client.cancel(sorted({row.array_id for row in ours}))
                trouble = f"{len(ours)} jobs outlive scancel, the first is {ours[0].job_id}"
            except SlurmUnreachable as error:
                trouble = str(error)
            if time.monotonic() > deadline:
                raise SchedulerError(
                    f"the jobs of the run could not be cancelled within {CANCEL_TIMEOUT_S:g} s: {trouble}",
                    where=str(self._run.root),
                    hint="see 'squeue -u $USER'; 's4c cancel' tries again",
                )
            time.sleep(min(1.0, self._site.poll_s))

    def _is_worth_holding(self, board: Board, chunks: Mapping[str, Chunk]) -> bool:
        now = time.time()
        enough_s = self.cluster.cores * self._site.chunk_s / 2
        in_flight_s = sum(float(board.seconds[board.rows_of(attempt)].sum()) for attempt in chunks)
        newest = max(self._wave(wave_of(attempt)).written for attempt in chunks)
        ready_s = float(board.seconds[board.ready(now)].sum())
        longest_s = HOLD_S if in_flight_s >= enough_s else LINGER_POLLS * self._site.poll_s
        # Written in the future: the clock was set back.
        return ready_s < enough_s and 0 <= now - newest < longest_s

    def _wave(self, name: str) -> Wave:
        return self._records.wave(name)


def _warn(event: str, run: RunFolder, **values: object) -> None:
    get_logger("driver").warning(event, run=run.id, **values)
