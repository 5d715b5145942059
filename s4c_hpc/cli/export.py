"""``s4c export``: a season as a folder, a PostGIS database, a GeoPackage."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption
from s4c_hpc.cli.output import print_json, say

app = typer.Typer(help="Take all that is known of parcels to another place.", no_args_is_help=True)

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
