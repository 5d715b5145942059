"""``s4c validate``: what was detected against what is known."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption
from s4c_hpc.cli.output import print_json, print_table, say

app = typer.Typer(help="Judge what was detected by what is known.", no_args_is_help=True)


class DatedAt(StrEnum):
    """Which day of a window is that of the event."""

    MIDDLE = "middle"
    END = "end"


class ParcelColumn(StrEnum):
    """What a truth calls parcels by."""

    ORI_ID = "ori_id"
    NEW_ID = "NewID"


@app.callback()
def group() -> None:
    """Keep the name of the command although there may be one only."""


@app.command("mowing")
def mowing(
    truth: Annotated[Path, typer.Argument(help="CSV with the columns parcel,date; a row with no date: not mown.")],
    workspace: WorkspaceOption = HERE,
    tolerance: Annotated[float, typer.Option(min=0, help="Most days between a known and a found mowing.")] = 12.0,
    by: Annotated[ParcelColumn, typer.Option(help="What the column parcel holds.")] = ParcelColumn.ORI_ID,
    dated_at: Annotated[
        DatedAt, typer.Option("--date", help="Day of a found mowing: middle or end of its window.")
    ] = DatedAt.MIDDLE,
    period: Annotated[str | None, typer.Option(help="Season of the files, 2018-03-01_2018-10-31.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Precision, recall and F1 of mowings with intervals of 95 % over parcels, and the error of their dates."""
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.mowing.truth import read_truth, validated

    home = Workspace(workspace.resolve()).require()
    made = validated(home, read_truth(truth), by=by.value, tolerance=tolerance, dated_at=dated_at.value, period=period)
    if as_json:
        print_json(dataclasses.asdict(made))
        return
    of = made.scores
    rows = [
        {"score": name, "value": getattr(of, name), "low": made.intervals[name][0], "high": made.intervals[name][1]}
        for name in ("precision", "recall", "f1")
    ]
    rows += [
        {"score": name, "value": value, "low": None, "high": None}
        for name, value in (
            ("false events a parcel", of.false_per_season),
            ("false events a parcel not mown", of.false_per_season_without),
            ("median error, days", of.median_error_days),
            ("median shift, days", of.median_shift_days),
            ("known day in the window", made.inside_window),
        )
    ]
    print_table([{k: None if v != v else v for k, v in row.items()} for row in rows])  # noqa: PLR0124 - NaN
    say(
        f"{made.matched} of {made.known} known and {made.found} found mowings of {made.parcels} parcels are the same, "
        f"within {made.tolerance_days:g} days of the {made.dated_at} of the window"
    )
    for reason, n in made.left_out.items():
        say(f"  {n} parcels left out: {reason}")
    if made.dates_left_out:
        say(f"  {made.dates_left_out} known dates left out: not in the period")
