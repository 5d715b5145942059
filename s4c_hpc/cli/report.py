"""``s4c report``: the HTML report, the table of what was asked for and used, one parcel's time line."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.core.text import human_bytes, human_seconds

if TYPE_CHECKING:
    from s4c_hpc.report.efficiency import Efficiency, StageEfficiency, TriedAgain
    from s4c_hpc.report.parcel_file import PictureFormat
    from s4c_hpc.report.parcel_season import ParcelSeason

app = typer.Typer(help="Write the HTML report, or one parcel's time line.", invoke_without_command=True)

MAX_TASKS = 20
"""Tasks tried more than once that are listed."""


@app.callback()
def report(
    context: typer.Context,
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
    """Write one HTML file: map, a time line per parcel, coverage, failures, times and memory.

    's4c report parcel ID' draws all that is known of one parcel.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
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


def _refuse_options(context: typer.Context) -> None:
    """Options before the name of a command would go unheard."""
    name = context.invoked_subcommand
    for one in context.params:
        source = context.get_parameter_source(one)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"options of 's4c report {name}' stand behind its name", param_hint=one)


@app.command()
def parcel(
    parcels: Annotated[list[str], typer.Argument(metavar="ID...", help="NewIDs, or ids in the declaration.")],
    workspace: WorkspaceOption = HERE,
    own: Annotated[bool, typer.Option("--own", help="Take numbers for ids in the declaration.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File (.svg, .png, .html), or the folder of several; here when not given."),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="svg, png or html; by the ending of the file when not given.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a parcel's season: what was seen, decided and declared, and how sure it is; a file a parcel.

    Prints each decision with the values that it stands on. With --json prints all of it and writes a file only with -o.
    """
    from s4c_hpc.report.parcel_season import parcel_season

    ws, loaded = open_workspace(workspace, overrides)
    paths = _paths(parcels, output, form)
    seasons = [parcel_season(ws, loaded.config, text, own=own) for text in parcels]
    if output is not None or not as_json:
        from s4c_hpc.report.parcel_file import write_picture

        for season, (path, kind) in zip(seasons, paths, strict=True):
            write_picture(season, path, kind)
    if as_json:
        print_json([one.to_json() for one in seasons] if len(seasons) > 1 else seasons[0].to_json())
        return
    for season, (path, _) in zip(seasons, paths, strict=True):
        _explain(season)
        typer.echo(path)


def _paths(parcels: list[str], output: Path | None, form: str | None) -> list[tuple[Path, PictureFormat]]:
    """Where the picture of each parcel goes, and as what."""
    from s4c_hpc.core.errors import ConfigError
    from s4c_hpc.report.parcel_file import PictureFormat, picture_format

    if form is not None and form not in {one.value for one in PictureFormat}:
        raise typer.BadParameter(f"{form!r} is none of svg, png, html", param_hint="--format")
    chosen = None if form is None else PictureFormat(form)
    if output is not None and output.suffix and not output.is_dir():
        if len(parcels) > 1:
            raise ConfigError(
                f"{len(parcels)} parcels do not go into one file",
                where=str(output),
                hint="give a folder, or one parcel",
            )
        return [(output, chosen or picture_format(output))]
    kind = chosen or PictureFormat.SVG
    folder = output or Path()
    names = [re.sub(r"[^\w.-]+", "_", text) for text in parcels]
    return [(folder / f"parcel-{name}.{kind.value}", kind) for name in names]


def _explain(season: ParcelSeason) -> None:
    """Each decision in words, on standard error; the way of the data stays free."""
    from s4c_hpc.report.parcel_picture import subtitle

    say(f"{season.title} · {subtitle(season)}")
    for one in season.periods:
        say(f"  declared  {one.sentence()}")
    for decision in season.decisions:
        say(f"  {decision.verdict_words}")
        if decision.reason:
            say(f"      reason: {decision.reason}")
        if doubts := decision.doubts_beyond_reason:
            say(f"      doubts: {doubts}")
        for value in decision.seen:
            say(f"      {value.words()}")
        for limit in decision.thresholds if decision.verdict != "undecided" else ():
            say(f"      threshold {limit.limit()}: {limit.meaning}")
    for sentence in season.missing:
        say(f"  not shown: {sentence}")


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
