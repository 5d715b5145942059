"""``s4c status``, ``cancel``, ``logs``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption
from s4c_hpc.cli.output import print_json, say
from s4c_hpc.cli.status_text import log_line, status_lines, status_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from s4c_hpc.core.errors import ExitCode
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.execute import NamedTask, RunStatus

LOG_INTERVAL_S = 60.0
"""Pause between two lines where there is no terminal."""


def status(
    workspace: WorkspaceOption = HERE,
    everything: Annotated[bool, typer.Option("--all", help="Show every tile, however many there are.")] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Show it again and again until the run is over; exit code 0, 5 if rows have no result, 75 if it "
            "stopped before its end.",
        ),
    ] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.2, help="With --watch: seconds between looks.")] = 5.0,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", metavar="FILE", help="Write a Prometheus textfile instead of showing anything."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far the last run is, who drives it, what waits and for what, what failed and why."""
    from s4c_hpc.core.workspace import Workspace

    if as_json and watch:
        raise typer.BadParameter("does not go with --watch", param_hint="--json")
    ws = Workspace(workspace.resolve()).require()
    if metrics is not None:
        from s4c_hpc.execute.metrics import write_status_metrics

        write_status_metrics(ws, _status(ws), metrics)
    elif watch:
        raise typer.Exit(int(_watch(ws, interval, everything=everything)))
    elif as_json:
        print_json(_status(ws).to_json())
    else:
        found = _status(ws)
        for line in status_table(found, everything=everything):
            typer.echo(line)
        for line in status_lines(found):
            say(line)


def _status(workspace: Workspace) -> RunStatus:
    from s4c_hpc import execute
    from s4c_hpc.core.errors import NoInputsError

    found = execute.status(workspace)
    if found is None:
        raise NoInputsError(
            "nothing has been run here yet", where=str(workspace.root), hint="'s4c plan', then 's4c run'"
        )
    return found


def _watch(workspace: Workspace, interval_s: float, *, everything: bool) -> ExitCode:
    from s4c_hpc.core.errors import ExitCode

    try:
        if not sys.stdout.isatty():
            return _follow(workspace, max(interval_s, LOG_INTERVAL_S), lambda found: typer.echo(log_line(found)))
        from rich.live import Live
        from rich.text import Text

        with Live(auto_refresh=False) as live:

            def show(found: RunStatus) -> None:
                lines = [*status_table(found, everything=everything), *status_lines(found)]
                live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)

            return _follow(workspace, interval_s, show)
    except KeyboardInterrupt:
        return ExitCode.OK  # the run goes on: it was only watched


def _follow(workspace: Workspace, interval_s: float, show: Callable[[RunStatus], None]) -> ExitCode:
    """Show the status again and again until nothing more will happen by itself."""
    from s4c_hpc.core.errors import ExitCode

    shown = float("-inf")
    while True:
        found = _status(workspace)
        is_over = found.state not in {"running", "stalled"}
        if is_over or time.monotonic() - shown >= interval_s:
            show(found)
            shown = time.monotonic()
        if found.state == "complete":
            return ExitCode.PARTIAL if found.problems else ExitCode.OK
        if is_over:
            return ExitCode.TEMPORARY
        time.sleep(min(interval_s, 5.0))


def cancel(
    workspace: WorkspaceOption = HERE,
    forget: Annotated[
        bool, typer.Option("--forget", help="Give up jobs of a cluster that is gone for good, without asking it.")
    ] = False,
) -> None:
    """Stop the run of this workspace; what is done stays done."""
    from s4c_hpc import execute
    from s4c_hpc.core.workspace import Workspace

    found = execute.cancel(Workspace(workspace.resolve()).require(), forget=forget)
    if found.is_nothing:
        say("nothing is running here")
        return
    if found.owner is not None:
        say(f"stopped {found.owner}")
    if found.attempts:
        say(f"{found.attempts} array elements were {'given up' if forget else 'taken out of the queue'}")
    say("'s4c run' goes on from here")


def logs(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK...|tick",
            help="Task as 's4c status' names it (gather 32UPU S2B_...) or a part of that, or the beginning of its "
            "id; 'tick' for --detach.",
        ),
    ],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Print how each attempt at a task went and what it has logged; or what the ticks of a detached run say."""
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.execute import task_attempts, task_state, tasks_called, tick_log

    ws = Workspace(workspace.resolve()).require()
    task = " ".join(words)
    if task == "tick":
        path = tick_log(ws)
        if path is None:
            raise NoInputsError(
                "no tick of the last run has left a log", where=str(ws.runs), hint="ticks come with 's4c run --detach'"
            )
        _print_log(path)
        return
    found = tasks_called(ws, task)
    if not found:
        raise NoInputsError(
            f"no task {task!r} is known",
            where=str(ws.runs),
            hint="'s4c status' names tasks that run or failed; their ids are in 's4c status --json'",
        )
    if len(found) > 1:
        _say_which(task, found)
        raise typer.Exit(2)
    typer.echo(f"{found[0].name} ({found[0].id})")
    attempts = task_attempts(ws, found[0].id)
    if not attempts:
        typer.echo(f"no attempt was made; {task_state(ws, found[0].id)}")
    for attempt in attempts:
        typer.echo(str(attempt))
        if attempt.log is not None:
            _print_log(attempt.log)


def _print_log(path: Path) -> None:
    say(str(path))
    typer.echo(path.read_text(encoding="utf-8", errors="replace"), nl=False)


def _say_which(called: str, found: list[NamedTask]) -> None:
    from s4c_hpc.execute.logs import MAX_NAMED

    say(f"several tasks are called {called!r}; give more of the name, or the id:")
    for task in found[:MAX_NAMED]:
        typer.echo(f"{task.id}  {task.name}")
    if len(found) > MAX_NAMED:
        say("... and more")
