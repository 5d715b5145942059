"""``s4c validate``: what was found against what is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption
from s4c_hpc.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from s4c_hpc.validation.crop_types import CropValidation
    from s4c_hpc.validation.events import Validation

app = typer.Typer(help="Judge what was found by what is known.", no_args_is_help=True)

SEED = 0
"""Of the draws of intervals."""


class DatedAt(StrEnum):
    """Which day of a window is that of the event."""

    MIDDLE = "middle"
    END = "end"


class ParcelColumn(StrEnum):
    """What a truth calls parcels by."""

    ORI_ID = "ori_id"
    NEW_ID = "NewID"


DaysArgument = Annotated[Path, typer.Argument(help="CSV with the columns parcel,date; a row with no date: none.")]
ToleranceOption = Annotated[float, typer.Option(min=0, help="Most days between a known and a found event.")]
ByOption = Annotated[ParcelColumn, typer.Option(help="What the column parcel holds.")]
DateOption = Annotated[DatedAt, typer.Option("--date", help="Day of a found event: middle or end of its window.")]
PeriodOption = Annotated[str | None, typer.Option(help="Folder of the files: 2018, or 2018-03-01_2018-10-31.")]


@app.command("mowing")
def mowing(
    truth: DaysArgument,
    workspace: WorkspaceOption = HERE,
    tolerance: ToleranceOption = 12.0,
    by: ByOption = ParcelColumn.ORI_ID,
    dated_at: DateOption = DatedAt.MIDDLE,
    period: PeriodOption = None,
    as_json: JsonOption = False,
) -> None:
    """Precision, recall and F1 of mowings with intervals of 95 % over parcels, and the error of their dates."""
    _show_events(_judged("mowing", truth, workspace, tolerance, by, dated_at, period), "mowing", as_json=as_json)


@app.command("harvest")
def harvest(
    truth: DaysArgument,
    workspace: WorkspaceOption = HERE,
    tolerance: ToleranceOption = 12.0,
    by: ByOption = ParcelColumn.ORI_ID,
    dated_at: DateOption = DatedAt.MIDDLE,
    period: PeriodOption = None,
    as_json: JsonOption = False,
) -> None:
    """The same of harvests, of which a parcel has one at most, and how many known days their windows hold."""
    _show_events(_judged("harvest", truth, workspace, tolerance, by, dated_at, period), "harvest", as_json=as_json)


@app.command("croptype")
def croptype(
    truth: Annotated[Path, typer.Argument(help="CSV with the columns parcel,crop: a class or its name.")],
    workspace: WorkspaceOption = HERE,
    by: ByOption = ParcelColumn.ORI_ID,
    period: PeriodOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy of crop types on fields that were visited, with intervals of 95 %, beside that of the declarations."""
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.validation.crop_types import found_crops, validated_crops
    from s4c_hpc.validation.truth import numbers, read_crops

    home, known = Workspace(workspace.resolve()).require(), read_crops(truth)
    made = validated_crops(found_crops(home, period), known, numbers(home, by.value))
    _show_crops(made, as_json=as_json)


@app.command("signals")
def signals(
    truth: DaysArgument,
    variable: Annotated[str, typer.Option("--variable", help="Variable of the series, ndvi or coherence_vv.")],
    workspace: WorkspaceOption = HERE,
    statistic: Annotated[str, typer.Option(help="Its statistic.")] = "mean",
    weeks: Annotated[int, typer.Option(min=2, max=52, help="Weeks to show before and after an event.")] = 7,
    by: ByOption = ParcelColumn.ORI_ID,
    as_json: JsonOption = False,
) -> None:
    """How a variable changes in the weeks around known events, since the week before them: what a rule could see."""
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.validation.around import signals_of
    from s4c_hpc.validation.truth import numbers, read_days

    home, known = Workspace(workspace.resolve()).require(), read_days(truth)
    made = signals_of(home, variable, known, numbers(home, by.value), statistic=statistic, n_weeks=weeks)
    if as_json:
        print_json(dataclasses.asdict(made))
        return
    rows = [dataclasses.asdict(one) for one in made.weeks]
    _print_scores(rows)
    say(f"change of {made.variable} since the week before {made.events} events; week 0 is that of the event")
    for reason, n in made.left_out.items():
        say(f"  {n} events left out: {reason}")


def _judged(
    what: Literal["mowing", "harvest"],
    truth: Path,
    workspace: Path,
    tolerance: float,
    by: ParcelColumn,
    dated_at: DatedAt,
    period: str | None,
) -> Validation:
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.validation.events import validated
    from s4c_hpc.validation.found import found_harvests, found_mowings
    from s4c_hpc.validation.truth import numbers, read_days

    home, known = Workspace(workspace.resolve()).require(), read_days(truth)
    found = (found_mowings if what == "mowing" else found_harvests)(home, period)
    return validated(found, known, numbers(home, by.value), tolerance=tolerance, dated_at=dated_at.value)


def _show_events(made: Validation, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(made))
        return
    of = made.scores
    rows: list[dict[str, Any]] = [
        {"score": name, "value": getattr(of, name), "low": made.intervals[name][0], "high": made.intervals[name][1]}
        for name in ("precision", "recall", "f1")
    ]
    rows += [
        {"score": name, "value": value, "low": None, "high": None}
        for name, value in (
            ("false events a parcel", of.false_per_season),
            ("false events a parcel without any", of.false_per_season_without),
            ("median error, days", of.median_error_days),
            ("median shift, days", of.median_shift_days),
            ("median window, days", made.median_window_days),
            ("longest window, days", made.longest_window_days),
        )
    ]
    _print_scores(rows)
    say(
        f"{made.matched} of {made.known} known and {made.found} found {what}s of {made.parcels} parcels are the same, "
        f"within {made.tolerance_days:g} days of the {made.dated_at} of the window"
    )
    say(f"{made.known_in_window} of {made.known} known days lie in the window of an event")
    _say_left_out(made.left_out)
    if made.dates_left_out:
        say(f"  {made.dates_left_out} known dates left out: not in the period")


def _show_crops(made: CropValidation, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "period": made.period,
                "found": made.found.to_json(SEED),
                "declared": made.declared.to_json(SEED),
                "left_out": made.left_out,
                "unknown_crops": made.unknown,
            }
        )
        return
    rows = []
    for what, metrics in (("found", made.found), ("declared", made.declared)):
        spans = metrics.intervals(SEED)
        for score in ("accuracy", "macro_f1", "kappa"):
            low, high = spans[score]
            rows.append({"crops": what, "score": score, "value": getattr(metrics, score), "low": low, "high": high})
    _print_scores(rows)
    say(f"{made.found.n:g} parcels of {made.period} were judged")
    _say_left_out(made.left_out)
    for crop, n in made.unknown.items():
        say(f"  {n} parcels left out: crop {crop!r} is no class")


def _print_scores(rows: Iterable[Mapping[str, Any]]) -> None:
    """As a table, with nothing where there is no number."""
    print_table([{k: None if v != v else v for k, v in row.items()} for row in rows])  # noqa: PLR0124 - NaN


def _say_left_out(left_out: Mapping[str, int]) -> None:
    for reason, n in left_out.items():
        say(f"  {n} parcels left out: {reason}")
