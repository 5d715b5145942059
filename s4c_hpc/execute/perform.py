"""One task in this process: the stage is called and measured, and however it ends becomes values."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from s4c_hpc.core.atomic import sha256_file
from s4c_hpc.core.errors import (
    InputError,
    InternalError,
    ResourceExceeded,
    S4cError,
    TemporaryError,
    is_disk_full,
    listing,
)
from s4c_hpc.core.stage import TaskIO, stage
from s4c_hpc.core.task import Outcome, Task
from s4c_hpc.execute.chunk_log import ChunkLog
from s4c_hpc.execute.journal import Failed, Kind, Output
from s4c_hpc.execute.memory import (
    MemoryPeak,
    anonymous_and_shared_bytes,
    anonymous_bytes,
    max_rss_bytes,
    release_unused,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a task has no result."""

    kind: Kind
    what: str
    where: str | None = None
    hint: str | None = None
    stops_run: bool = False
    """Whether other tasks must fail in the same way (disk full)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a task took."""

    wall_s: float
    cpu_s: float
    peak_anon_bytes: int
    base_anon_bytes: int
    max_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """How a task ended."""

    use: Use
    end: Outcome | Trouble
    """What the stage returned, or why it did not."""
    outputs: tuple[Output, ...] = ()
    twins: int = 0
    """Outputs that another attempt had published before."""


Perform = Callable[[Task, TaskIO, ChunkLog], Performed]
"""A way of doing a task: by this process alone, or by several ranks together."""


def perform(task: Task, io: TaskIO, log: ChunkLog) -> Performed:
    """Do a task, or this rank's part of it. Outputs are looked at by the process that publishes them: rank 0."""
    end: Outcome | Trouble
    outputs: tuple[Output, ...] = ()
    release_unused()
    wall, cpu = time.perf_counter(), time.process_time()
    with MemoryPeak(anonymous_bytes if io.comm is None else anonymous_and_shared_bytes) as memory:
        try:
            end = stage(task.stage).run(task, io)
            if io.comm is None or io.comm.rank == 0:
                outputs = _outputs(task, io, end)
        except Exception as error:  # noqa: BLE001 - one bad task is a row with a reason, never an aborted chunk
            end = trouble_of(error, log)
            log.warning("task failed", error=error, kind=end.kind.value, wall_s=round(time.perf_counter() - wall, 3))
    return Performed(
        use=Use(
            wall_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
            peak_anon_bytes=memory.peak_bytes,
            base_anon_bytes=memory.base_bytes,
            max_rss_bytes=max_rss_bytes(),
        ),
        end=end,
        outputs=outputs,
        twins=io.publisher.twins_discarded,
    )


def failed(done: Performed, trouble: Trouble, *, task: str, attempt: str, number: int) -> Failed:
    """The event that tells of a task in trouble.

    Parameters
    ----------
    number : which try of the task it was
    """
    return Failed(
        id=task,
        attempt=attempt,
        number=number,
        kind=trouble.kind,
        what=trouble.what,
        where=trouble.where,
        hint=trouble.hint,
        stops_run=trouble.stops_run,
        cpu_s=done.use.cpu_s,
        wall_s=done.use.wall_s,
        peak_anon_bytes=done.use.peak_anon_bytes,
        base_anon_bytes=done.use.base_anon_bytes,
        t=round(time.time(), 6),
    )


def trouble_of(error: BaseException, log: ChunkLog) -> Trouble:
    """An error as values, which can be sent to another process and do not hold on to what the stage had in memory."""
    kind, stops_run = classify_failure(error)
    what, where, hint = _three_parts(error, log)
    return Trouble(kind=kind, what=what, where=where, hint=hint, stops_run=stops_run)


def classify_failure(error: BaseException) -> tuple[Kind, bool]:
    """Kind of a failure by its class, and whether it stops the run (disk full, anywhere in the chain of causes)."""
    cause: BaseException | None = error
    while cause is not None:
        if is_disk_full(cause):
            return Kind.TEMPORARY, True
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, MemoryError | ResourceExceeded):
        return Kind.RESOURCE, False
    if isinstance(error, InputError):
        return Kind.INPUT, False
    if isinstance(error, TemporaryError):
        return Kind.TEMPORARY, False
    return Kind.INTERNAL, False


def _outputs(task: Task, io: TaskIO, outcome: Outcome) -> tuple[Output, ...]:
    """What was published; a stage that forgets an output, or writes another one, must not count as done."""
    files = [io.workspace.root / path for path in task.outputs]
    if set(outcome.outputs) != set(task.outputs) or not all(file.is_file() for file in files):
        raise InternalError(
            f"wrote {listing(sorted(outcome.outputs))}, planned was {listing(sorted(task.outputs))}",
            where=f"stage {task.stage}, {task.tile} {task.subject}",
        )
    return tuple(
        Output(path=path, bytes=file.stat().st_size, sha256=sha256_file(file))
        for path, file in zip(task.outputs, files, strict=True)
    )


def _three_parts(error: BaseException, log: ChunkLog) -> tuple[str, str | None, str | None]:
    if isinstance(error, S4cError):
        return error.what, error.where, error.hint
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, None if error.filename is None else str(error.filename), f"see {log.path}"
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text, None, f"see {log.path}"
