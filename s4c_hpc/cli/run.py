"""``s4c plan``, ``run``, ``status``, ``cancel``, ``logs``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.core.text import human_bytes, human_seconds

if TYPE_CHECKING:
    from s4c_hpc.config import Config
    from s4c_hpc.core.errors import ExitCode
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.execute import Problem, RunStatus
    from s4c_hpc.plan import Plan

StagesOption = Annotated[
    list[str] | None, typer.Option("--stage", help="Only this stage and what it needs; may be repeated.")
]
RetryOption = Annotated[bool, typer.Option("--retry-quarantined", help="Try again what was given up.")]


def plan(
    workspace: WorkspaceOption = HERE,
    stages: StagesOption = None,
    retry_quarantined: RetryOption = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would run and why: tasks, time, memory, bytes, files, images to open. Runs nothing."""
    from s4c_hpc.execute import current_plan, worker_count

    ws, loaded = open_workspace(workspace, overrides)
    planned = current_plan(ws, loaded.config, stages=stages, retry_quarantined=retry_quarantined)
    workers = worker_count(loaded.config)
    if as_json:
        print_json(planned.to_json(workers))
    else:
        _print_plan(planned, workers)
    planned.check_space()


def run(
    workspace: WorkspaceOption = HERE,
    stages: StagesOption = None,
    retry_quarantined: RetryOption = False,
    overrides: SetOption = None,
) -> None:
    """Bring everything up to date. Stop it at any time and run it again: it goes on where it was."""
    ws, loaded = open_workspace(workspace, overrides)
    raise typer.Exit(int(run_and_tell(ws, loaded.config, stages, retry_quarantined=retry_quarantined)))


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
        _say_problems(result.status.problems)
    if result.retired:
        say(f"removed {len(result.retired)} files that this configuration no longer makes")
    if result.exit_code is not ExitCode.OK:
        say("the rest is done; 's4c status' and 's4c report' show what is missing and why")
        say(
            "a product that was replaced is noticed by 's4c catalog scan'; "
            "other input that was mended needs 's4c run --retry-quarantined'"
        )
    return result.exit_code


def status(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Show how far the last run is, what waits and for what, what failed and why."""
    from s4c_hpc import execute
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace

    ws = Workspace(workspace.resolve()).require()
    found = execute.status(ws)
    if found is None:
        raise NoInputsError("nothing has been run here yet", where=str(ws.root), hint="'s4c plan', then 's4c run'")
    print_json(found.to_json()) if as_json else _print_status(found)


def cancel(workspace: WorkspaceOption = HERE) -> None:
    """Stop the run of this workspace; what is done stays done."""
    from s4c_hpc import execute
    from s4c_hpc.core.workspace import Workspace

    owner = execute.cancel(Workspace(workspace.resolve()).require())
    say("nothing is running here" if owner is None else f"stopped {owner}; 's4c run' goes on from here")


def logs(
    task: Annotated[str, typer.Argument(help="Task id, or its beginning.")], workspace: WorkspaceOption = HERE
) -> None:
    """Print what the attempts at a task have logged."""
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.execute import task_logs, task_reason

    ws = Workspace(workspace.resolve()).require()
    found = task_logs(ws, task)
    if not found:
        reason = task_reason(ws, task)
        if reason is None:
            raise NoInputsError(
                f"no attempt at a task {task!r} is known",
                where=str(ws.runs),
                hint="'s4c status --json' lists the ids of tasks that run or failed",
            )
        say("its attempts had nothing to log")
        typer.echo(reason)
    for path in found:
        say(str(path))
        typer.echo(path.read_text(encoding="utf-8", errors="replace"), nl=False)


def _print_plan(planned: Plan, workers: int) -> None:
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
    if planned.is_up_to_date:
        say("everything is up to date")
        return
    span = planned.makespan(workers)
    say(
        f"predicted time on {workers} workers: {human_seconds(span.seconds)} "
        f"({human_seconds(span.low_s)} to {human_seconds(span.high_s)}); "
        f"{human_bytes(planned.free_bytes())} of disk are free"
    )
    if planned.rough:
        say("the time is rough: not every stage has been measured here yet")


def _print_status(found: RunStatus) -> None:
    columns = ("stage", "tile", "done", "running", "waiting", "failed", "quarantined", "blocked")
    print_table(({name: getattr(line, name) for name in columns} for line in found.lines), columns)
    left = found.progress.waiting + found.progress.submitted + found.progress.running
    words = {
        "running": f"driven by {found.owner}",
        "complete": "complete",
        "interrupted": f"interrupted with {left} tasks left; 's4c run' goes on",
    }
    say(f"run {found.run}: {words[found.state]}")
    for reason, n in found.waiting.items():
        say(f"{n} wait {reason}")
    for name in found.running[:10]:
        say(f"running: {name}")
    if found.progress.seconds_left and not found.progress.is_settled:
        say(f"about {human_seconds(found.progress.seconds_left)} left")
    _say_problems(found.problems)


def _say_problems(problems: tuple[Problem, ...], limit: int = 10) -> None:
    for problem in problems[:limit]:
        say(f"{problem.state}: {problem.name}: {problem.reason}")
    if len(problems) > limit:
        say(f"... and {len(problems) - limit} more; 's4c status --json' lists all")
