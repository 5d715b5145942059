"""What attempts at a task left to read: how each went, and its log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from s4c_hpc.core.task import Launch
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.journal import Begin, Closed, Done, Event, Failed, Opened, read_events
from s4c_hpc.execute.manifest import Chunk, Wave, read_wave, wave_names
from s4c_hpc.execute.status import status
from s4c_hpc.plan import RunFolder, latest_run, run_folders

MAX_NAMED = 20
"""Tasks that may be called alike and that are read of a plan to be listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTask:
    """A task for people."""

    id: str
    name: str
    """``stage tile subject``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAttempt:
    """One attempt at a task."""

    run: str
    attempt: str
    number: int
    """Which try of the task in its run it was to be, from 1."""
    host: str
    """Empty before it began."""
    job: str | None
    """The scheduler's number of it."""
    end: str
    """How it ended, in a sentence."""
    log: Path | None
    """``None`` if there was nothing to log. It may tell of other tasks of the same chunk."""

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        job = f", job {self.job}" if self.job else ""
        return f"run {self.run}, attempt {self.attempt}, try {self.number}{where}{job}: {self.end}"


def tasks_called(workspace: Workspace, called: str) -> list[NamedTask]:
    """Tasks of any plan that are called so, by name; at most ``MAX_NAMED`` and one more.

    Parameters
    ----------
    called : an id, its beginning, or a part of a name; a whole id or name stands for the newest task of it alone
    """
    found: dict[str, NamedTask] = {}
    for run in reversed(run_folders(workspace)):
        for row in _rows(run, called):
            task = NamedTask(id=row["id"], name=row["name"])
            if called in (task.id, task.name):
                return [task]
            found.setdefault(task.id, task)
        if len(found) > MAX_NAMED:
            break
    return sorted(found.values(), key=lambda task: (task.name, task.id))[: MAX_NAMED + 1]


def task_attempts(workspace: Workspace, task: str) -> list[TaskAttempt]:
    """All attempts at a task, oldest first.

    Parameters
    ----------
    task : its whole id
    """
    return [
        _attempt(run, wave, chunk, task)
        for run in run_folders(workspace)
        for wave in _waves(run, task)
        for chunk in wave.chunks
        if task in chunk.ids
    ]


def task_state(workspace: Workspace, task: str) -> str:
    """Where a task stands of which no attempt tells, and why."""
    found = status(workspace)
    for problem in found.problems if found else ():
        if problem.id == task:
            return f"{problem.state}: {problem.reason}"
    run = latest_run(workspace)
    for row in _plan_status(run, task) if run else ():
        return {"todo": "it waits", "done": "it was done before the last run"}.get(row["state"], row["state"])
    return "it is not in the newest plan"


def tick_log(workspace: Workspace) -> Path | None:
    """Log of the ticks of the newest run, or ``None`` if none has said anything."""
    run = latest_run(workspace)
    path = run.log("tick", "tick") if run else None
    return path if path and path.is_file() else None


def _rows(run: RunFolder, called: str) -> list[dict[str, str]]:
    """The task of that id or name, or else the first that it is a part of."""
    exact: list[dict[str, str]] = []
    rows: list[dict[str, str]] = []
    try:
        file = pq.ParquetFile(run.plan)
        for batch in file.iter_batches(columns=["id", "stage", "tile", "subject"]):
            parts = (pc.cast(batch[part], pa.string()) for part in ("stage", "tile", "subject"))
            names = pc.binary_join_element_wise(*parts, " ")
            fits = pc.or_(pc.starts_with(batch["id"], called), pc.match_substring(names, called))
            named = pa.table({"id": batch["id"], "name": names})
            # A whole name may stand behind any number of longer ones that it is a part of.
            exact += named.filter(pc.equal(names, called)).to_pylist()
            rows += named.filter(fits).slice(0, MAX_NAMED + 1 - len(rows)).to_pylist()
    except (FileNotFoundError, pa.ArrowInvalid):
        return []
    return exact or rows


def _plan_status(run: RunFolder, task: str) -> list[dict[str, str]]:
    table = pq.ParquetFile(run.status).read(["id", "state"])
    rows: list[dict[str, str]] = table.filter(pc.equal(table["id"], task)).to_pylist()
    return rows


def _waves(run: RunFolder, task: str) -> Iterable[Wave]:
    for name in wave_names(run):
        # Most waves do not speak of it: to search their text is quicker than to read it.
        if task.encode() in (run.manifests / f"{name}.json").read_bytes():
            yield read_wave(run, name)


def _attempt(run: RunFolder, wave: Wave, chunk: Chunk, task: str) -> TaskAttempt:
    events = [event for event in _events(run, chunk.attempt) if _is_about(event, chunk.attempt, task)]
    opened = next((event for event in events if isinstance(event, Opened)), None)
    begun = next((event for event in events if isinstance(event, Begin)), None)
    pool = run.log(wave.stage, wave.name) if wave.launch is Launch.POOL else None
    logs = [path for path in (run.log(chunk.stage, chunk.attempt), pool) if path is not None and path.is_file()]
    return TaskAttempt(
        run=run.id,
        attempt=chunk.attempt,
        number=chunk.numbers[chunk.ids.index(task)],
        host=begun.host if begun else opened.host if opened else "",
        job=opened.job if opened else None,
        end=_end(events, has_begun=begun is not None),
        log=next((path for path in logs if path.stat().st_size), None),
    )


def _end(events: list[Event], *, has_begun: bool) -> str:
    for event in events:
        if isinstance(event, Done):
            return f"done in {event.wall_s:.1f} s"
    for event in events:
        if isinstance(event, Failed):
            return f"failed ({event.kind.value}): {event.reason}"
    if has_begun:
        return "running, or ended without a word"
    for event in events:
        if isinstance(event, Closed):
            return f"ended before it came to this task ({event.what})" if event.what else "ended before this task"
    return "not begun"


def _events(run: RunFolder, attempt: str) -> list[Event]:
    """Events of the attempt's own journal, and of drivers."""
    events: list[Event] = []
    for path in (run.journals / f"{attempt}.jsonl", *sorted(run.journals.glob("driver-*.jsonl"))):
        try:
            events += read_events(path)[0]
        except FileNotFoundError:
            continue
    return events


def _is_about(event: Event, attempt: str, task: str) -> bool:
    return event.attempt == attempt and (isinstance(event, Opened | Closed) or event.id == task)
