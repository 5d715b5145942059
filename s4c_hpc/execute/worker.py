"""What runs in a worker process: the tasks of one chunk, each from begin to done or failed.

Only the path of the run and the name of the attempt are handed over; everything else is read from disk.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from s4c_hpc.config import Config
from s4c_hpc.core.ids import short
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import TaskIO
from s4c_hpc.core.task import Task
from s4c_hpc.execute.chunk_log import ChunkLog, bound_to_task
from s4c_hpc.execute.journal import Begin, Closed, Done, Journal, Opened
from s4c_hpc.execute.manifest import Chunk, read_chunk
from s4c_hpc.execute.perform import Perform, Trouble, failed, perform
from s4c_hpc.execute.plan_rows import read_tasks
from s4c_hpc.plan import RunFolder


def run_chunk(
    run_dir: Path, attempt: str, *, job: str | None = None, deadline: float | None = None, do: Perform = perform
) -> None:
    """Do every task of a chunk and journal each; a task that fails does not stop the next one.

    Parameters
    ----------
    run_dir : ``run/<uuid>`` of the workspace
    attempt : name of the chunk in its manifest; its journal must not exist yet
    job : the scheduler's number of this process
    deadline : by ``time.monotonic()``, when the scheduler kills this process: no task begins but the first for which
        less time is left than it asks for
    do : how a task is done: by this process unless told otherwise

    Raises
    ------
    OSError
        If the journal itself cannot be written: the driver finds the chunk's remaining tasks not begun.
    """
    run = RunFolder(run_dir)
    chunk = read_chunk(run, attempt)
    tasks = read_tasks(run.plan, chunk.ids)
    upstream = read_tasks(run.plan, [key for task in tasks.values() for key in task.depends_on])
    config = run.frozen_config()
    log = ChunkLog(run.log(chunk.stage, attempt))
    with Journal(run.journals / f"{attempt}.jsonl") as journal:
        journal.write(Opened(attempt=attempt, host=platform.node(), pid=os.getpid(), job=job, t=_now()))
        for key, number, asked_s in zip(chunk.ids, chunk.numbers, chunk.seconds, strict=True):
            if deadline is not None and key != chunk.ids[0] and time.monotonic() + asked_s > deadline:
                log.info("the rest is left for another attempt: no time", task=key)
                break
            task = tasks[key]
            with bound_to_task(
                run=run.id, stage=task.stage, tile=task.tile, subject=task.subject, task=key, attempt=attempt
            ):
                io = _task_io(run, chunk, task, upstream=upstream, config=config)
                if not run_task(chunk, task, number, io=io, journal=journal, log=log, do=do):
                    break
        journal.write(Closed(attempt=attempt, t=_now()))


def run_task(
    chunk: Chunk, task: Task, number: int, *, io: TaskIO, journal: Journal, log: ChunkLog, do: Perform
) -> bool:
    """Do one task and journal it; ``False`` if the tasks after it would fail for the same reason (disk full)."""
    began = Begin(id=task.id, attempt=chunk.attempt, number=number, pid=os.getpid(), host=platform.node(), t=_now())
    journal.write(began)
    log.info("task begins", number=number)
    done = do(task, io, log)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(io.publisher.scratch)
    if isinstance(done.end, Trouble):
        journal.write(failed(done, done.end, task=task.id, attempt=chunk.attempt, number=number))
        return not done.end.stops_run
    use, outcome = done.use, done.end
    journal.write(
        Done(
            id=task.id,
            attempt=chunk.attempt,
            number=number,
            outputs=done.outputs,
            n_rows=outcome.n_rows,
            absent=tuple(sorted(io.settled | set(outcome.absent))),
            rasters_opened=outcome.rasters_opened,
            twins=done.twins,
            cpu_s=use.cpu_s,
            wall_s=use.wall_s,
            peak_anon_bytes=use.peak_anon_bytes,
            base_anon_bytes=use.base_anon_bytes,
            max_rss_bytes=use.max_rss_bytes,
            t=_now(),
            notes=outcome.notes,
        )
    )
    log.info("task done", n_rows=outcome.n_rows, wall_s=round(use.wall_s, 3), peak_anon_bytes=use.peak_anon_bytes)
    return True


def _task_io(run: RunFolder, chunk: Chunk, task: Task, *, upstream: Mapping[str, Task], config: Config) -> TaskIO:
    lacking = set(task.depends_on) & chunk.settled.keys()
    needed = [upstream[key] for key in task.depends_on]
    return TaskIO(
        workspace=run.workspace,
        run_dir=run.root,
        config=config,
        publisher=Publisher(run.workspace.root, run.scratch / chunk.attempt / short(task.id)),
        settled=frozenset(lacking),
        upstream_outputs={t.id: t.outputs for t in needed if t.id not in lacking},
        upstream_subjects={t.id: f"{t.stage} {t.tile} {t.subject}" for t in needed},
        upstream_reasons={key: chunk.settled[key] for key in task.depends_on if key in lacking},
    )


def _now() -> float:
    return round(time.time(), 6)
