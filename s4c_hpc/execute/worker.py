"""What runs in a worker process: the tasks of one chunk, each from begin to done or failed.

Only the path of the run and the name of the attempt are handed over; everything else is read from disk.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from s4c_hpc.config import Config
from s4c_hpc.core.atomic import sha256_file
from s4c_hpc.core.errors import InputError, InternalError, ResourceExceeded, S4cError, TemporaryError, listing
from s4c_hpc.core.ids import short
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import TaskIO, stage
from s4c_hpc.core.task import Outcome, Task
from s4c_hpc.execute.chunk_log import ChunkLog, bound_to_task
from s4c_hpc.execute.journal import Begin, Done, Failed, Journal, Kind, Output
from s4c_hpc.execute.manifest import Chunk, read_chunk
from s4c_hpc.execute.memory import MemoryPeak, max_rss_bytes, release_unused
from s4c_hpc.execute.plan_rows import read_tasks
from s4c_hpc.plan import RunFolder

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def run_chunk(run_dir: Path, attempt: str) -> None:
    """Do every task of a chunk and journal each; a task that fails does not stop the next one.

    Parameters
    ----------
    run_dir : ``run/<uuid>`` of the workspace
    attempt : name of the chunk in its manifest; its journal must not exist yet

    Raises
    ------
    OSError
        If the journal itself cannot be written: the driver finds the chunk's remaining tasks not begun.
    """
    run = RunFolder(run_dir)
    chunk = read_chunk(run, attempt)
    tasks = read_tasks(run.plan, chunk.ids)
    upstream = read_tasks(run.plan, [key for task in tasks.values() for key in task.depends_on])
    config = Config.model_validate(json.loads(run.config.read_bytes()))
    log = ChunkLog(run.log(chunk.stage, attempt))
    with Journal(run.journals / f"{attempt}.jsonl") as journal:
        for key, number in zip(chunk.ids, chunk.numbers, strict=True):
            task = tasks[key]
            with bound_to_task(
                run=run.id, stage=task.stage, tile=task.tile, subject=task.subject, task=key, attempt=attempt
            ):
                if not run_task(run, chunk, task, number, upstream=upstream, config=config, journal=journal, log=log):
                    break


def run_task(
    run: RunFolder,
    chunk: Chunk,
    task: Task,
    number: int,
    *,
    upstream: Mapping[str, Task],
    config: Config,
    journal: Journal,
    log: ChunkLog,
) -> bool:
    """Do one task and journal it; ``False`` if the tasks after it would fail for the same reason (disk full)."""
    scratch = run.scratch / chunk.attempt / short(task.id)
    publisher = Publisher(run.workspace.root, scratch)
    began = Begin(id=task.id, attempt=chunk.attempt, number=number, pid=os.getpid(), host=platform.node(), t=_now())
    journal.write(began)
    log.info("task begins", number=number)
    failure: BaseException | None = None
    release_unused()
    wall, cpu = time.perf_counter(), time.process_time()
    with MemoryPeak() as memory:
        try:
            io = _task_io(run, chunk, task, upstream=upstream, config=config, publisher=publisher)
            outcome = stage(task.stage).run(task, io)
            outputs = _outputs(run, task, outcome)
        except Exception as error:  # noqa: BLE001 - one bad task is a row with a reason, never an aborted chunk
            failure = error
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(scratch)
    if failure is not None:
        kind, stops_run = classify_failure(failure)
        log.warning("task failed", error=failure, kind=kind.value, wall_s=round(wall_s, 3))
        what, where, hint = _three_parts(failure, log.path)
        event = Failed(
            id=task.id,
            attempt=chunk.attempt,
            number=number,
            kind=kind,
            what=what,
            where=where,
            hint=hint,
            stops_run=stops_run,
            cpu_s=cpu_s,
            wall_s=wall_s,
            peak_anon_bytes=memory.peak_bytes,
            base_anon_bytes=memory.base_bytes,
            t=_now(),
        )
        failure = None  # its traceback holds this frame and all that the stage had in memory
        journal.write(event)
        return not stops_run
    journal.write(
        Done(
            id=task.id,
            attempt=chunk.attempt,
            number=number,
            outputs=outputs,
            n_rows=outcome.n_rows,
            absent=tuple(sorted(_lacking(chunk, task) | set(outcome.absent))),
            rasters_opened=outcome.rasters_opened,
            twins=publisher.twins_discarded,
            cpu_s=cpu_s,
            wall_s=wall_s,
            peak_anon_bytes=memory.peak_bytes,
            base_anon_bytes=memory.base_bytes,
            max_rss_bytes=max_rss_bytes(),
            t=_now(),
            notes=outcome.notes,
        )
    )
    log.info("task done", n_rows=outcome.n_rows, wall_s=round(wall_s, 3), peak_anon_bytes=memory.peak_bytes)
    return True


def classify_failure(error: BaseException) -> tuple[Kind, bool]:
    """Kind of a failure by its class, and whether it stops the run (disk full, anywhere in the chain of causes)."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            return Kind.TEMPORARY, True
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, MemoryError | ResourceExceeded):
        return Kind.RESOURCE, False
    if isinstance(error, InputError):
        return Kind.INPUT, False
    if isinstance(error, TemporaryError):
        return Kind.TEMPORARY, False
    return Kind.INTERNAL, False


def _task_io(
    run: RunFolder, chunk: Chunk, task: Task, *, upstream: Mapping[str, Task], config: Config, publisher: Publisher
) -> TaskIO:
    lacking = _lacking(chunk, task)
    needed = [upstream[key] for key in task.depends_on]
    return TaskIO(
        workspace=run.workspace,
        run_dir=run.root,
        config=config,
        publisher=publisher,
        settled=frozenset(lacking),
        upstream_outputs={t.id: t.outputs for t in needed if t.id not in lacking},
        upstream_subjects={t.id: f"{t.stage} {t.tile} {t.subject}" for t in needed},
        upstream_reasons={key: chunk.settled[key] for key in task.depends_on if key in lacking},
    )


def _lacking(chunk: Chunk, task: Task) -> set[str]:
    return set(task.depends_on) & chunk.settled.keys()


def _outputs(run: RunFolder, task: Task, outcome: Outcome) -> tuple[Output, ...]:
    """What was published; a stage that forgets an output, or writes another one, must not count as done."""
    files = [run.workspace.root / path for path in task.outputs]
    if set(outcome.outputs) != set(task.outputs) or not all(file.is_file() for file in files):
        raise InternalError(
            f"wrote {listing(sorted(outcome.outputs))}, planned was {listing(sorted(task.outputs))}",
            where=f"stage {task.stage}, {task.tile} {task.subject}",
        )
    return tuple(
        Output(path=path, bytes=file.stat().st_size, sha256=sha256_file(file))
        for path, file in zip(task.outputs, files, strict=True)
    )


def _three_parts(error: BaseException, log: Path) -> tuple[str, str | None, str | None]:
    if isinstance(error, S4cError):
        return error.what, error.where, error.hint
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, None if error.filename is None else str(error.filename), f"see {log}"
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text, None, f"see {log}"


def _now() -> float:
    return round(time.time(), 6)
