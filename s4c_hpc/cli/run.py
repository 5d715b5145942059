"""``s4c plan`` and ``s4c run``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.cli.readiness import imported_inputs, readiness_json, say_readiness, say_weak, season_readiness
from s4c_hpc.cli.status_text import problem_lines
from s4c_hpc.core.text import human_bytes, human_seconds

MAX_NOTES = 10
"""Notes of tasks that are printed after a run."""

if TYPE_CHECKING:
    from s4c_hpc.config import Config
    from s4c_hpc.core.errors import ExitCode
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.execute import Note
    from s4c_hpc.plan import Machine, Plan

StagesOption = Annotated[
    list[str] | None, typer.Option("--stage", help="Only this stage and what it needs; may be repeated.")
]
ExecutorOption = Annotated[
    str | None, typer.Option("--executor", metavar="local|slurm", help="Instead of execute.executor.")
]
RetryOption = Annotated[bool, typer.Option("--retry-quarantined", help="Try again what was given up.")]


def plan(
    workspace: WorkspaceOption = HERE,
    stages: StagesOption = None,
    retry_quarantined: RetryOption = False,
    executor: ExecutorOption = None,
    size: Annotated[
        bool, typer.Option("--size", help="Show how many jobs of each kind fit at once on the cluster or this machine.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="With --size: write the site profile that follows.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would run and why: tasks, time, memory, bytes, files, images to open. Runs nothing."""
    from s4c_hpc.cli.sizing import print_sizing
    from s4c_hpc.execute import current_plan, machine_of
    from s4c_hpc.extract.planning import is_without_imagery

    ws, loaded = open_workspace(workspace, with_executor(overrides, executor))
    if size:
        print_sizing(ws, loaded.config, write, as_json)
        return
    if write is not None:
        raise typer.BadParameter("is for --size", param_hint="--write")
    planned = current_plan(ws, loaded.config, stages=stages, retry_quarantined=retry_quarantined)
    machine, machine_text = machine_of(loaded.config, [line.stage for line in planned.summary])
    ready = None if is_without_imagery(ws, loaded.config) else season_readiness(ws, loaded.config)
    if as_json:
        print_json(planned.to_json(machine) | {"readiness": readiness_json(ready)})
    else:
        _print_plan(planned, machine, machine_text)
        say_readiness(ready)
        if ready is None:
            say_weak(imported_inputs(ws, loaded.config))
    planned.check_space()


def run(
    workspace: WorkspaceOption = HERE,
    stages: StagesOption = None,
    retry_quarantined: RetryOption = False,
    executor: ExecutorOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once: the run drives itself on the cluster, also after logout.")
    ] = False,
    overrides: SetOption = None,
) -> None:
    """Bring everything up to date. Stop it at any time and run it again: it goes on where it was."""
    ws, loaded = open_workspace(workspace, with_executor(overrides, executor))
    begin = run_detached_and_tell if detach else run_and_tell
    raise typer.Exit(int(begin(ws, loaded.config, stages, retry_quarantined=retry_quarantined)))


def with_executor(overrides: list[str] | None, executor: str | None) -> list[str]:
    """``--executor X`` is short for ``--set execute.executor=X``."""
    return [*(overrides or []), *([] if executor is None else [f"execute.executor={executor}"])]


def run_detached_and_tell(
    workspace: Workspace, config: Config, stages: list[str] | None = None, *, retry_quarantined: bool = False
) -> ExitCode:
    """Plan, and leave the run to the cluster."""
    from s4c_hpc import execute
    from s4c_hpc.core.errors import ExitCode

    begun = execute.run_detached(workspace, config, stages=stages, retry_quarantined=retry_quarantined)
    if begun.run is None:
        say("everything is up to date")
        if begun.retired:
            say(f"removed {len(begun.retired)} files that this configuration no longer makes or reads")
    else:
        say(f"run {begun.run} drives itself from job {begun.job} on; you may log out")
        say("'s4c status' shows how far it is, 's4c cancel' stops it")
    return ExitCode.OK


def run_and_tell(
    workspace: Workspace, config: Config, stages: list[str] | None = None, *, retry_quarantined: bool = False
) -> ExitCode:
    """Run on this machine with progress; ``PARTIAL`` if some rows have no result."""
    from s4c_hpc import execute
    from s4c_hpc.cli.progress import progress_shown
    from s4c_hpc.core.errors import ExitCode

    started = time.monotonic()
    with progress_shown() as on_progress:
        result = execute.run(
            workspace, config, on_progress=on_progress, stages=stages, retry_quarantined=retry_quarantined
        )
    if result.status is None:
        say("everything is up to date")
    else:
        say(f"{result.status.progress.done} tasks done in {human_seconds(time.monotonic() - started)}")
        for line in problem_lines(result.status.problems):
            say(line)
        _say_notes(execute.notes_of(workspace, result.plan, result.status.run))
    if result.retired:
        say(f"removed {len(result.retired)} files that this configuration no longer makes")
    if result.spent:
        say(f"removed {len(result.spent)} files that nothing reads any more ([retention])")
    if result.exit_code is not ExitCode.OK:
        say("the rest is done; 's4c status' and 's4c report' show what is missing and why")
        say(
            "a product that was replaced is noticed by 's4c catalog scan'; "
            "other input that was mended needs 's4c run --retry-quarantined'"
        )
    return result.exit_code


def _say_notes(notes: Sequence[Note]) -> None:
    """What tasks have noted, a few lines of it."""
    for note in notes[:MAX_NOTES]:
        say(f"{note.stage}: {note.text}" + (f" (and so on, {note.tiles} tasks)" if note.tiles > 1 else ""))
    if len(notes) > MAX_NOTES:
        say(f"... and {len(notes) - MAX_NOTES} more notes")


def _print_plan(planned: Plan, machine: Machine, machine_text: str) -> None:
    rows = [
        {
            "stage": line.stage,
            "to do": line.todo,
            "done": line.done,
            "bad": line.quarantined + line.blocked,
            "cpu": human_seconds(line.cpu_hours * 3600),
            "memory": human_bytes(line.max_mem_bytes),
            "writes": human_bytes(line.bytes_out),
            "files": line.files_out,
            "images": line.opens_imagery,
        }
        for line in (*planned.summary, planned.total)
    ]
    print_table(rows)
    for stage, reasons in planned.reasons().items():
        say(f"{stage}: {', '.join(f'{n} {reason}' for reason, n in reasons.items())}")
    if planned.obsolete:
        say(f"{len(planned.obsolete)} files that this configuration no longer makes will be removed")
    if planned.spent:
        say(f"{len(planned.spent)} files that nothing reads any more will be removed ([retention])")
    if planned.is_up_to_date:
        say("everything is up to date")
        return
    span = planned.makespan(machine)
    say(
        f"predicted time on {machine_text}: {human_seconds(span.seconds)} "
        f"({human_seconds(span.low_s)} to {human_seconds(span.high_s)})"
    )
    say(planned.space_text())
    if planned.rough:
        say("the time is rough: not every stage has been measured here yet")
