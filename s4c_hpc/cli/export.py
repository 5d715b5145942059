"""``s4c export``: a season as a folder, a PostGIS database, a GeoPackage."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, say
from s4c_hpc.cli.selection import EVERYTHING, Chosen, choosing_parcels

app = typer.Typer(help="Take all that is known of parcels to another place.", no_args_is_help=True)


class SeasonFormat(StrEnum):
    """What a season is written as."""

    PARQUET = "parquet"
    ARROW = "arrow"


SetsOption = Annotated[
    list[str] | None, typer.Option("--marker-set", help="Folder of markers, mdb1, l4a, l4b ...; may be repeated.")
]


@app.command()
def postgis(
    dsn: Annotated[
        str,
        typer.Argument(
            envvar="S4C_POSTGIS",
            help="Connection, as libpq takes it: 'service=farms', 'host=... dbname=...', postgresql://...; passwords "
            "belong into ~/.pgpass, PGPASSFILE or PGPASSWORD.",
        ),
    ],
    workspace: WorkspaceOption = HERE,
    schema: Annotated[str, typer.Option(help="Schema of the tables; made if it is not there.")] = "s4c",
    sets: SetsOption = None,
    since: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Leave months and seasons that were over before this day."),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--columns", "-c", help="Column pattern of markers, s2_ndvi_mean__*.")
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Every version of the parcels, not only the newest.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove our tables first, and export everything anew.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy what is new or has changed into PostGIS; a file at a time, each whole or not at all."""
    from s4c_hpc.config.secrets import without_password
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.export import export_postgis

    ws = Workspace(workspace.resolve()).require()
    if without_password(dsn) != dsn:
        say("the password can be seen in the list of processes; put it into ~/.pgpass or PGPASSWORD")
    report = export_postgis(
        ws,
        dsn,
        schema=schema,
        sets=sets,
        since=None if since is None else since.date(),
        columns=columns,
        all_versions=all_versions,
        drop=drop,
        tell=say,
    )
    if as_json:
        print_json(
            {
                "exported": list(report.exported),
                "unchanged": report.unchanged,
                "removed": list(report.removed),
                "rows": report.n_rows,
            }
        )
    if not report.exported and not report.removed:
        say(f"everything is up to date ({report.unchanged} files)")
        return
    say(
        f"{len(report.exported)} files with {report.n_rows} rows exported, {report.unchanged} unchanged, "
        f"{len(report.removed)} removed"
    )


@app.command()
def gpkg(
    out: Annotated[Path, typer.Argument(help="File to write, .gpkg.")],
    workspace: WorkspaceOption = HERE,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write parcels with class, light, mowings, practice and harvest as a GeoPackage with styles of QGIS."""
    from s4c_hpc.core.text import human_bytes
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.export import export_gpkg

    report = export_gpkg(Workspace(workspace.resolve()).require(), out, force=force)
    typer.echo(report.path)
    say(
        f"{report.n_parcels} parcels, {report.n_mowings} mowings, {human_bytes(report.n_bytes)}; "
        f"styles: {', '.join(report.styles)}"
    )


@app.command()
@choosing_parcels
def season(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    workspace: WorkspaceOption = HERE,
    form: Annotated[SeasonFormat, typer.Option("--format", help="Format of the files.")] = SeasonFormat.PARQUET,
    chosen: Chosen = EVERYTHING,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write all sets of markers and facts of the season, and the parcels, into one folder."""
    from dataclasses import asdict

    from s4c_hpc.core.text import human_bytes
    from s4c_hpc.export import export_season

    ws, loaded = open_workspace(workspace, None)
    numbers, own = chosen.listed(ws)
    told: list[str] = []
    written = export_season(
        ws,
        loaded.config,
        out,
        fmt=form.value,
        ids=numbers,
        ori_ids=own,
        parcels=chosen.conditions(),
        force=force,
        tell=told.append,
    )
    if as_json:
        print_json([asdict(w) for w in written])
    else:
        typer.echo(out)
        for one in written:
            say(f"{one.file}: {one.n_rows} rows, {one.n_columns} columns, {human_bytes(one.n_bytes)}")
    chosen.say_left_out(told)
