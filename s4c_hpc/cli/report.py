"""``s4c report``: the HTML report, or the table of what was asked for and used."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.core.text import human_bytes, human_seconds

if TYPE_CHECKING:
    from s4c_hpc.report.efficiency import Efficiency, StageEfficiency, TriedAgain

MAX_TASKS = 20
"""Tasks tried more than once that are listed."""


def report(
    workspace: WorkspaceOption = HERE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; report.html when not given.")
    ] = None,
    efficiency: Annotated[
        bool, typer.Option("--efficiency", help="Print what tasks asked for, were predicted and used; write no file.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML file: map, a time line per parcel, coverage, failures, times and memory."""
    if as_json and not efficiency:
        raise typer.BadParameter("is for --efficiency", param_hint="--json")
    ws, loaded = open_workspace(workspace, overrides)
    if not efficiency:
        from s4c_hpc.report import write_report

        typer.echo(write_report(ws, loaded.config, output or ws.root / "report.html"))
        return
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.execute import update_state
    from s4c_hpc.report.efficiency import efficiency as efficiency_of

    update_state(ws)
    found = efficiency_of(ws)
    if not found.stages:
        raise NoInputsError("nothing has been run here yet", where=str(ws.root), hint="'s4c plan', then 's4c run'")
    if as_json:
        print_json(found.to_json())
    else:
        _print_efficiency(found)


def _print_efficiency(found: Efficiency) -> None:
    print_table(_row(stage) for stage in found.stages)
    for task in found.tried_again[:MAX_TASKS]:
        _say_attempts(task)
    if len(found.tried_again) > MAX_TASKS:
        say(f"... and {len(found.tried_again) - MAX_TASKS} more; 's4c report --efficiency --json' lists all")


def _row(stage: StageEfficiency) -> dict[str, str | int]:
    return {
        "stage": stage.stage,
        "tasks": stage.tasks,
        "time asked": _seconds(stage.asked_s),
        "predicted": _seconds(stage.predicted_s),
        "taken": _seconds(stage.wall_s),
        "p90 taken": _seconds(stage.wall_p90_s),
        "memory asked": _bytes(stage.asked_bytes),
        "memory predicted": _bytes(stage.predicted_bytes),
        "p90 held": _bytes(stage.peak_p90_bytes),
        "most held": _bytes(stage.peak_max_bytes),
        "cores used": "" if math.isnan(stage.cpu_share) else f"{stage.cpu_share:.0%}",
        "failed attempts": ", ".join(f"{n} {kind}" for kind, n in stage.retries.items()),
        "twins": stage.twins,
    }


def _say_attempts(task: TriedAgain) -> None:
    say(f"{task.name}, tried {len(task.attempts)} times:")
    for attempt in task.attempts:
        reason = f": {attempt.reason}" if attempt.reason else ""
        say(f"  {attempt.attempt} {attempt.kind} after {human_seconds(attempt.wall_s)}{reason}")


def _seconds(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2g} s" if value < 10 else human_seconds(value)


def _bytes(value: float) -> str:
    return "" if math.isnan(value) else human_bytes(value)
