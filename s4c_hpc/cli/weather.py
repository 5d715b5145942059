"""``s4c weather``: import daily precipitation, and look at what there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption
from s4c_hpc.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.weather import Weather

app = typer.Typer(
    help="Daily precipitation, which tells changes by rain from changes by a farmer.", no_args_is_help=True
)


@app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="CSV tables, or NetCDF (.nc) and GRIB (.grib) of ERA5 and ERA5-Land; together one import."),
    ],
    workspace: WorkspaceOption = HERE,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OURS=THEIRS",
            help="What a file calls date, lon, lat, precipitation_mm or cell; may be repeated.",
        ),
    ] = None,
    cells: Annotated[
        Path | None, typer.Option(help="CSV table of cell, lon and lat, for tables that name cells only.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Of precipitation, m or mm; by default what a file says.")] = None,
    date_format: Annotated[str | None, typer.Option(help="Of dates in CSV, e.g. %d.%m.%Y.")] = None,
    accumulation: Annotated[
        str,
        typer.Option(
            help="day: a value is the total of its date; hour: of the hour that ends then (ERA5); "
            "midnight: since 00:00 UTC (ERA5-Land); auto: as they look."
        ),
    ] = "auto",
    max_distance_km: Annotated[
        float | None, typer.Option(min=0.0, help="From a cell to a parcel; by default half a diagonal of the cell.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import daily precipitation; what an earlier import has made is replaced."""
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.weather.daily import Accumulation
    from s4c_hpc.weather.import_weather import Reading, import_weather

    pairs = [one.partition("=") for one in column or []]
    if any(not theirs for _, _, theirs in pairs):
        raise typer.BadParameter("say OURS=THEIRS", param_hint="--column")
    if accumulation not in set(Accumulation):
        raise typer.BadParameter(f"say {', '.join(Accumulation)}", param_hint="--accumulation")
    reading = Reading(
        columns={ours: theirs for ours, _, theirs in pairs},
        cells=cells,
        unit=unit,
        date_format=date_format,
        accumulation=Accumulation(accumulation),
        max_distance_km=max_distance_km,
    )
    home = Workspace(workspace.resolve()).require()
    weather, is_new = import_weather(files, reading, home)
    if as_json:
        print_json({**dataclasses.asdict(weather), "is_new": is_new})
        return
    typer.echo("weather" if is_new else "weather: nothing new")
    _tell(weather, home)


@app.command()
def show(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Show what weather there is: cells, days, gaps."""
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.weather import read_weather

    home = Workspace(workspace.resolve()).require()
    weather = read_weather(home)
    if as_json:
        print_json({**dataclasses.asdict(weather), "n_gaps": weather.n_gaps})
        return
    print_table(
        [
            {
                "cells": weather.n_cells,
                "first": weather.first,
                "last": weather.last,
                "days": weather.n_days,
                "gaps": weather.n_gaps,
                "edition": weather.edition,
            }
        ]
    )
    _tell(weather, home)


def _tell(weather: Weather, workspace: Workspace) -> None:
    from s4c_hpc.confounders.reach import parcels_in_reach

    say(
        f"{', '.join(weather.sources)}: {weather.n_values} days of {weather.n_cells} cells, "
        f"{weather.first} to {weather.last}"
    )
    least, most = weather.reach_km
    say(f"  a cell counts up to {least:g} km from its centre" + (f" ({most:g} km at most)" if most > least else ""))
    if (reached := parcels_in_reach(workspace)) is not None:
        near, n = reached
        say(
            f"  {near} of {n} parcels lie near a cell"
            + ("" if near else "; their rain is not known: check lon and lat")
        )
    if weather.n_gaps:
        days = ", ".join(weather.missing_days[:5]) + (", ..." if len(weather.missing_days) > 5 else "")
        say(f"  {weather.n_gaps} days of cells are not known" + (f"; no cell at all on {days}" if days else ""))
    for one in weather.left_out:
        shown = f": {', '.join(one.examples)}" if one.examples else ""
        say(f"  {one.n} left out, {one.reason}{shown}")
    for note in weather.notes:
        say(f"  note: {note}")
